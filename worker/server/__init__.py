"""The worker's shell: the daemon, the threads that run tasks, the store of results, transfers between workers."""
