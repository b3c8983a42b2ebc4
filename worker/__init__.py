"""The worker's machine and store: pure, deterministic; the machine knows keys, sizes and places. Shell: ``worker/server/``."""
