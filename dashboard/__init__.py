"""The live dashboard: a process of its own that watches a scheduler and serves web pages. Started by ``__main__``."""
