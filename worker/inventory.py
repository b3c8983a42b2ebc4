"""What a worker tells a scheduler that it has lost and found again: what it holds, what it runs, what it knows."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from ..base.keys import Key
from ..base.limits import ROWS_PER_MESSAGE_MAX
from ..protocol.messages import (
    ERRORS,
    FINAL,
    INVENTORY,
    OVERDUE,
    RESULTS,
    STAGE_RUNNING,
    STAGE_SECEDED,
    STAGE_SENT,
    Message,
    Row,
)
from .state import Task, TaskState

if TYPE_CHECKING:
    from .machine import WorkerMachine

#: Reports that are kept while the scheduler is away, as they say what no inventory does. The runs they are about count as
#: unanswered until then.
KEPT: Final = (RESULTS, ERRORS, OVERDUE, FINAL)


def hold(data: dict[Key, tuple[int, int, str]], key: Key, attempt: int, nbytes: int) -> list[tuple[Key, int]]:
    """Note a copy that counts from now on; what it takes the place of must be dropped.

    Examples
    --------
    >>> data = {"x": (14, 28, "int")}
    >>> hold(data, "x", 21, 30), data
    ([('x', 14)], {'x': (21, 30, '')})
    """
    held = data.get(key)
    data[key] = (attempt, nbytes, "")
    return [] if held is None or held[0] == attempt else [(key, held[0])]


def inventory(machine: WorkerMachine, kept: dict[int, list[Row]]) -> list[Message]:
    """INVENTORY in slices; the last of them, which may be the only one, is marked.

    Parameters
    ----------
    machine : WorkerMachine
        What to tell of.
    kept : dict
        Rows that will be reported after it, by op.

    Returns
    -------
    list of message
    """
    to_report = {row[1]: row for op in (RESULTS, ERRORS) for row in kept[op]}
    copies = [
        (key, attempt, nbytes, type_name)
        for key, (attempt, nbytes, type_name) in machine.data.items()
        if attempt not in to_report and key not in machine.items
    ]
    overdue: dict[int, None] = {row[1]: None for row in kept[OVERDUE]}
    runs: list[tuple[Key, int, int, bool]] = [(row[0], row[1], STAGE_RUNNING, False) for row in to_report.values()]
    unanswered = {task.attempt: task for task in (*machine.tasks.values(), *machine.runs.values())}
    for attempt, task in unanswered.items():
        given_up = machine.tasks.get(task.key) is not task and attempt not in overdue
        runs.append((task.key, attempt, _stage(task), given_up))
    slices = list(zip_longest(_cut(copies), _cut(runs), _cut([*machine.functions]), fillvalue=()))
    return [(INVENTORY, *parts, index < len(slices) - 1) for index, parts in enumerate(slices)]


def _stage(task: Task) -> int:
    if task.state is TaskState.SECEDED:
        return STAGE_SECEDED
    return STAGE_RUNNING if task.state is TaskState.RUNNING else STAGE_SENT


def _cut(rows: list[Any]) -> list[tuple[Any, ...]]:
    starts = range(0, max(len(rows), 1), ROWS_PER_MESSAGE_MAX)
    return [tuple(rows[start : start + ROWS_PER_MESSAGE_MAX]) for start in starts]
