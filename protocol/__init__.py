"""The wire, sans I/O: messages, codec, frames, handshake, and the pickling boundary."""
