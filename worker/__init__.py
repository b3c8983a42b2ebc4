"""The worker's machine: pure, deterministic, knows keys, sizes and places. Its shell is in ``worker/server/``."""
