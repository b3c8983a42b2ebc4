"""The cases to begin with: those made here, and in ``corpus`` those that fuzzing has found, one line each: ``name hex``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from myscheduler.protocol import messages as m
from myscheduler.protocol.blob import Blob
from myscheduler.protocol.codec import HEADER, Encoder
from tests.fuzz.targets import CREDENTIALS, TARGETS, recorded

CORPUS: Final = Path(__file__).parent / "corpus"
_VALUES: Final[dict[type, Any]] = {
    str: "text",
    int: 0,
    float: 0.5,
    bool: True,
    bytes: b"\x80\x05K\x01.",
    tuple: (("k", 1), "x"),
    dict: {"cpu": 1.5, "nested": {"a": None}},
    type(None): None,
    object: [1, "x", None],
    Blob: Blob((b"stream", b"buffer")),
}


def examples() -> dict[str, m.Message]:
    """A valid message of every kind."""
    found = {}
    for op, spec in m.SPECS.items():
        fields: list[Any] = [op]
        for expected in spec.fields:
            if isinstance(expected, m.Rows):
                rows = [tuple(_VALUES[types[0]] for types in expected.fields)]
                rows.append(tuple(_VALUES[known(types)[-1]] for types in expected.fields))
                fields.append(tuple(rows))
            else:
                fields.append(_VALUES[expected[0]])
        found[spec.name] = tuple(fields)
    nothing = (None,) * (len(m.OPTION_FIELDS) - 5)
    options = ((1.5, 2, ("w",), True, (("gpu", 1),), *nothing), (0, 0, None, False, None, *nothing))
    found["SUBMIT"] = (*found["SUBMIT"][:3], options, found["SUBMIT"][4], (1, 0), False)
    found["PLACED"] = (m.PLACED, 1, (("x", 1, 8, "int", ("c" * 16,)),))
    found["INVENTORY"] = (m.INVENTORY, (("x", 1, 8, "int"),), (("y", 2, 1, False),), (b"f" * 16,), True)
    found["UNDEFINE"] = (m.UNDEFINE, (b"f" * 16,))
    found["UNFETCHED"] = (m.UNFETCHED, (("x", 1, ((("k", 1), 2, "tcp://h:1"),)),))
    return found


def known(types: tuple[type, ...]) -> list[type]:
    """Those types of a field of which we have a value; what is only named (pipes, segments) has cases of its own."""
    return [kind for kind in types if kind in _VALUES]


def _frame(*messages: m.Message) -> bytes:
    return b"".join(Encoder().encode(1, "c" * 16, 0, messages))


def _frames() -> dict[str, bytes]:
    cases = examples()
    return {
        "empty": b"",
        "two-frames": b"\0" + _frame(cases["GOODBYE"]) + _frame(cases["HEARTBEAT"]),
        "buffers-one-by-one": b"\1" + _frame(cases["RESULTS"]),
        "large-buffer": b"\0" + _frame((m.GOODBYE, Blob((b"x" * 2000, b""))))[:200],
        "announces-much": b"\0" + HEADER.pack(1, 1) + (2**33).to_bytes(8) + b"\x90",
        "announces-too-much": b"\0" + HEADER.pack(2**32 - 1, 2**32 - 1),
        "many-empty-buffers": b"\2" + HEADER.pack(1, 40) + bytes(320) + b"\x90",
    }


def _controls() -> dict[str, bytes]:
    cases = {}
    for name, message in examples().items():
        data = _frame(message)
        length, count = HEADER.unpack_from(data)
        start = HEADER.size + 8 * count
        cases[name] = data[start : start + length]
    for code in (2, 3):
        cases[f"named-{code}"] = b"\x94\x01\xa1a\x00\x91\xc7\x28" + bytes([code]) + bytes(range(40))
    cases["nested"] = b"\x94\x01\xa1a\x00" + b"\x91" * 60 + b"\x90"
    cases["claims-much"] = b"\x94\x01\xa1a\x00" + b"\xdd\x00\x00\x01\x00" * 60
    cases["many-maps"] = b"\x94\x01\xa1a\x00\xdc\x01\x00" + b"\x80" * 256
    return cases


def _scheduler_files() -> dict[str, bytes]:
    content = {"myscheduler": 1, "address": "tls://h:1", "dashboard": None, **CREDENTIALS.to_dict()}
    certificates = {"authority": "pem", "valid_until": 1e9, "roles": {"worker": ["a", "b"]}}
    return {
        "plain": json.dumps(content).encode(),
        "certified": json.dumps(content | {"certificates": certificates}).encode(),
        "nested": b'{"myscheduler":' + b"[" * 50,
        "number": b'{"myscheduler":1e999}',
    }


def seeds() -> dict[str, dict[str, bytes]]:
    """Cases by name, by target."""
    server_says, client_says = recorded()
    found = {
        "frames": _frames(),
        "messages": _controls(),
        "handshake-server": {"good": client_says, "short": client_says[:100], "tls": b"\x16\x03\x01"},
        "handshake-client": {"good": server_says, "short": server_says[:70], "http": b"HTTP/1.1 400 Bad"},
        "scheduler-file": _scheduler_files(),
        "config": {
            "section": b"scheduler: threads\nlocal-cluster:\n  n-workers: 2\n",
            "odd": b"{a: [1, *b, !!python/name:os.system '']}",
            "nested": b"[" * 50,
        },
    }
    assert found.keys() == TARGETS.keys()
    return found


def load(target: str) -> dict[str, bytes]:
    """The cases of a target: those made here, and those that were found, from its file."""
    file = CORPUS / f"{target}.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    found = {name: bytes.fromhex(text) for name, _, text in (line.partition(" ") for line in lines)}
    return {**seeds()[target], **found}


def keep(target: str, cases: Iterable[bytes]) -> None:
    """Write what was found, the smallest first, into the file of a target."""
    made = set(seeds()[target].values())
    found = sorted(set(cases) - made, key=lambda data: (len(data), data))
    lines = [f"{sha256(data).hexdigest()[:8]} {data.hex()}".rstrip() for data in found]
    (CORPUS / f"{target}.txt").write_text("\n".join(lines) + "\n")
