"""Tasks as bytes, for processes that share no memory with us: what is asked of them; ``serving`` is their side.

Results stay bytes on our side until somebody wants them; a task that needs them elsewhere gets those bytes.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from ..base.errors import UsageError
from ..protocol.blob import Payload
from ..protocol.pickling import dumps_call, dumps_function, loads, loads_exception
from .loop import Run
from .serving import Reply, Request, Row


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
