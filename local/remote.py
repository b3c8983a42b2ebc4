"""Tasks as bytes, for processes that share no memory with us: what is asked of them, and what they answer.

Results stay bytes on our side until somebody wants them; a task that needs them elsewhere gets those bytes.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, TypeAlias

from ..base.errors import UsageError
from ..base.keys import Key
from ..protocol.blob import Payload
from ..protocol.pickling import (
    dumps,
    dumps_call,
    dumps_exception,
    dumps_function,
    loads,
    loads_call,
    loads_exception,
)
from .loop import Run, check_result

#: A task: (key, func_id, call, inputs by key)
Row: TypeAlias = tuple[Key, bytes, Payload, dict[Key, Payload]]
#: (functions by func_id, rows)
Request: TypeAlias = tuple[dict[bytes, Payload], list[Row]]
#: (results, and, if a task failed, its exception as ``dumps_exception`` writes it)
Reply: TypeAlias = tuple[list[Payload], tuple[Payload, str, str] | None]


def pack(run: Run, ranks: list[int], known: Container[bytes]) -> Request:
    """Write down tasks; functions that are not ``known`` to the other side go along.

    Raises
    ------
    SerializationError
        A function or an argument cannot be pickled.
    UsageError
        A task refers to another one that it does not depend on.
    """
    functions: dict[bytes, Payload] = {}
    rows: list[Row] = []
    packed: dict[int, bytes] = {}
    for rank in ranks:
        key, task = run.keys[rank], run.tasks[rank]
        func_id = packed.get(id(task.func))
        if func_id is None:
            func_id, function = dumps_function(task.func)
            packed[id(task.func)] = func_id
            if func_id not in known:
                functions[func_id] = function
        call, refs = dumps_call(str(key), task.args, task.kwargs)
        declared = frozenset(task.dependencies)
        for ref in refs:
            if ref not in declared:
                raise UsageError(
                    f"task {key!r} holds a reference to {ref!r} inside an object of another class; pass it as an argument, or "
                    "in a list, tuple, set, dict or dataclass, so that it is found before the task runs"
                )
        rows.append((key, func_id, call, {ref: run.results[ref] for ref in refs}))
    return functions, rows


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


def unpack(reply: Reply) -> list[Payload]:
    """The results of a reply, still pickled; raises the exception of the task that failed."""
    results, failure = reply
    if failure is not None:
        raise loads_exception(*failure)
    return results


def values(run: Run) -> list[Any]:
    """What was wanted, in order. A key that is wanted twice is the same object twice, as it is without processes."""
    loaded = {key: loads(run.results[key]) for key in dict.fromkeys(run.wanted)}
    return [loaded[key] for key in run.wanted]
