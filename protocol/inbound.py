"""Which frames of a connection are taken: one rule for all transports, and for connections that are simulated."""

from __future__ import annotations

from ..base.errors import ProtocolError
from .codec import Frame
from .messages import Role, validate


class Inbound:
    """What has come in over one connection.

    Parameters
    ----------
    role : Role
        What the peer has proved to be.
    peer : str
        The incarnation that it has proved.

    Attributes
    ----------
    stale : int
        Frames dropped because their epoch or sender was not the connection's.

    Examples
    --------
    >>> inbound = Inbound(Role.CLIENT, "a1")
    >>> inbound.admits(Frame(7, "a1", 0, ((4, "done"),)), epoch=7)
    True
    >>> inbound.admits(Frame(6, "a1", 1, ((4, "done"),)), epoch=7), inbound.stale
    (False, 1)
    """

    __slots__ = ("_due", "_peer", "_role", "stale")

    def __init__(self, role: Role, peer: str) -> None:
        self._role = role
        self._peer = peer
        self._due = 0  # the sequence number of the next frame
        self.stale = 0

    def admits(self, frame: Frame, epoch: int) -> bool:
        """Whether to act on the messages of a frame, which are valid then.

        Parameters
        ----------
        frame : Frame
            The next that came in.
        epoch : int
            The connection's; 0 until it is known.

        Raises
        ------
        ProtocolError
            A frame is missing or came twice, or a message is none that the peer may send: there is no point in going on.
        """
        if frame.sender != self._peer or (frame.epoch != epoch and frame.epoch and epoch):
            self.stale += 1
            self._due = frame.sequence + 1
            return False
        if frame.sequence != self._due:
            raise ProtocolError(f"frame {frame.sequence} came where {self._due} was due")
        self._due += 1
        role = self._role
        for message in frame.messages:
            validate(message, role)
        return True
