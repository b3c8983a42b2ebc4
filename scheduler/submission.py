"""What clients ask for: graphs, wants, releases, cancellations, retries, scattered data."""

from __future__ import annotations

from typing import Any, Final

from ..base.errors import CancelledError, KeyTypeError, ProtocolError
from ..base.keys import Key, validate_key
from ..protocol.blob import Payload
from ..protocol.messages import CANCELLED, FREE, REPLY, Message, Row
from .core import Core
from .items import Inputs
from .queues import Requirement
from .retries import Terms
from .state import ERRED, RELEASED, RETRYING, Arriving, ClientState, Function, TaskState

#: Ranks are 63 bits: 15 for the priority in sixteenths (higher first), 48 for the position in the line.
_POSITION_BITS: Final = 48
_LEVELS: Final = 16384
#: Different requirements that are remembered to be shared by later tasks.
REQUIREMENTS_MAX: Final = 1000
#: Priorities beyond this are cut off.
PRIORITY_MAX: Final = 1000


def on_submit(core: Core, client: ClientState, message: Message) -> None:
    """Enter a slice of a graph; with the last slice, let go of what nobody wants."""
    _, request, functions, options, rows, wants, more = message
    for func_id, payload in functions:
        _learn_function(core, client, func_id, payload)
    parsed = [_Options(core, row) for row in options]
    arriving = client.arriving.get(request)
    if arriving is None:
        arriving = client.arriving[request] = Arriving(core.next_order)
    entered: list[TaskState] = []
    tasks = core.tasks
    try:
        for row in rows:
            ts = tasks.get(row[0])
            if ts is None:
                ts = _new_task(core, row, arriving, parsed)
            if wants is not None:  # what was known before may be let go of before the next slice, too
                ts.needed_by += 1
                arriving.held.append(ts)
            entered.append(ts)
    except (ProtocolError, KeyTypeError):
        core.loose += entered  # the client will be dropped, and nobody has said yet that he wants them
        raise
    for ts in entered if wants is None else [entered[index] for index in wants]:
        core.want(client, ts)
        core.tell(client, ts)
    for ts in entered:
        if ts.status is RELEASED and (ts.wanted_by or ts.needed_by):
            core.ensure(ts)
    if not more:
        del client.arriving[request]
        core.next_order = max(core.next_order, arriving.top + 1)
        for ts in arriving.held:
            core.drop_need(ts)


class _Options:
    """One option row, made sense of."""

    __slots__ = ("rank_base", "requirement", "retries", "terms")

    def __init__(self, core: Core, row: Row) -> None:
        priority, retries, workers, loose, resources, terms = row
        level = _LEVELS - round(max(-PRIORITY_MAX, min(PRIORITY_MAX, priority)) * 16)
        self.rank_base = level << _POSITION_BITS
        self.retries: int = retries
        self.terms = None if terms is None else Terms(retries, terms)
        self.requirement = core.common
        if workers is not None or resources is not None:
            signature = (workers, loose, resources)
            requirement = core.requirements.get(signature)
            if requirement is None:
                if len(core.requirements) >= REQUIREMENTS_MAX:
                    core.requirements.clear()  # tasks keep theirs; only the sharing begins anew
                requirement = core.requirements[signature] = Requirement(workers, loose, resources)
            self.requirement = requirement


def on_undefine(core: Core, client: ClientState, message: Message) -> None:
    """A client will send these functions again before it refers to them."""
    for func_id in message[1]:
        if func_id in client.functions:
            del client.functions[func_id]
            core.drop_function_user(func_id)


def _learn_function(core: Core, client: ClientState, func_id: bytes, payload: Payload) -> None:
    function = core.functions.get(func_id)
    if function is None:
        function = core.functions[func_id] = Function(func_id, payload)
    if func_id not in client.functions:
        client.functions[func_id] = None
        function.users += 1


def _new_task(core: Core, row: Row, arriving: Arriving, options: list[_Options]) -> TaskState:
    key, func_id, payload, dep_keys, order, option = row
    validate_key(key)
    function = core.functions.get(func_id)
    if function is None:
        raise ProtocolError(f"task {key!r} calls a function that was not sent")
    chosen = options[option]
    tasks = core.tasks
    deps: tuple[TaskState, ...] = ()
    inputs: Inputs | None = None
    if dep_keys:
        try:
            deps = tuple(map(tasks.__getitem__, dep_keys))
        except KeyError:
            inputs = Inputs(dep_keys, tasks)
            deps = inputs.deps
    position = arriving.base + order
    if position > arriving.top:
        arriving.top = position
    rank = chosen.rank_base + position
    ts = TaskState(
        key,
        core.prefix_of(key),
        function,
        payload,
        deps,
        rank,
        chosen.requirement,
        chosen.retries,
        chosen.terms,
        core.last_attempt,
    )
    core.add_task(ts)
    if inputs is None:
        return ts
    if inputs.has_items:
        core.items[ts] = inputs
    if inputs.missing:
        text = (
            f"task {key!r} needs {inputs.missing[0]!r}, which the scheduler does not know: its future was released or "
            "cancelled before this task was submitted. Keep the future until then."
        )
        core.fail(ts, core.own_failure(key, CancelledError, text))
    return ts


def on_want(core: Core, client: ClientState, message: Message) -> None:
    """A client attached to keys by name."""
    for key in message[1]:
        ts = core.tasks.get(key)
        if ts is None:
            core.row(client, CANCELLED, (key, f"the scheduler does not know {key!r}"))
            continue
        core.want(client, ts)
        core.tell(client, ts)
        if ts.status is RELEASED:
            core.ensure(ts)


def on_release(core: Core, client: ClientState, message: Message) -> None:
    """A client dropped its last futures of these keys."""
    tasks = core.tasks
    for key in message[1]:
        ts = tasks.get(key)
        if ts is not None:
            core.unwant(client, ts)


def on_cancel(core: Core, client: ClientState, message: Message) -> None:
    """Cancel keys and what depends on them; keys that other clients want too only with force."""
    _, request, keys, force, reason = message
    for key in keys:
        ts = core.tasks.get(key)
        if ts is None:
            continue
        if force or ts.wanted_by in ((), client.only):
            core.cancel(ts, reason)
        elif client in ts.wanted_by:
            core.unwant(client, ts)
            core.row(client, CANCELLED, (key, reason))
    core.message(client, (REPLY, request, True, None))


def on_retry(core: Core, client: ClientState, message: Message) -> None:
    """Run failed tasks again, from the one that failed first. Of each key the client hears a new outcome."""
    _, request, keys = message
    again: list[TaskState] = []
    stack: list[TaskState] = []
    for key in keys:
        ts = core.tasks.get(key)
        if ts is None:
            core.row(client, CANCELLED, (key, f"the scheduler does not know {key!r} any more"))
            continue
        core.want(client, ts)
        if ts.status is ERRED and ts.function is not None:
            stack.append(ts)
        else:
            core.tell(client, ts)  # somebody else has had it run again
    while stack:
        ts = stack.pop()
        if ts.status is ERRED and ts.function is not None:
            core.move(ts, RELEASED)
            ts.failure = None
            ts.kills = 0
            again.append(ts)
            stack.extend(ts.deps)
    for ts in again:
        if ts.wanted_by or ts.needed_by:
            core.ensure(ts)
    core.message(client, (REPLY, request, True, tuple(ts.key for ts in again)))


def on_placed(core: Core, client: ClientState, message: Message) -> None:
    """Scattered data has reached workers."""
    _, request, rows = message
    for key, attempt, nbytes, type_name, incarnations in rows:
        client.placing.pop(attempt, None)
        _enter_placed(core, client, key, attempt, nbytes, type_name, incarnations)
    core.message(client, (REPLY, request, True, None))


def _enter_placed(
    core: Core, client: ClientState, key: Key, attempt: int, nbytes: int, type_name: str, incarnations: tuple[Any, ...]
) -> None:
    holders = [core.workers[name] for name in incarnations if name in core.workers]
    ts = core.tasks.get(key)
    if ts is not None and core.awaited.pop(ts, None) is not None and ts.status is RETRYING:  # it need not come back now
        core.leave(ts)
        core.move(ts, RELEASED)
    if ts is not None and (ts.status is not RELEASED or ts.function is not None):
        for ws in holders:  # the key has another meaning already: refuse the copies
            core.row(ws, FREE, (key, attempt))
        core.want(client, ts)
        core.tell(client, ts)
        if ts.status is RELEASED:
            core.ensure(ts)
        return
    if ts is None:
        validate_key(key)
        ts = TaskState(key, core.prefix_of(key), None, b"", (), core.next_order, core.common, 0)
        core.add_task(ts)
    core.want(client, ts)
    ts.attempt = attempt
    ts.nbytes = nbytes
    ts.type_name = type_name
    for ws in holders:
        core.add_holder(ts, ws)
        if ws.absence is not None:  # it may have taken its inventory before
            ws.absence.placed.append((key, attempt, nbytes, type_name))
    if holders:
        core.finish(ts, None)
    else:
        core.ensure(ts)


def leave_client(core: Core, client: ClientState) -> None:
    """A client is gone: nobody holds its futures any more."""
    for arriving in client.arriving.values():
        for ts in arriving.held:
            core.drop_need(ts)
    for attempt, (key, incarnations) in client.placing.items():
        for name in incarnations:
            if name in core.workers:
                core.row(core.workers[name], FREE, (key, attempt))
    for ts in list(client.wants):
        core.unwant(client, ts)
    for func_id in client.functions:
        core.drop_function_user(func_id)
