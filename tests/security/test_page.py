"""docs/security.md says which test holds each promise; these tests exist."""

from __future__ import annotations

import re

from tests.support.repository import functions, read

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_test_that_the_page_names_exists() -> None:
    named = TEST.findall(read("docs/security.md"))
    assert len(named) > 40
    gone = [f"{path}::{name}" for path, name in named if name not in {function.name for function in functions(path)}]
    assert not gone, f"docs/security.md names tests that are gone: {gone}"
