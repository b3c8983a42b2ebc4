"""The other side of ``remote``: runs tasks that come as bytes. Imports little, so that processes start fast."""

from __future__ import annotations

import types
from typing import Any, Final, TypeAlias

from ..base.errors import NotAResultError
from ..base.keys import Key
from ..protocol.blob import Payload
from ..protocol.pickling import dumps, dumps_exception, loads, loads_call

#: A task: (key, func_id, call, inputs by key)
Row: TypeAlias = tuple[Key, bytes, Payload, dict[Key, Payload]]
#: (functions by func_id, rows)
Request: TypeAlias = tuple[dict[bytes, Payload], list[Row]]
#: (results, and, if a task failed, its exception as ``dumps_exception`` writes it)
Reply: TypeAlias = tuple[list[Payload], tuple[Payload, str, str] | None]

_NOT_RESULTS: Final[dict[type, str]] = {
    types.CoroutineType: "a coroutine; schedulers of one machine do not await: run it with asyncio.run(...) inside the task",
    types.GeneratorType: "a generator; return list(...) of it",
    types.AsyncGeneratorType: "an asynchronous generator; collect its items inside the task",
}


def serve(request: Request, functions: dict[bytes, Any]) -> Reply:
    """Run the tasks of a request, in the other process; stops at the first that fails. Never raises.

    Parameters
    ----------
    request : Request
        What ``pack`` wrote.
    functions : dict of bytes to callable
        The functions known so far; new ones are put in.
    """
    results: list[Payload] = []
    try:
        for func_id, payload in request[0].items():
            functions[func_id] = loads(payload)
        for key, func_id, call, inputs in request[1]:
            args, kwargs = loads_call(call, {name: loads(payload) for name, payload in inputs.items()})
            value = functions[func_id](*args, **kwargs)
            check_result(key, value)
            results.append(dumps(value, f"the result of task {key!r}"))
    except BaseException as error:  # noqa: BLE001 - it is raised where the results are asked for
        return results, dumps_exception(error)
    return results, None


def check_result(key: Key, value: Any) -> None:
    """Raise if ``value`` is no value yet.

    Raises
    ------
    NotAResultError
        It is a coroutine or a generator.

    Examples
    --------
    >>> check_result("x", (i for i in ()))
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.NotAResultError: task 'x' returned a generator; return list(...) of it
    """
    why = _NOT_RESULTS.get(type(value))
    if why is not None:
        if isinstance(value, types.CoroutineType):
            value.close()
        raise NotAResultError(f"task {key!r} returned {why}")
