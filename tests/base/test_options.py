from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from myscheduler.base.options import OPTIONS
from tests.support.repository import package_files, read


@pytest.mark.parametrize("key", OPTIONS)
def test_defaults_have_the_right_type(key: str) -> None:
    option = OPTIONS[key]
    assert option.accepts(option.default)
    assert option.expected
    assert option.does.endswith((".", ".)"))


@pytest.mark.parametrize("key", OPTIONS)
def test_every_key_is_read_somewhere(key: str) -> None:
    section = key.partition(".")[0]
    texts = [read(path) for path in package_files() if path not in {"base/options.py", "base/config.py"}]
    readers = [text for text in texts if f'config.get("{section}")' in text or f'config.lookup("{section}")' in text]
    assert readers
    if "." in key:
        name = key.rpartition(".")[2]
        assert any(f'["{name}"]' in text for text in readers)


@pytest.mark.parametrize("key", OPTIONS)
def test_every_key_is_documented(key: str) -> None:
    assert f"`{key}`" in read("docs/howto/configure.md")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scheduler", "threads"),
        ("num-workers", 3),
        ("scheduler-file", "cluster.json"),
        ("scheduler-file", Path("cluster.json")),
        ("local-cluster.n-workers", 0),
        ("local-cluster.memory-limit", "2 GiB"),
        ("local-cluster.memory-limit", 0.5),
        ("local-cluster.memory-limit", None),
    ],
)
def test_what_is_accepted(key: str, value: Any) -> None:
    assert OPTIONS[key].accepts(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scheduler", 3),
        ("scheduler", ""),
        ("num-workers", 0),
        ("num-workers", True),
        ("num-workers", 1.5),
        ("pool", "threads"),
        ("scheduler-address", 8786),
        ("scheduler-file", 1),
        ("local-cluster.n-workers", -1),
        ("local-cluster.memory-limit", True),
        ("local-cluster.memory-limit", "a lot"),
        ("local-cluster.memory-limit", []),
    ],
)
def test_what_is_not(key: str, value: Any) -> None:
    assert not OPTIONS[key].accepts(value)
