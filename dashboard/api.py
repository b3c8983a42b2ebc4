"""The JSON interface under ``/api/v1``, the metrics, and the numbers that the closer pages ask for under ``/view``.

What is under ``/api/v1`` is documented and stays. What is under ``/view`` belongs to our own scripts and changes with them.
"""

from __future__ import annotations

from typing import Any, Final

from ..base.errors import UsageError
from . import details, metrics
from .handlers import Audience, Handler, JsonHandler
from .keys import text_to_key
from .model import STATES

#: Tasks in one answer.
LIMIT: Final = 50
LIMIT_MAX: Final = 200
OFFSET_MAX: Final = 10**9


class OverviewHandler(JsonHandler):
    """All numbers of the first page."""

    async def find(self) -> None:
        """Fresh numbers; if the scheduler does not answer, the last ones, which say so."""
        await self.source.refresh()
        self.answer(self.source.model.overview())


class ProgressHandler(JsonHandler):
    """Tasks by kind and state."""

    async def find(self) -> None:
        """A part of the overview."""
        await self.source.refresh()
        self.answer({"progress": self.source.model.progress})


class WorkersHandler(JsonHandler):
    """All workers."""

    async def find(self) -> None:
        """A part of the overview."""
        await self.source.refresh()
        self.answer({"workers": [worker.to_dict() for worker in self.source.model.workers.values()]})


class WorkerHandler(JsonHandler):
    """One worker."""

    async def find(self, name: str) -> None:
        """By incarnation, name or address."""
        found = await find_worker(self, name)
        if found is None:
            self.answer({"error": f"no worker called {name[:256]!r} is connected"}, 404)
        else:
            self.answer(found)


class TasksHandler(JsonHandler):
    """Some tasks."""

    async def find(self) -> None:
        """In the order in which they came."""
        self.answer(details.tasks(await ask_for_tasks(self)))


class TaskHandler(JsonHandler):
    """One task."""

    async def find(self, key: str) -> None:
        """By key, as ``key_to_text`` writes it."""
        task = details.task(await self.source.ask("task", text_to_key(key)))
        self.answer(task, 404 if task["status"] == "unknown" else 200)


class MetricsHandler(Handler):
    """The numbers for Prometheus."""

    async def get(self) -> None:
        """Fresh ones."""
        await self.source.refresh()
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(metrics.render(self.source.model))


# ---- for our own pages ----------------------------------------------------------------------------------------------


class _View(JsonHandler):
    """Numbers for a page of ours, which asks again and again."""

    def show(self, value: dict[str, Any]) -> None:
        """Send them, with what every page's header says."""
        self.answer({"cluster": self.source.model.cluster(), **value})


class TaskView(_View):
    """For a task's page."""

    async def find(self) -> None:
        """The task, and the colour of its kind."""
        task = details.task(await self.source.ask("task", text_to_key(self.get_query_argument("key"))))
        self.show({"task": task, "colour": self.source.model.colours.of(task.get("kind", ""))})


class TasksView(_View):
    """For a page that lists tasks."""

    async def find(self) -> None:
        """Some tasks, with colours."""
        self.show(details.tasks(await ask_for_tasks(self), self.source.model.colours))


class WorkerView(_View):
    """For a worker's page: it has charts, so somebody must be seen to look."""

    async def find(self) -> None:
        """The worker and its recent past; null if it is not connected."""
        audience: Audience = self.application.settings["audience"]
        audience.asked()
        model = self.source.model
        worker = await find_worker(self, self.get_query_argument("id"), model.colours)
        known = model.workers.get(worker["id"]) if worker is not None else None
        self.show({"worker": worker, "past": details.past(model, known) if known is not None else None})


async def find_worker(handler: JsonHandler, name: str, colours: Any = None) -> dict[str, Any] | None:
    """All about a worker, or None if it is not connected."""
    source = handler.source
    await source.refresh()
    known = source.model.find_worker(name)
    answer = await source.ask("worker", name if known is None else known.incarnation)
    return None if answer is None else details.worker(known, answer, colours)


async def ask_for_tasks(handler: JsonHandler) -> Any:
    """The scheduler's list of tasks that a query asks for: ``name``, ``status``, ``offset``, ``limit``."""
    status = handler.get_query_argument("status", "") or None
    if status is not None and status not in STATES:
        raise UsageError(f"no state is called {status[:40]!r}; they are {', '.join(STATES)}")
    name = handler.get_query_argument("name", None)
    if name is not None and name.startswith("~"):  # as keys are written; a name that holds anything unusual
        name = str(text_to_key(name))
    offset = handler.number_argument("offset", 0, OFFSET_MAX)
    limit = handler.number_argument("limit", LIMIT, LIMIT_MAX)
    return await handler.source.ask("tasks", name, status, offset, limit)
