"""What may happen to the scheduler, and what it may ask its shell to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..base.keys import Key
from ..protocol.messages import Message, Role


@dataclass(slots=True)
class PeerJoined:
    """A peer that proved its role has said HELLO."""

    peer: str
    role: Role
    info: Mapping[str, Any]


@dataclass(slots=True)
class PeerLeft:
    """The connection of a peer is gone.

    ``planned``: it said GOODBYE first. ``rejected``: what it sent made no sense, so that there is no point in its coming back.
    """

    peer: str
    reason: str
    planned: bool = False
    rejected: bool = False


@dataclass(slots=True)
class Received:
    """Validated messages of one peer, in order."""

    peer: str
    messages: tuple[Message, ...]
    #: the frame's control part, if these are all its messages and somebody keeps a journal
    control: bytes = b""


@dataclass(slots=True)
class Heard:
    """Bytes of these peers have arrived since the last time, whether or not they are whole messages yet."""

    peers: tuple[str, ...]


@dataclass(slots=True)
class Strays:
    """So many frames that named another epoch or another sender than their link have been dropped since the last time."""

    frames: int


@dataclass(slots=True)
class Unsendable:
    """A message of the last turn cannot be encoded and was left out; those around it have been sent.

    ``behind``: how many messages that count came after it, see ``protocol.stream``. ``request``: the one that it answers, or 0.
    ``runs``: the tasks that it is about, with their attempts or 0. ``functions``: the ids of those that it defines.
    """

    peer: str
    op: int
    behind: int
    request: int
    runs: tuple[tuple[Key, int], ...]
    functions: tuple[bytes, ...]
    reason: str


Event: TypeAlias = PeerJoined | PeerLeft | Received | Heard | Strays | Unsendable


@dataclass(slots=True)
class Send:
    """Queue these messages for a peer, in order."""

    peer: str
    messages: list[Message]


@dataclass(slots=True)
class Disconnect:
    """Close the connection of a peer."""

    peer: str
    reason: str


@dataclass(slots=True)
class Shutdown:
    """Stop the scheduler; the workers have been told."""

    reason: str


@dataclass(slots=True)
class Warn:
    """Something that whoever runs the cluster should know; ``over`` if it is that there is nothing to worry about any more."""

    text: str
    over: bool = False


Instruction: TypeAlias = Send | Disconnect | Shutdown | Warn
