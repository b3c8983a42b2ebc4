"""How long to wait between attempts to reach a peer again."""

from __future__ import annotations

from typing import Final

#: Before the second attempt. Most links break because a connection did, and the peer is there.
FIRST_S: Final = 0.05
#: The longest wait: a peer that is back is found soon, and one that is gone is not flooded.
LONGEST_S: Final = 2.0
#: Seconds that one attempt of a worker to reach a scheduler again may take, and then the answer to HELLO.
DIAL_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 5.0
#: Seconds that one attempt of a client may take: a scheduler that accepts connections may be slow to answer.
ATTEMPT_S: Final = 10.0


class Backoff:
    """Waits that double, each shortened at random so that many peers do not come back at the same moment, up to a deadline.

    Parameters
    ----------
    now : float
        Seconds of any clock.
    patience : float
        For how many seconds to go on trying.

    Examples
    --------
    >>> backoff = Backoff(now=10.0, patience=0.2)
    >>> backoff.next_wait(10.0, 1.0), backoff.next_wait(10.05, 1.0)
    (0.05, 0.1)
    >>> backoff.next_wait(10.15, 1.0) < 0.051       # one last attempt, at the deadline
    True
    >>> backoff.next_wait(10.2, 1.0) is None
    True
    """

    __slots__ = ("_deadline", "_wait")

    def __init__(self, now: float, patience: float) -> None:
        self._deadline = now + patience
        self._wait = FIRST_S

    def next_wait(self, now: float, chance: float) -> float | None:
        """Seconds to wait before the next attempt.

        Parameters
        ----------
        now : float
            Seconds of the same clock.
        chance : float
            A random number from 0 to 1: between half of the wait and all of it.

        Returns
        -------
        float or None
            None once the patience is used up.
        """
        left = self._deadline - now
        if left <= 0:
            return None
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_S)
        return min(wait * (0.5 + chance / 2), left)
