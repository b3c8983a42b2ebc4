"""What the types of a message's fields do not say: ranges, and what is inside arrays and maps.

A peer that proved its role may still be mad, or taken over. What passes here cannot make the receiver's tables meaningless: no
number that poisons a sum (NaN, negative sizes), none that cannot be sent on, no index that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final, TypeAlias

from ..base.errors import ProtocolError
from ..base.limits import NAME_CHARS_MAX

_Message: TypeAlias = tuple[Any, ...]
Check: TypeAlias = Callable[[_Message], None]

#: What keys are made of, on the wire.
KEY_TYPES: Final = (str, tuple, int, bytes, float)
#: One result; the sum over a million of them must still fit into 64 bits, as those of arrays mapped from files may be large.
NBYTES_MAX: Final = 2**44
#: Place of a task within its request.
ORDER_MAX: Final = 2**32
#: Seconds: later than any clock of ours, longer than any run.
TIME_MAX_S: Final = 1e11
#: Threads of one worker.
THREADS_MAX: Final = 65_536
#: Entries of maps in which a worker tells about itself, and of arrays of names that a client gives.
ENTRIES_MAX: Final = 1024
_ADDRESS_CHARS_MAX: Final = 512


def each_of(name: str, position: int, types: tuple[type, ...] = KEY_TYPES) -> Check:
    """A check that the array at ``position`` holds nothing but ``types``."""

    def check(message: _Message) -> None:
        for kind in dict.fromkeys(map(type, message[position])):
            if kind not in types:
                raise ProtocolError(
                    f"{name}: a {kind.__name__} is among the {'func_ids' if types == (bytes,) else 'keys'}"
                )

    return check


# ---- from clients ---------------------------------------------------------------------------------------------------


def check_submit(message: _Message) -> None:
    """SUBMIT: indexes lead somewhere, and options make sense."""
    _, _, _, options, rows, wants, _ = message
    for _priority, _retries, workers, _loose, resources, *_terms in options:
        if workers is not None:
            _check_names("SUBMIT: workers", workers)
        if resources is not None:
            _check_amounts("SUBMIT: resources", resources)
    count = len(options)
    for row in rows:
        if not 0 <= row[4] < ORDER_MAX or not 0 <= row[5] < count:
            raise ProtocolError(f"SUBMIT: order {row[4]} or option {row[5]} of {count} is out of range")
    for index in wants or ():
        if type(index) is not int or not 0 <= index < len(rows):
            raise ProtocolError(f"SUBMIT: {index!r:.80} is wanted of {len(rows)} tasks")


def check_placed(message: _Message) -> None:
    """PLACED: sizes are sizes, and holders are named."""
    for _key, _attempt, nbytes, _type_name, incarnations in message[2]:
        _check_nbytes("PLACED", nbytes)
        _check_names("PLACED: workers", incarnations)


# ---- from workers ---------------------------------------------------------------------------------------------------


def check_results(message: _Message) -> None:
    """RESULTS: sizes are sizes and times are times."""
    for row in message[1]:
        if not 0 <= row[2] <= NBYTES_MAX or not 0 <= row[6] < TIME_MAX_S or not 0 <= row[7] < TIME_MAX_S:
            raise ProtocolError(f"RESULTS: {row[2]} bytes, from {row[6]} s on for {row[7]} s")


def check_errors(message: _Message) -> None:
    """ERRORS, OVERDUE: times are times."""
    for row in message[1]:
        if not 0 <= row[6] < TIME_MAX_S or not 0 <= row[7] < TIME_MAX_S:
            raise ProtocolError(f"ERRORS: from {row[6]} s on for {row[7]} s")


def check_unfetched(message: _Message) -> None:
    """UNFETCHED: each run names what could not be fetched, and from where."""
    for _key, _attempt, failures in message[1]:
        if not failures:
            raise ProtocolError("UNFETCHED: a row names no input")
        for failure in failures:
            if type(failure) is not tuple or len(failure) != 3:
                raise ProtocolError("UNFETCHED: an input is an array of key, attempt and address")
            key, attempt, address = failure
            if type(key) not in KEY_TYPES or type(attempt) is not int or type(address) is not str:
                raise ProtocolError("UNFETCHED: an input is an array of key, attempt and address")


def check_heartbeat(message: _Message) -> None:
    """HEARTBEAT: not an encyclopedia."""
    if len(message[1]) > ENTRIES_MAX:
        raise ProtocolError(f"HEARTBEAT: {len(message[1])} metrics; at most {ENTRIES_MAX} are allowed")


def check_inventory(message: _Message) -> None:
    """INVENTORY: sizes are sizes, stages are stages, functions are named."""
    _, copies, runs, func_ids, _ = message
    for _key, _attempt, nbytes, _type_name in copies:
        _check_nbytes("INVENTORY", nbytes)
    for _key, _attempt, stage, _given_up in runs:
        if not 0 <= stage <= _STAGE_LAST:
            raise ProtocolError(f"INVENTORY: a run in stage {stage}; 0 to {_STAGE_LAST} are known")
    _check_func_ids(("", func_ids))


_STAGE_LAST: Final = 2
_check_func_ids: Final = each_of("INVENTORY", 1, (bytes,))


# ---- of links -------------------------------------------------------------------------------------------------------


def check_ack(message: _Message) -> None:
    """ACK: nobody receives less than nothing."""
    if message[1] < 0:
        raise ProtocolError(f"ACK of {message[1]} messages")


# ---- HELLO ----------------------------------------------------------------------------------------------------------


def check_hello(message: _Message) -> None:
    """HELLO: what is there has its type; what must be there is the receiver's business."""
    info = message[1]
    if len(info) > ENTRIES_MAX:
        raise ProtocolError(f"HELLO: {len(info)} entries; at most {ENTRIES_MAX} are allowed")
    for name, longest in _TEXTS.items():
        value = info.get(name, "")
        if type(value) is not str or len(value) > longest:
            raise ProtocolError(f"HELLO: {name} is a text of at most {longest} characters, not {value!r:.80}")
    for name, (least, most) in _NUMBERS.items():
        value = info.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise ProtocolError(f"HELLO: {name} is a number from {least} to {most}, not {value!r:.80}")
    versions, resources = info.get("versions", {}), info.get("resources", {})
    if type(versions) is not dict or any(type(version) is not str for version in versions.values()):
        raise ProtocolError(f"HELLO: versions are texts by name, not {versions!r:.80}")
    if type(resources) is not dict:
        raise ProtocolError(f"HELLO: resources are amounts by name, not {resources!r:.80}")
    _check_amounts("HELLO: resources", resources.items())
    if type(info.get("lease", 0.0)) not in (int, float) or not 0 <= info.get("lease", 0.0) < inf:
        raise ProtocolError(f"HELLO: lease is a number of seconds, not {info['lease']!r:.80}")
    resume = info.get("resume", (0, 0))
    if type(resume) is not tuple or len(resume) != 2 or any(type(n) is not int or n < 0 for n in resume):
        raise ProtocolError(f"HELLO: resume is an epoch and a number of messages, not {resume!r:.80}")


_TEXTS: Final = {"name": NAME_CHARS_MAX, "host": _ADDRESS_CHARS_MAX, "address": _ADDRESS_CHARS_MAX}
_NUMBERS: Final = {"nthreads": (1, THREADS_MAX), "memory_limit": (0, 2**63 - 1), "pid": (0, 2**63 - 1)}


# ---- parts ----------------------------------------------------------------------------------------------------------


def _check_nbytes(name: str, nbytes: int) -> None:
    if not 0 <= nbytes <= NBYTES_MAX:
        raise ProtocolError(f"{name}: a size of {nbytes} bytes; 0 to {NBYTES_MAX} are allowed")


def _check_names(name: str, names: tuple[Any, ...]) -> None:
    if any(type(text) is not str for text in names):
        raise ProtocolError(f"{name} are not all texts: {names!r:.80}")


def _check_amounts(name: str, pairs: Iterable[Any]) -> None:
    seen: dict[str, None] = {}
    for pair in pairs:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not str or pair[0] in seen:
            raise ProtocolError(f"{name} are amounts by name, each name once, not {pair!r:.80}")
        if type(pair[1]) not in (int, float) or not 0 <= pair[1] < inf:
            raise ProtocolError(f"{name}: {pair[0]!r:.80} is an amount from 0 on, not {pair[1]!r:.80}")
        seen[pair[0]] = None
