"""myscheduler: a distributed task scheduler for Python."""
