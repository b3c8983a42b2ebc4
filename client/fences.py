"""Telling apart two lives of one key.

When futures of a pending key are released and the key is submitted again, an outcome of its first life may still be on its
way. So a request follows such a release on the same link, the *fence*: what arrives before its answer is about the first
life, or cannot be told apart from it, and is asked for again behind the fence.
"""

from __future__ import annotations

from ..base.errors import InternalError
from ..base.keys import Key


class Fences:
    """The keys behind open fences.

    Examples
    --------
    >>> fences = Fences()
    >>> fences.put_up(7, ("x",))
    >>> fences.refuses("x"), fences.refuses("y")
    (True, False)
    >>> fences.take_down(7)
    ['x']
    >>> fences.refuses("x")
    False
    """

    __slots__ = ("_doubtful", "_fence_of", "_keys_of")

    def __init__(self) -> None:
        self._keys_of: dict[int, tuple[Key, ...]] = {}  # by request
        self._fence_of: dict[Key, int] = {}  # the latest one
        self._doubtful: dict[Key, None] = {}  # news of these have been refused

    def __bool__(self) -> bool:
        return bool(self._fence_of)

    def put_up(self, request: int, keys: tuple[Key, ...]) -> None:
        """``keys`` have just been released; the answer to ``request`` comes behind all that concerns them until now."""
        self._keys_of[request] = keys
        self._fence_of.update(dict.fromkeys(keys, request))

    def refuses(self, key: Key) -> bool:
        """Whether news of ``key`` must not be believed now."""
        if key not in self._fence_of:
            return False
        self._doubtful[key] = None
        return True

    def take_down(self, request: int) -> list[Key]:
        """The answer is there; returns the keys of which news were refused, to be asked for again."""
        again: list[Key] = []
        for key in self._keys_of.pop(request):
            if self._fence_of[key] != request:
                continue  # released once more meanwhile; a later fence decides
            del self._fence_of[key]
            if key in self._doubtful:
                del self._doubtful[key]
                again.append(key)
        return again

    def check(self) -> None:
        """Raise InternalError unless every key waits for an open fence."""
        for key, request in self._fence_of.items():
            if key not in self._keys_of.get(request, ()):
                raise InternalError(f"key {key!r} waits for fence {request}, which is not open")
