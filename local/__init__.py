"""The schedulers of one machine: synchronous, threads, processes, and any ``concurrent.futures.Executor``."""
