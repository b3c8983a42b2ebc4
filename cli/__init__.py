"""The commands ``myscheduler`` and ``myworker``."""
