from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.shared import SharedBlob
from myscheduler.transport import shared as module
from myscheduler.transport.segments import Segments
from myscheduler.transport.shared import fetch_rows, is_near, open_shared, place

TOKEN = b"0123456789abcdef"


def name(descriptor: int) -> SharedBlob:
    return SharedBlob(os.getpid(), descriptor, TOKEN, ((64, 100),))


def test_the_place_is_that_of_boot_namespace_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place() == place() != ""
    assert place().endswith(f"/{os.stat('/proc/self/ns/pid').st_ino}/{os.geteuid()}")
    monkeypatch.delattr(os, "memfd_create")
    assert place() == ""


def test_a_proc_of_another_namespace_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "readlink", lambda path: "1")
    assert module._place(-1) == ""
    monkeypatch.setattr(os, "readlink", lambda path: os.stat("/nowhere"))
    assert module._place(-2) == ""


@pytest.mark.parametrize(
    ("local", "remote", "near"),
    [
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", True),
        ("tcp://127.0.0.1:1", "tcp://localhost:2", True),
        ("tls://10.0.0.1:1", "tls://10.0.0.1:2", True),
        ("tcp://[::1]:1", "tcp://localhost:2", True),
        ("tcp://10.0.0.1:1", "tcp://10.0.0.2:1", False),
        ("inproc://a", "inproc://a", False),
    ],
)
def test_who_seems_near(local: str, remote: str, near: bool) -> None:
    link = SimpleNamespace(local=local, remote=remote)
    assert is_near(link) is near  # type: ignore[arg-type]


def test_what_is_no_segment_is_refused() -> None:
    read_end, write_end = os.pipe()
    with pytest.raises(ProtocolError, match="is no segment"):
        open_shared(name(read_end))
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(FileNotFoundError):
        open_shared(name(read_end))
    with tempfile.TemporaryFile() as file, pytest.raises(ProtocolError, match="is not sealed as segments are"):
        open_shared(name(file.fileno()))
    memory = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, 4096)
    with pytest.raises(ProtocolError, match="is not sealed as segments are"):
        open_shared(name(memory))
    os.close(memory)


def test_a_segment_that_is_too_short_is_refused() -> None:
    segments = Segments(2**24)
    shared = segments.share(("k", 1), Blob((b"data",)))
    assert shared is not None
    longer = SharedBlob(shared.pid, shared.descriptor, shared.token, ((64, 10_000_000),))
    with pytest.raises(ProtocolError, match=r"has \d+ bytes, not 10000064"):
        open_shared(longer)
    segments.close()


def test_mappings_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAPPINGS_MAX", 0)
    with pytest.raises(OSError, match="0 segments are mapped already"):
        open_shared(name(0))


async def test_rows_are_fetched_together_or_not_at_all() -> None:
    segments = Segments(2**24)
    shared = segments.share(("k", 1), Blob((b"data",)))
    rows = (("x", b"payload"), ("y", shared))
    assert [(key, getattr(value, "nbytes", value)) for key, value in await fetch_rows(rows)] == [
        ("x", b"payload"),
        ("y", 4),
    ]
    segments.close()
    with pytest.raises((OSError, ProtocolError)):
        await fetch_rows(rows)
