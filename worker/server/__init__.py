"""The worker's shell: the daemon, the threads that run tasks, transfers between workers."""
