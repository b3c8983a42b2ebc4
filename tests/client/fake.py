"""A scheduler and one worker in a single object: runs tasks at once, in this process, through real pickling and real links."""

from __future__ import annotations

from typing import Any

from myscheduler.base.ids import IdSource
from myscheduler.protocol import messages as m
from myscheduler.protocol.pickling import dumps, dumps_exception, loads, loads_call
from myscheduler.transport import Link, Listener, listen


class FakeCluster:
    """``scheduler_address`` and ``credentials`` make it a cluster for ``Client(cluster)``.

    Attributes
    ----------
    held : bool
        While true, tasks are queued and not run; ``run_held`` runs them.
    inline : bool
        Whether results travel with the news.
    reachable : bool
        Whether IN_MEMORY names the worker's real address.
    received : list
        All messages from clients, in order.
    """

    def __init__(self) -> None:
        self.incarnation = IdSource().incarnation()
        self.credentials = None
        self.epoch = 7
        self.held = False
        self.inline = True
        self.reachable = True
        self.stalled = False  # the worker answers nothing
        self.received: list[Any] = []
        self.data_requests: list[Any] = []
        self.functions: dict[bytes, Any] = {}
        self.rows: dict[Any, Any] = {}
        self.queue: list[Any] = []
        self.values: dict[Any, Any] = {}
        self.errors: dict[Any, Any] = {}
        self.wants: dict[Any, dict[Link, None]] = {}
        self.refuse: dict[str, tuple[str, str]] = {}  # method -> code and text
        self.answers: dict[str, Any] = {"scheduler_info": {"workers": ()}}
        self.links: list[Link] = []
        self.data_links: list[Link] = []
        self.attempt = 0
        self.listeners: list[Listener] = []

    async def start(self) -> FakeCluster:
        self.scheduler = await listen(
            "inproc://", credentials=None, incarnation=self.incarnation, own_role=m.Role.SCHEDULER, accept=self.accept
        )
        self.worker = await listen(
            "inproc://", credentials=None, incarnation="b" * 16, own_role=m.Role.WORKER, accept=self.accept_data
        )
        self.listeners = [self.scheduler, self.worker]
        return self

    def stop(self) -> None:
        for listener in self.listeners:
            listener.close()
        for link in self.links:
            link.close("the fake stops")

    @property
    def scheduler_address(self) -> str:
        return self.scheduler.address

    def accept(self, link: Link) -> FakeCluster:
        self.links.append(link)
        return self

    def accept_data(self, link: Link) -> _Data:
        self.data_links.append(link)
        return _Data(self)

    def on_closed(self, link: Link, reason: str) -> None:
        self.links.remove(link)

    def on_messages(self, link: Link, frame: Any) -> None:
        for message in frame.messages:
            self.received.append(message)
            getattr(self, f"on_{m.SPECS[message[0]].name.lower()}")(link, *message[1:])

    def ops(self, op: int) -> list[Any]:
        return [message for message in self.received if message[0] == op]

    # ---- messages ---------------------------------------------------------------------------------------------------

    def on_hello(self, link: Link, info: dict[str, Any]) -> None:
        if "hello" in self.refuse:
            link.send((m.REFUSED, *self.refuse["hello"]))
            link.close("refused")
            return
        link.send((m.WELCOME, {"epoch": self.epoch, "cluster": "c" * 32, "heartbeat_s": 1.0}))
        link.epoch = self.epoch

    def on_goodbye(self, link: Link, reason: str) -> None:
        link.close(reason)

    def on_ack(self, link: Link, received: int) -> None:
        assert received > 0

    def on_submit(
        self, link: Link, request: int, functions: Any, options: Any, rows: Any, wants: Any, more: bool
    ) -> None:
        self.functions.update(functions)
        for row in rows:
            assert options[row[5]]
            self.rows.setdefault(row[0], row)
        for index in range(len(rows)) if wants is None else wants:
            self.wants.setdefault(rows[index][0], {})[link] = None
        keys = [row[0] for row in rows]
        if self.held:
            self.queue += keys
        else:
            self.run(keys)

    def on_want(self, link: Link, keys: Any) -> None:
        for key in keys:
            self.wants.setdefault(key, {})[link] = None
            if key in self.values or key in self.errors:
                self.tell([key])
            elif key not in self.rows:
                link.send((m.CANCELLED, ((key, "unknown"),)))

    def on_release(self, link: Link, keys: Any) -> None:
        for key in keys:
            self.wants.get(key, {}).pop(link, None)
            if not self.wants.get(key):
                for table in (self.wants, self.values, self.errors, self.rows):
                    table.pop(key, None)

    def on_cancel(self, link: Link, request: int, keys: Any, force: bool, reason: str) -> None:
        for key in keys:
            if key in self.queue:
                self.queue.remove(key)
            link.send((m.CANCELLED, ((key, reason),)))
        link.send((m.REPLY, request, True, None))

    def on_retry(self, link: Link, request: int, keys: Any) -> None:
        if "retry" in self.refuse and keys:
            link.send((m.REPLY, request, False, self.refuse["retry"]))
            return
        for key in keys:
            self.errors.pop(key, None)
        link.send((m.REPLY, request, True, None))
        self.run(keys)

    def on_placed(self, link: Link, request: int, rows: Any) -> None:
        for key, _attempt, _nbytes, _type_name, incarnations in rows:
            assert incarnations == ("b" * 16,)
            self.wants.setdefault(key, {})[link] = None
        link.send((m.REPLY, request, True, None))
        self.tell([row[0] for row in rows])

    def on_fetch(self, link: Link, request: int, keys: Any) -> None:
        rows = tuple((key, dumps(self.values[key])) for key in keys if key in self.values)
        missing = tuple((key, "gone") for key in keys if key not in self.values)
        link.send((m.DATA, request, rows, missing))

    def on_call(self, link: Link, request: int, method: str, args: Any) -> None:
        if method in self.refuse:
            link.send((m.REPLY, request, False, self.refuse[method]))
        elif method == "place":
            rows = []
            for _ in range(args[0]):
                self.attempt += 1
                rows.append((self.attempt, (("b" * 16, self.worker.address if self.reachable else "inproc://gone"),)))
            link.send((m.REPLY, request, True, tuple(rows)))
        elif method in self.answers:
            link.send((m.REPLY, request, True, self.answers[method]))

    # ---- running ----------------------------------------------------------------------------------------------------

    def run_held(self, count: int | None = None) -> None:
        keys, self.queue = self.queue[:count], self.queue[count:] if count is not None else []
        self.run(keys)

    def run(self, keys: Any) -> None:
        for key in keys:
            if key not in self.rows:
                continue
            _, func_id, payload, deps, _, _ = self.rows[key]
            failed = next((self.errors[dep] for dep in deps if dep in self.errors), None)
            if failed is not None:
                self.errors[key] = failed
                continue
            try:
                args, kwargs = loads_call(payload, {dep: self.values[dep] for dep in deps})
                self.values[key] = loads(self.functions[func_id])(*args, **kwargs)
            except Exception as error:
                self.errors[key] = (*dumps_exception(error), key)
        self.tell(keys)

    def tell(self, keys: Any) -> None:
        for key in keys:
            for link in self.wants.get(key, {}):
                if key in self.errors:
                    link.send((m.FAILED, ((key, *self.errors[key]),)))
                elif key in self.values:
                    value = self.values[key]
                    payload = dumps(value) if self.inline else None
                    address = self.worker.address if self.reachable else "inproc://gone"
                    link.send((m.IN_MEMORY, ((key, 28, type(value).__name__, payload, address),)))


class _Data:
    """The worker's end of a data link."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    def on_messages(self, link: Link, frame: Any) -> None:
        values = self.cluster.values
        for op, request, rows in frame.messages:
            self.cluster.data_requests.append((op, rows))
            if self.cluster.stalled:
                continue
            if op == m.GET_DATA:
                found = tuple((key, dumps(values[key])) for key, _ in rows if key in values)
                missing = tuple((key, "not here") for key, _ in rows if key not in values)
                link.send((m.DATA, request, found, missing))
            else:
                for key, _, payload in rows:
                    values[key] = loads(payload)
                stored = tuple((key, attempt, 28, type(values[key]).__name__) for key, attempt, _ in rows)
                link.send((m.STORED, request, stored))

    def on_closed(self, link: Link, reason: str) -> None:
        pass
