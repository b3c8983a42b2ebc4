"""The static order of a graph: in which order one thread would run it so that few results are alive at a time.

Schedulers use it to break ties, so that many workers behave like that one thread, only wider.

How it works. From every output, walk down depth first and run a task when its inputs are there, so that one branch is
finished before the next is begun; of two inputs, the one that needs more room comes first, because the other's result
would be held meanwhile (Sethi and Ullman's rule for registers). After each task, before the walk goes on, run what the
new result makes possible and what pays at once:

- a task that is the last user of one of its inputs: it frees as much as it makes;
- the remaining users of an input, if all of them can run and they are few: later the walk would come back to them one at
  a time, and the input would have to be kept until the last.

Every task and every edge is looked at a bounded number of times, plus sorting the inputs of each task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..base.keys import Key
from .task import Task

#: "Few" users of an input. Running k users early costs k results at most, where keeping the input costs one; it gains all
#: that pile up until the walk comes back. Analyses of the same chunk seldom are more.
FEW_USERS: Final = 8


def order(graph: Mapping[Key, Task]) -> dict[Key, int]:
    """Number the tasks of a graph from 0, in the order in which one thread should run them.

    Parameters
    ----------
    graph : mapping of Key to Task
        Dependencies that are not in the graph are taken as being there.

    Returns
    -------
    dict of Key to int
        A topological order, the same for the same graph.

    Raises
    ------
    GraphError
        The graph has a cycle.

    Examples
    --------
    >>> from myscheduler.base.refs import TaskRef
    >>> order({"sum": Task(sum, ([TaskRef("x"), TaskRef("y")],)), "y": Task(int), "x": Task(int)})
    {'x': 0, 'y': 1, 'sum': 2}
    """
    walk = _Walk(graph)
    keys = list(graph)
    for goal in walk.goals():
        walk.run(goal)
    return {keys[node]: rank for rank, node in enumerate(walk.done)}


class _Walk:
    """The graph as arrays: node numbers are positions in the mapping."""

    __slots__ = ("done", "graph", "height", "inputs", "last", "left", "needs", "ran", "users", "waiting")

    def __init__(self, graph: Mapping[Key, Task]) -> None:
        self.graph = graph
        number = {key: node for node, key in enumerate(graph)}
        count = len(number)
        # Tuples, because those that hold numbers are no work for the garbage collector.
        self.inputs: list[tuple[int, ...]] = []
        self.users: list[list[int]] = [[] for _ in range(count)]
        users = self.users
        for node, task in enumerate(graph.values()):
            try:
                inputs = tuple(map(number.__getitem__, task.dependencies))
            except KeyError:  # some come from elsewhere
                inputs = tuple([number[key] for key in task.dependencies if key in number])
            self.inputs.append(inputs)
            for dependency in inputs:
                users[dependency].append(node)
        #: inputs that have not run
        self.waiting = list(map(len, self.inputs))
        #: users that have not run, and the sum of their numbers: when one is left, the sum is its number
        self.left = list(map(len, users))
        self.last = list(map(sum, users))
        self.ran = bytearray(count)
        self.done: list[int] = []
        self.needs = [1] * count
        self.height = [0] * count
        self._measure()

    def _measure(self) -> None:
        """From the leaves up: the height of each node, and how many results are alive while its branch runs."""
        waiting = list(self.waiting)
        ready = [node for node, missing in enumerate(waiting) if not missing]
        inputs, users, needs, height = self.inputs, self.users, self.needs, self.height
        for node in ready:
            mine = inputs[node]
            if len(mine) == 1:
                needs[node] = needs[mine[0]]
                height[node] = height[mine[0]] + 1
            elif mine:
                # Biggest first; while the n-th runs, n results before it are held.
                room = sorted([needs[dependency] for dependency in mine], reverse=True)
                needs[node] = max([held + need for held, need in enumerate(room)])
                height[node] = 1 + max([height[dependency] for dependency in mine])
            for user in users[node]:
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        if len(ready) < len(waiting):
            from .validate import raise_cycle

            raise_cycle(self.graph)

    def goals(self) -> list[int]:
        """The outputs: urgent ones first, then those that take longest, then those that need most, then as given."""
        outputs = [
            (0 if task.options is None else -task.options.priority, -self.height[node], -self.needs[node], node)
            for node, task in enumerate(self.graph.values())
            if not self.users[node]
        ]
        return [node for *_, node in sorted(outputs)]

    def run(self, goal: int) -> None:
        """Walk down from ``goal`` and run everything it needs."""
        ran, waiting, inputs, needs = self.ran, self.waiting, self.inputs, self.needs
        stack = [goal]
        while stack:
            node = stack[-1]
            if ran[node]:
                stack.pop()
            elif waiting[node]:
                missing = [dependency for dependency in inputs[node] if not ran[dependency]]
                if len(missing) > 1:
                    # Last on the stack is run first: what needs most, and of equals the one given first.
                    missing.reverse()
                    missing.sort(key=needs.__getitem__)
                stack += missing
            else:
                stack.pop()
                self._finish(node)

    def _finish(self, node: int) -> None:
        """Run one task, then what follows from it at no cost."""
        pending = self._mark(node)
        left, waiting, ran = self.left, self.waiting, self.ran
        for dependency in self.inputs[node]:
            if left[dependency] > 1 and len(self.users[dependency]) <= FEW_USERS:
                others = [user for user in self.users[dependency] if not ran[user]]
                if not any(waiting[user] for user in others):
                    pending += reversed(others)
        while pending:
            following = pending.pop()
            if not ran[following]:
                pending += self._mark(following)

    def _mark(self, node: int) -> list[int]:
        """Note that a task ran; return those that can run now and are the last users of one of their inputs."""
        self.ran[node] = 1
        self.done.append(node)
        left, last, waiting, inputs = self.left, self.last, self.waiting, self.inputs
        found = []
        for dependency in inputs[node]:
            left[dependency] -= 1
            last[dependency] -= node
            if left[dependency] == 1 and not waiting[last[dependency]]:
                found.append(last[dependency])
        for user in self.users[node]:
            waiting[user] -= 1
            if not waiting[user]:
                for dependency in inputs[user]:
                    if left[dependency] == 1:
                        found.append(user)
                        break
        found.reverse()
        return found
