"""Hard limits, each with its reason. They bound what a peer can make us hold, not what users may compute."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

#: A key is a name, not data.
KEY_BYTES_MAX = 4 * KIB
#: Pickled arguments and results up to this size travel inside the control stream; larger ones as raw buffers behind it.
INLINE_BYTES_MAX = 16 * KIB
#: Rows per message: with INLINE_BYTES_MAX it keeps the usual message below 8 MiB and lets the peer start early.
ROWS_PER_MESSAGE_MAX = 512
#: The msgpack part of one frame. A fan-in of 100,000 inputs needs about 5 MiB.
CONTROL_BYTES_MAX = 64 * MIB
#: Buffers that may follow one control part.
BUFFERS_PER_FRAME_MAX = 65_536
#: One raw buffer; memory is only touched as bytes arrive.
BUFFER_BYTES_MAX = 64 * KIB * MIB
#: Functions that a client expects the scheduler to remember for it, and their bytes in all; older ones are sent again.
FUNCTIONS_REMEMBERED_MAX = 1000
FUNCTION_BYTES_REMEMBERED_MAX = 16 * MIB
#: Text made from an exception on the worker.
TRACEBACK_CHARS_MAX = 64 * KIB
#: A pickled exception; the scheduler keeps it for everything that depends on the task.
EXCEPTION_BYTES_MAX = MIB
#: Names of workers, functions, types.
NAME_CHARS_MAX = 256
#: Seconds for the whole handshake, from accept to proof.
HANDSHAKE_TIMEOUT_S = 5.0
#: The kernel of a peer's machine answers probes every 2 s. Silent for so long, it is out of reach. TCP alone would go on for a
#: quarter of an hour, and after the network has healed take up to two minutes to find that out.
UNANSWERED_S = 10.0
#: Connections to one listener that have not proved themselves yet; fewer where descriptors are few. Each costs some KiB.
UNAUTHENTICATED_MAX = 1024
