"""Everything that may go wrong, or be asked for, at a random moment. Each kind picks its victim itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..base.keys import Key
from ..base.limits import ROWS_PER_MESSAGE_MAX, UNANSWERED_S
from ..protocol import messages as m
from ..protocol.codec import HEADER
from ..worker.events import Weighed
from .links import End
from .scheduler import EPOCH
from .workers import PAUSE_AT
from .world import Process

if TYPE_CHECKING:
    from .clients import SimClient
    from .run import Simulation
    from .workers import SimWorker

#: Longest freeze, stall or silence.
LONGEST_S: Final = 60.0
#: What a system needs to find out that a connection is dead over which nobody says anything.
KEEPALIVE_S: Final = 70.0
#: Longest jump of a clock.
JUMP_S: Final = 600.0


def _seconds(simulation: Simulation) -> float:
    """Between a tenth of a second and a minute; short ones as likely as long ones."""
    seconds: float = 0.1 * (LONGEST_S / 0.1) ** simulation.random.random()
    simulation.disturbed_for(seconds)
    return seconds


def _scheduler_ends(simulation: Simulation) -> list[End]:
    """The ends, at workers and clients, of connections with the scheduler that are past their HELLO."""
    peers: list[SimWorker | SimClient] = [*simulation.workers.values(), *simulation.clients]
    return [peer.link for peer in peers if peer.alive and not peer.link.closed and peer.link.epoch]


def _data_ends(simulation: Simulation) -> list[End]:
    """The ends of connections between workers."""
    return [end for worker in simulation.workers.values() for end in worker.transfers.ends if not end.closed]


def _some_end(simulation: Simulation) -> End | None:
    """Either end of any connection; connections with the scheduler more often."""
    near = _scheduler_ends(simulation)
    far = _data_ends(simulation)
    ends = far if far and (not near or simulation.random.random() < 0.4) else near
    if not ends:
        return None
    end = simulation.random.choice(ends)
    return end.other if simulation.random.random() < 0.5 else end


# ---- processes ------------------------------------------------------------------------------------------------------


def kill(simulation: Simulation) -> bool:
    """A worker dies; the kernel closes its connections."""
    return simulation.lose_worker(silently=False)


def vanish(simulation: Simulation) -> bool:
    """The host of a worker is gone; nobody is told."""
    return simulation.lose_worker(silently=True)


def kill_client(simulation: Simulation) -> bool:
    """A client dies."""
    clients = [client for client in simulation.clients if client.alive]
    if not clients:
        return False
    simulation.random.choice(clients).die()
    return True


def freeze(simulation: Simulation) -> bool:
    """A worker or a client stands still for a while, then goes on."""
    processes: list[Process] = [*simulation.workers.values(), *(c for c in simulation.clients if c.alive)]
    process = simulation.random.choice(processes)
    simulation.mute(process)
    process.freeze(_seconds(simulation))
    return True


def hold(simulation: Simulation) -> bool:
    """A task of a worker holds the interpreter lock for a while: nothing moves there, but the keeper sees that it lives."""
    worker = simulation.random.choice(list(simulation.workers.values()))
    seconds = _seconds(simulation)
    worker.freeze(seconds)
    simulation.keeper.vouch_for(worker, seconds)
    return True


def stall(simulation: Simulation) -> bool:
    """The scheduler stands still for a while, then goes on."""
    simulation.scheduler.freeze(_seconds(simulation))
    return True


def jump(simulation: Simulation) -> bool:
    """The clock of a process jumps forward, as when its machine was suspended."""
    process = simulation.random.choice([simulation.scheduler, *simulation.workers.values()])
    process.jump(simulation.random.uniform(0.0, JUMP_S))
    return True


def pressure(simulation: Simulation) -> bool:
    """A worker is short of memory for a while, or for good."""
    worker = simulation.random.choice(list(simulation.workers.values()))
    worker.after(0.0, lambda: worker.feed(Weighed(PAUSE_AT + 1)))
    if simulation.random.random() < 0.7:
        worker.after(_seconds(simulation), lambda: worker.feed(Weighed(0)))
    return True


# ---- connections ----------------------------------------------------------------------------------------------------


def delay(simulation: Simulation) -> bool:
    """For a while everything takes longer, equally everywhere."""
    return _lag(simulation, [simulation.random.uniform(0.0, 1.0)] * 2)


def reorder(simulation: Simulation) -> bool:
    """For a while each connection takes its own time: what is sent first may arrive last, elsewhere."""
    return _lag(simulation, [0.0, simulation.random.uniform(0.0, 2.0)])


def _lag(simulation: Simulation, bounds: list[float]) -> bool:
    ends = [*_scheduler_ends(simulation), *_data_ends(simulation)]
    if not ends:
        return False
    wires = [wire for end in ends for wire in (end.out, end.other.out)]
    for wire in wires:
        wire.lag = simulation.random.uniform(*bounds)

    def heal() -> None:
        for wire in wires:
            wire.lag = 0.0

    seconds = simulation.random.uniform(0.1, 5.0)
    simulation.disturbed_for(seconds + bounds[1])
    simulation.world.after(seconds, heal)
    return True


def slow(simulation: Simulation) -> bool:
    """Somebody reads slowly for a while."""
    end = _some_end(simulation)
    if end is None:
        return False
    simulation.mute(end.process, end.other.process)
    wire = end.out
    wire.rate = 10 ** simulation.random.uniform(3.5, 6.0)

    def heal() -> None:
        wire.rate = 0.0
        simulation.disturbed_for(max(wire.busy_until - simulation.world.now, 0.0))

    simulation.world.after(_seconds(simulation), heal)
    return True


def silence(simulation: Simulation) -> bool:
    """Nothing arrives any more in one direction: it waits until the connection heals, or is lost with the connection."""
    end = _some_end(simulation)
    if end is None:
        return False
    simulation.mute(end.process, end.other.process)
    seconds = _seconds(simulation)
    end.out.blocked_until = simulation.world.now + seconds
    if simulation.random.random() < 0.3:
        simulation.world.after(seconds, lambda: _reset(end))
    return True


def truncate(simulation: Simulation) -> bool:
    """A connection breaks, and with it what is on the way, from any byte on."""
    end = _some_end(simulation)
    if end is None:
        return False
    _reset(end)
    return True


def _reset(end: End) -> None:
    for each in (end, end.other):
        if each.process.alive:
            each.abort("connection reset")


def reset(simulation: Simulation) -> bool:
    """The connections of some peers with the scheduler break, perhaps again and again, though nobody has died."""
    random = simulation.random
    peers: list[SimWorker | SimClient] = [*simulation.workers.values(), *(c for c in simulation.clients if c.connected)]
    moment = 0.0
    for _ in range(random.choice((1, 1, 3, 10))):
        for peer in random.sample(peers, random.randint(1, len(peers))):
            simulation.world.after(moment, lambda peer=peer: _reset(peer.link))  # type: ignore[misc]
        moment += random.uniform(0.0, random.choice((0.1, 1.0, 3.0)))
    simulation.disturbed_for(moment)
    return True


def partition(simulation: Simulation) -> bool:
    """A worker and the scheduler cannot reach each other for a while. After ten seconds their kernels say so."""
    ends = [worker.link for worker in simulation.workers.values() if worker.link.epoch and not worker.link.closed]
    if not ends:
        return False
    end = simulation.random.choice(ends)
    seconds = _seconds(simulation)
    simulation.mute(end.process)
    simulation.isolate(simulation.workers[end.own], seconds)
    for each in (end, end.other):
        each.out.blocked_until = simulation.world.now + seconds
    if seconds > UNANSWERED_S:
        simulation.world.after(UNANSWERED_S, lambda: _reset(end))
    return True


def half_open(simulation: Simulation) -> bool:
    """A client's connection breaks without the scheduler being told, until its system finds out, or the client is back."""
    clients = [client for client in simulation.clients if client.alive and not client.link.closed and client.link.epoch]
    if not clients:
        return False
    client = simulation.random.choice(clients)
    end = client.link
    simulation.mute(client)
    end.lose("connection reset")
    simulation.disturbed_for(KEEPALIVE_S)
    simulation.world.after(KEEPALIVE_S, lambda: end.other.abort("connection timed out"))
    return True


def cut(simulation: Simulation) -> bool:
    """Two workers cannot reach each other for a while."""
    workers = list(simulation.workers.values())
    if len(workers) < 2:
        return False
    one, other = simulation.random.sample(workers, 2)
    simulation.cut(one, other, _seconds(simulation))
    for end in one.transfers.ends:
        if end.peer == other.incarnation:
            _reset(end)
    return True


# ---- peers that talk nonsense ---------------------------------------------------------------------------------------


def garbage(simulation: Simulation) -> bool:
    """A peer sends what is no frame, or no message, or none that it may send: its connection must be closed."""
    end = _some_peer_end(simulation)
    if end is None:
        return False
    random = simulation.random
    simulation.talks_nonsense(end)
    variant = random.randrange(4)
    if variant == 0:
        end.send_raw(random.randbytes(random.randint(8, 200)) + bytes(100))
    elif variant == 1:
        size = random.randint(1, 200)
        end.send_raw(HEADER.pack(size, 0) + random.randbytes(size))
    elif variant == 2:
        end.send([(random.choice((m.WELCOME, m.SUBMIT, m.COMPUTE, m.REPLY, 0, 999)), 1, 2, 3)])
    else:
        end.send([(m.GOODBYE, {"reason": 1}), (m.HEARTBEAT,)])
    return True


def duplicate(simulation: Simulation) -> bool:
    """A frame arrives twice: the connection must be closed."""
    end = _some_peer_end(simulation)
    if end is None or not end.last_frame:
        return False
    end.send_raw(end.last_frame)
    simulation.talks_nonsense(end)
    return True


def foreign(simulation: Simulation) -> bool:
    """Well-formed frames of another epoch, or of another sender, that would do harm if they were believed."""
    ends = [worker.link for worker in simulation.workers.values() if worker.link.epoch and not worker.link.closed]
    if not ends:
        return False
    end = simulation.random.choice(ends)
    believed = simulation.scheduler.machine.core.workers.get(end.own)
    rows = [(ts.key, ts.attempt, 8, "int", b"0", 0, 0.0, 0.0) for ts in believed.assigned] if believed else []
    late = simulation.random.random() < 0.5
    message = (m.RESULTS, tuple(rows[:ROWS_PER_MESSAGE_MAX]))
    end.send_foreign([message], EPOCH - 1 if late else EPOCH, end.own if late else "f" * 16)
    return True


def _some_peer_end(simulation: Simulation) -> End | None:
    end = _some_end(simulation)
    if end is None:
        return None
    if end.process is simulation.scheduler:
        end = end.other
    simulation.mute(end.process)
    return end


# ---- users ----------------------------------------------------------------------------------------------------------


def _some_client(simulation: Simulation) -> SimClient | None:
    clients = [client for client in simulation.clients if client.connected and client.submitted]
    return simulation.random.choice(clients) if clients else None


def _some_keys(simulation: Simulation, client: SimClient) -> list[Key]:
    keys = list(client.records)
    return simulation.random.sample(keys, simulation.random.randint(1, len(keys))) if keys else []


def cancel(simulation: Simulation) -> bool:
    """A client cancels some of its futures."""
    client = _some_client(simulation)
    keys = _some_keys(simulation, client) if client is not None else []
    if client is None or not keys:
        return False
    simulation.may_be_cancelled(keys)
    client.cancel(keys, force=simulation.random.random() < 0.5)
    return True


def release(simulation: Simulation) -> bool:
    """A client lets go of some of its futures, or of all."""
    client = _some_client(simulation)
    keys = _some_keys(simulation, client) if client is not None else []
    if client is None or not keys:
        return False
    client.release(keys if simulation.random.random() < 0.7 else list(client.records))
    return True


def resubmit(simulation: Simulation) -> bool:
    """A client submits its graph again, often right after it let go of it, sometimes again and again."""
    client = _some_client(simulation)
    if client is None:
        return False
    random = simulation.random
    moment = 0.0
    for _ in range(random.choice((1, 1, 5))):
        if random.random() < 0.6:
            client.after(moment, client.release_all)
            moment += random.choice((0.0, random.uniform(0.0, 0.05)))
        client.after(moment, client.resubmit)
        moment += random.uniform(0.0, 0.3)
    simulation.disturbed_for(moment)
    return True


def want(simulation: Simulation) -> bool:
    """A client attaches to keys of another."""
    client = _some_client(simulation)
    owner = _some_client(simulation)
    if client is None or owner is None or client is owner or not owner.records:
        return False
    client.want(_some_keys(simulation, owner), owner)
    return True


def retry(simulation: Simulation) -> bool:
    """A client has failed tasks run again."""
    client = _some_client(simulation)
    return client is not None and client.retry() > 0


def restart(simulation: Simulation) -> bool:
    """A client restarts all workers; all futures are cancelled."""
    client = _some_client(simulation)
    if client is None:
        return False
    for each in simulation.clients:
        simulation.may_be_cancelled(list(each.graph))
    client.call("restart")
    return True


def retire(simulation: Simulation) -> bool:
    """A client retires a worker."""
    client = _some_client(simulation)
    if client is None:
        return False
    client.call("retire_workers", (simulation.random.choice(list(simulation.workers.values())).name,))
    return True


#: All kinds, by the names that ``--faults`` takes.
FAULTS: Final[dict[str, Callable[[Simulation], bool]]] = {
    "kill": kill,
    "vanish": vanish,
    "kill-client": kill_client,
    "freeze": freeze,
    "hold": hold,
    "stall": stall,
    "jump": jump,
    "pressure": pressure,
    "delay": delay,
    "reorder": reorder,
    "slow": slow,
    "silence": silence,
    "truncate": truncate,
    "reset": reset,
    "partition": partition,
    "half-open": half_open,
    "cut": cut,
    "garbage": garbage,
    "duplicate": duplicate,
    "foreign": foreign,
    "cancel": cancel,
    "release": release,
    "resubmit": resubmit,
    "want": want,
    "retry": retry,
    "restart": restart,
    "retire": retire,
}
#: Those after which a task may still run no more than once.
HARMLESS: Final = ("jump", "pressure", "delay", "reorder", "foreign", "want")
