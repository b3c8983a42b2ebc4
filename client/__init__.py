"""The client's state machine: futures and their outcomes. Pure; its shell is in ``client/api/``."""
