"""The pickling boundary: the only place where users' objects become bytes and bytes become objects.

Only clients and workers call this; the scheduler passes payloads on unread. Buffers of 64 KiB and more (arrays, frames,
large bytes) travel out of band (pickle protocol 5): a payload then *refers* to the memory of the object it was made
from. So do not change an array between handing it to us and its arrival. What comes out of a payload that crossed a
process boundary has memory of its own: writable, unless the array was read-only when it was sent.

The C pickler comes first, since it is ten times faster; cloudpickle takes over for what it cannot do (lambdas,
closures) or would do wrongly (anything of ``__main__``, by a name that means something else on a worker).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import FunctionType
from typing import Any, Final, NamedTuple

import cloudpickle

from ..base import refs
from ..base.errors import MySchedulerError, SerializationError
from ..base.keys import Key
from ..base.limits import EXCEPTION_BYTES_MAX, INLINE_BYTES_MAX, KIB, MIB
from ..base.refs import TaskRef, bundled
from . import unchanged
from .blob import Blob, Payload, payload_nbytes
from .culprit import find_culprit
from .memory import as_bytes
from .remote_errors import RemoteError, RemoteTraceback, exception_text, shorten

#: Buffers from this size on are not copied into the pickle stream.
OUT_OF_BAND_BYTES_MIN: Final = 64 * KIB
_FUNCTIONS_CACHED_MAX: Final = 1024
_FUNCTION_BYTES_CACHED_MAX: Final = MIB
_ADVICE: Final = "Create it inside the task, or pass what it is made from."


# ---- values ---------------------------------------------------------------------------------------------------------


class _RawBytes:
    """Pickles as ``kind(buffer)``, which the pickler itself does not do for bytes."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.kind, (pickle.PickleBuffer(b""),))


def _discard(buffer: pickle.PickleBuffer) -> bool:
    return False


_RAW_STREAMS: Final[dict[type, bytes]] = {
    kind: pickle.dumps(_RawBytes(kind), 5, buffer_callback=_discard) for kind in (bytes, bytearray)
}


def _dump(value: Any) -> Payload:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES_MIN:
            return True
        buffers.append(view)
        return False

    stream = b""
    if not cloudpickle.list_registry_pickle_by_value():
        try:
            stream = pickle.dumps(value, 5, buffer_callback=keep)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001
            stream = b""  # cloudpickle can do more, and if not, its error says as much
    if not stream or b"__main__" in stream:
        buffers.clear()
        stream = cloudpickle.dumps(value, 5, buffer_callback=keep)
    if not buffers and len(stream) <= INLINE_BYTES_MAX:
        return stream
    return Blob((stream, *buffers))


def dumps(value: Any, what: str = "") -> Payload:
    """Pickle a value: a result, or data to scatter.

    Parameters
    ----------
    value : object
        Anything that pickle or cloudpickle can do.
    what : str
        What the value is, for the text of errors, for instance ``"the result of task 'f-1'"``.

    Returns
    -------
    bytes or Blob
        Bytes up to 16 KiB; a larger payload is a ``Blob`` that refers to the memory of ``value``.

    Raises
    ------
    SerializationError
        The value cannot be pickled; the text names the guilty part.

    Examples
    --------
    >>> loads(dumps({"a": 1}))
    {'a': 1}
    >>> dumps(b"x" * 100_000)
    <Blob of 100039 bytes in 2 buffers>
    """
    stream = _RAW_STREAMS.get(type(value))
    if stream is not None and len(value) >= OUT_OF_BAND_BYTES_MIN:
        return Blob((stream, memoryview(value)))
    try:
        return _dump(value)
    except (MySchedulerError, MemoryError):
        raise
    except Exception as error:
        path, cause = find_culprit(value, error, _error_of)
        what = what or f"a value of type {type(value).__name__}"
        raise SerializationError(f"{what} cannot be pickled{_at(path)}: {_describe(cause)}. {_ADVICE}") from error


def loads(payload: Payload) -> Any:
    """Unpickle what ``dumps`` made. Runs code of the sender: only clients and workers may do this."""
    if type(payload) is Blob:
        stream, *buffers = payload.buffers
        if stream == _RAW_STREAMS[bytes] and len(buffers) == 1:
            return as_bytes(buffers[0])
        return pickle.loads(stream, buffers=buffers)
    return pickle.loads(payload)  # type: ignore[arg-type]


# ---- calls ----------------------------------------------------------------------------------------------------------


def dumps_call(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], many: bool = False
) -> tuple[Payload, dict[Key, TaskRef]]:
    """Pickle the arguments of a task and find the tasks they refer to.

    Parameters
    ----------
    name : str
        Name of the task or its function, for the text of errors.
    args : tuple
        Positional arguments; may hold ``TaskRef`` at any depth.
    kwargs : dict
        Keyword arguments, likewise.
    many : bool
        There may be so many references that it is worth while to look for lists of them.

    Returns
    -------
    tuple of (bytes or Blob, dict of Key to TaskRef)
        The payload, and the references found in it in order of first appearance.

    Raises
    ------
    SerializationError
        An argument cannot be pickled; the text names it.

    Examples
    --------
    >>> payload, found = dumps_call("f", ([TaskRef("x")],), {"y": TaskRef("y")})
    >>> list(found)
    ['x', 'y']
    >>> loads_call(payload, {"x": 1, "y": 2})
    (([1],), {'y': 2})
    """
    context = refs._context  # noqa: SLF001 (the context managers cost more than the pickling)
    outer = context.collected
    found: dict[Key, TaskRef] = {}
    context.collected = found
    try:
        return _dump((bundled(args) if many else args, kwargs)), found
    except (MySchedulerError, MemoryError):
        raise
    except Exception as error:
        raise _blame_argument(name, args, kwargs, error) from error
    finally:
        context.collected = outer


def loads_call(payload: Payload, inputs: Mapping[Key, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Unpickle the arguments of a task, with each reference replaced by its value from ``inputs``."""
    context = refs._context  # noqa: SLF001 (the context managers cost more than the pickling)
    outer = context.inputs
    context.inputs = inputs
    try:
        args, kwargs = loads(payload)
    finally:
        context.inputs = outer
    return args, kwargs


def _blame_argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> SerializationError:
    named = [(str(number), value) for number, value in enumerate(args, 1)]
    named += [(repr(keyword), value) for keyword, value in kwargs.items()]
    for label, value in named:
        cause = _error_of(value)
        if cause is not None:
            path, cause = find_culprit(value, cause, _error_of)
            return SerializationError(
                f"argument {label} of task {name!r} cannot be pickled{_at(path)}: {_describe(cause)}. {_ADVICE}"
            )
    return SerializationError(f"the arguments of task {name!r} cannot be pickled: {_describe(error)}")


def _error_of(value: Any) -> Exception | None:
    try:
        _dump(value)
    except Exception as error:  # noqa: BLE001
        return error
    return None


def _at(path: str) -> str:
    return f" (at {path.strip()})" if path else ""


def _describe(error: BaseException) -> str:
    return shorten(f"{type(error).__name__}: {error}").rstrip(". ")


# ---- functions ------------------------------------------------------------------------------------------------------


class _Cached(NamedTuple):
    function: Any  # kept alive, so that its id names it
    snapshot: unchanged.Snapshot | None  # None: pickled by reference, nothing can change
    func_id: bytes
    payload: Payload


_functions: dict[int, _Cached] = {}


def dumps_function(func: Callable[..., Any]) -> tuple[bytes, Payload]:
    """Pickle the function of a task.

    The bytes are kept for functions that are pickled by reference, and for those pickled by value as long as nothing
    that went into them has changed (see ``unchanged``).

    Parameters
    ----------
    func : callable
        What a worker is to call.

    Returns
    -------
    tuple of (bytes, bytes or Blob)
        A digest that names the function (16 bytes), and the payload.

    Raises
    ------
    SerializationError
        The function cannot be pickled, or refers to a future other than through its arguments.

    Examples
    --------
    >>> func_id, payload = dumps_function(len)
    >>> loads(payload)
    <built-in function len>
    """
    if cloudpickle.list_registry_pickle_by_value():
        payload = _dump_function(func)
        return _digest(payload), payload
    cached = _functions.pop(id(func), None)
    if cached is not None and cached.function is func and (cached.snapshot is None or cached.snapshot.holds()):
        _functions[id(func)] = cached  # at the end again: the first is the one not used for longest
        return cached.func_id, cached.payload
    by_reference = unchanged.is_by_reference(func)
    snapshot = unchanged.take(func) if not by_reference and type(func) is FunctionType else None
    payload = _dump_function(func)
    func_id = _digest(payload)
    kept = by_reference or snapshot is not None
    if kept and (type(payload) is bytes or payload.nbytes <= _FUNCTION_BYTES_CACHED_MAX):  # type: ignore[union-attr]
        if len(_functions) >= _FUNCTIONS_CACHED_MAX:
            for oldest in list(_functions)[: 1 - _FUNCTIONS_CACHED_MAX]:  # a copy: other threads may be here as well
                _functions.pop(oldest, None)
        _functions[id(func)] = _Cached(func, snapshot, func_id, payload)
    return func_id, payload


def _dump_function(func: Callable[..., Any]) -> Payload:
    name = getattr(func, "__qualname__", None) or type(func).__name__
    with refs.collecting() as found:
        try:
            payload = _dump(func)
        except (MySchedulerError, MemoryError):
            raise
        except Exception as error:
            path, cause = find_culprit(func, error, _error_of)
            where = f" because of what it refers to ({name}{path})" if path else ""
            raise SerializationError(
                f"function {name!r} cannot be pickled{where}: {_describe(cause)}. "
                "Create it inside the function, or pass what it is made from."
            ) from error
    if found:
        keys = ", ".join(f"{key!r:.80}" for key in list(found)[:3])
        raise SerializationError(
            f"function {name!r} refers to the future of {keys} through a closure, a global or a default. "
            "Pass futures as arguments of the task, so that it waits for them."
        )
    return payload


def _digest(payload: Payload) -> bytes:
    digest = blake2b(digest_size=16)
    for buffer in payload.buffers if isinstance(payload, Blob) else (payload,):
        digest.update(buffer)
    return digest.digest()


# ---- exceptions -----------------------------------------------------------------------------------------------------


def dumps_exception(error: BaseException) -> tuple[Payload, str, str]:
    """Pickle the exception of a task; never raises.

    An exception that cannot be pickled, or cannot be unpickled again, or is larger than 1 MiB, is replaced by a
    ``RemoteError`` with its text.

    Parameters
    ----------
    error : BaseException
        What the task raised.

    Returns
    -------
    tuple of (bytes or Blob, str, str)
        The payload, one line that describes the exception, and its traceback without our own frames at the top.

    Examples
    --------
    >>> payload, text, traceback_text = dumps_exception(KeyError("x"))
    >>> text
    "KeyError: 'x'"
    """
    text, traceback_text = exception_text(error)
    try:
        payload = _dump(error)
        if payload_nbytes(payload) > EXCEPTION_BYTES_MAX:
            raise SerializationError("too large")
        if type(loads(payload)) is not type(error):
            raise SerializationError("another type came back")
    except BaseException:  # noqa: BLE001 (code of the user must not take the worker's thread along)
        payload = pickle.dumps(RemoteError(text), 5)
    return payload, text, traceback_text


def loads_exception(payload: Payload, text: str, traceback_text: str) -> BaseException:
    """Unpickle the exception of a task, with the remote traceback as its ``__cause__``; never raises.

    Parameters
    ----------
    payload : bytes or Blob
        What ``dumps_exception`` made.
    text : str
        Its one line, used when the payload cannot be unpickled here.
    traceback_text : str
        Its traceback.

    Returns
    -------
    BaseException
        Ready to be raised; ``__traceback__`` is None.
    """
    error: BaseException
    try:
        error = loads(payload)
        if not isinstance(error, BaseException):
            raise SerializationError(f"a {type(error).__name__} is no exception")
        error.__traceback__ = None
    except Exception as failure:  # noqa: BLE001
        error = RemoteError(text)
        error.add_note(f"The original exception could not be unpickled here: {_describe(failure)}")
    error.__cause__ = RemoteTraceback(traceback_text) if traceback_text else None
    return error
