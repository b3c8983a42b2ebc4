"""The scheduler's state machine. Pure: no I/O, no clock, no randomness, no user bytes are read here."""
