"""Whole clusters of the unmodified machines in virtual time: every message through the real codec, every run repeatable.

``python -m myscheduler.sim --seeds 100`` runs a hundred of them; ``--seed 7`` repeats one.
"""

from .run import Options, Report, SimulationError, simulate

__all__ = ["Options", "Report", "SimulationError", "simulate"]
