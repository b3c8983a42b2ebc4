"""The exit codes of our processes, for scripts and job systems that look at them."""

from __future__ import annotations

from typing import Final

#: Closed as asked: by SIGINT, SIGTERM, the scheduler, or after being idle.
CLOSED: Final = 0
#: Our own bug; the traceback is in the log.
INTERNAL: Final = 1
#: Wrong options; the message says which.
USAGE: Final = 2
#: The scheduler cannot be reached within the death timeout.
UNREACHABLE: Final = 3
#: The port to listen on is taken.
PORT_TAKEN: Final = 4
#: The scheduler refused the credential, the version or the name.
REFUSED: Final = 5
#: A worker's process lost its scheduler; another one may find it again.
LOST: Final = 6

#: Starting again would end the same way.
PERMANENT: Final = {
    USAGE: "wrong options",
    UNREACHABLE: "it could not reach the scheduler",
    REFUSED: "the scheduler refused it",
}
