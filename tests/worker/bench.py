"""An executor with real threads, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from myscheduler.base.refs import TaskRef
from myscheduler.protocol import pickling
from myscheduler.worker.server.board import Board
from myscheduler.worker.server.executor import Executor, Reports

TIMEOUT_S = 10.0


class Bench:
    """An executor and what it reported."""

    def __init__(self, nthreads: int = 1) -> None:
        self.board = Board.private()
        self.executor = Executor(nthreads, self._on_reports, owner="the worker", board=self.board)
        self.batches: list[Reports] = []
        self.attempts = 0
        self._changed = asyncio.Event()

    def _on_reports(self, reports: Reports) -> None:
        self.batches.append(reports)
        self._changed.set()

    def submit(
        self, function: Callable[..., Any], *args: Any, inputs: dict[Any, Any] | None = None, flags: int = 0
    ) -> int:
        row = self.row(function, *args, flags=flags)
        self.executor.submit(row, inputs or {})
        return self.attempts

    def row(self, function: Callable[..., Any], *args: Any, flags: int = 0) -> tuple[Any, ...]:
        """A row of COMPUTE for this call."""
        self.attempts += 1
        func_id, code = pickling.dumps_function(function)
        self.executor.functions.define(((func_id, code),))
        payload, _ = pickling.dumps_call("f", args, {})
        return (f"task-{self.attempts}", self.attempts, func_id, payload, 0, (), (), flags)

    def chain(self, *functions: Callable[..., Any]) -> list[int]:
        """Call the first without arguments, each of the others with what the one before returned."""
        rows = [self.row(functions[0])]
        for function in functions[1:]:
            rows.append(self.row(function, TaskRef(rows[-1][0])))
        self.executor.submit_chain(rows, [{} for _ in rows])
        return [row[1] for row in rows]

    def unstarted(self) -> list[int]:
        return [attempt for batch in self.batches for _, attempt in batch.unstarted]

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            while not (found := condition()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def results(self) -> dict[int, Any]:
        return {row[1]: value for batch in self.batches for row, value in zip(batch.results, batch.values, strict=True)}

    def rows(self) -> dict[int, tuple]:
        return {row[1]: row for batch in self.batches for row in (*batch.results, *batch.errors)}

    def moves(self) -> list[tuple]:
        return [move for batch in self.batches for move in batch.moves]

    async def result(self, attempt: int) -> Any:
        await self.until(lambda: attempt in self.rows())
        return self.results()[attempt]

    async def error(self, attempt: int) -> BaseException:
        row = (await self.until(lambda: attempt in self.rows() and self.rows()))[attempt]
        return pickling.loads_exception(*row[2:5])
