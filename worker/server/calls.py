"""One call of a user's function: unpickle, check what came out, describe it. Runs in the threads of the executor."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from threading import Lock
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from ...base.errors import InternalError, NotAResultError, SerializationError
from ...base.keys import Key
from ...base.limits import KIB, NAME_CHARS_MAX
from ...base.sizeof import sizeof
from ...protocol import pickling
from ...protocol.blob import Payload
from ...protocol.messages import FLAG_WANTED, Row

#: Results above this size (estimated) are not pickled when the task ends to see whether they fit into a message or can be
#: pickled at all; that shows when they are fetched.
PICKLED_AT_ONCE_MAX: Final = 64 * KIB
_FUNCTIONS_MAX: Final = 1024
_TYPES_MAX: Final = 4096

#: Types of what a function returns when it has not run yet.
_UNFINISHED: Final = {
    CoroutineType: "a coroutine: define it with `async def`, so that the worker awaits it, or await it inside the task",
    GeneratorType: "a generator, which can be neither sent nor read twice: return list(...) of it instead",
    AsyncGeneratorType: "an async generator, which can be neither sent nor read twice: return a list of its items instead",
}

_type_names: dict[type, str] = {}


class Functions:
    """The functions a worker was sent, and the objects made of those used lately.

    ``define`` is for the event loop, ``load`` for the threads.
    """

    def __init__(self) -> None:
        self._payloads: dict[bytes, Payload] = {}
        self._lock = Lock()
        #: by func_id: the function, and whether its calls are to be awaited
        self.loaded: dict[bytes, tuple[Callable[..., Any], bool]] = {}

    def define(self, rows: tuple[Row, ...]) -> None:
        """Remember functions: rows (func_id, payload)."""
        self._payloads.update(rows)

    def undefine(self, func_ids: tuple[bytes, ...]) -> None:
        """Forget functions; what runs goes on."""
        for func_id in func_ids:
            self._payloads.pop(func_id, None)
            self.loaded.pop(func_id, None)

    def load(self, key: Key, func_id: bytes) -> tuple[Callable[..., Any], bool]:
        """Unpickle a function for the task ``key``, unless another thread has."""
        with self._lock:
            found = self.loaded.get(func_id)
            if found is not None:
                return found
            payload = self._payloads.get(func_id)
            if payload is None:
                raise InternalError(f"the scheduler sent task {key!r} without its function")
            try:
                function = pickling.loads(payload)
            except BaseException as error:
                error.add_note(f"while unpickling the function of task {key!r} on this worker")
                raise
            if len(self.loaded) >= _FUNCTIONS_MAX:
                del self.loaded[next(iter(self.loaded))]
            self.loaded[func_id] = found = (function, is_async(function))
            return found


def is_async(function: object) -> bool:
    """Whether calling ``function`` returns a coroutine to be awaited.

    Examples
    --------
    >>> async def f(x): ...
    >>> is_async(f), is_async(functools.partial(f, 1)), is_async(len)
    (True, True, False)
    """
    while isinstance(function, functools.partial):
        function = function.func
    method = inspect.getattr_static(type(function), "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def describe_result(key: Key, flags: int, value: Any) -> tuple[int, str, bytes | None]:
    """Check the result of a task.

    Parameters
    ----------
    key : Key
        The task, for the text of errors.
    flags : int
        FLAG_WANTED: a client waits for it.
    value : object
        What the function returned.

    Returns
    -------
    tuple of (int, str, bytes or None)
        Estimated size in bytes, type name, and the payload if it is wanted and small.

    Raises
    ------
    NotAResultError
        It is a coroutine or a generator.
    SerializationError
        It is wanted and cannot be pickled.
    """
    kind = type(value)
    if kind in _UNFINISHED:
        if kind is CoroutineType:
            value.close()
        raise NotAResultError(f"task {key!r} returned {_UNFINISHED[kind]}")
    nbytes = sizeof(value)
    name = _type_names.get(kind) or type_name(kind)
    if flags & FLAG_WANTED and nbytes <= PICKLED_AT_ONCE_MAX:
        try:
            payload = pickling.dumps(value)
        except SerializationError:
            payload = pickling.dumps(value, f"the result of task {key!r}, a {name},")
        if type(payload) is bytes:
            return nbytes, name, payload
    return nbytes, name, None


def type_name(kind: type) -> str:
    """Module and name of a type, without the module for built-in types."""
    if len(_type_names) >= _TYPES_MAX:
        _type_names.clear()
    module = kind.__module__
    name = kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
    _type_names[kind] = name = name[:NAME_CHARS_MAX]
    return name
