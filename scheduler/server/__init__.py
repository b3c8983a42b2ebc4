"""The scheduler's shell: listens, feeds the machine, does what it says."""
