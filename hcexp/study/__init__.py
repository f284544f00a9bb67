"""A study: the rows and seeds that a file in `sweeps/` names, which of them are measured, and the workers that
measure the rest.
"""

from hcexp.study.ledger import Point, outcome, plan
from hcexp.study.sweep import Outcome, Row, Sweep, load_sweep
from hcexp.study.workers import run_points

__all__ = ["Outcome", "Point", "Row", "Sweep", "load_sweep", "outcome", "plan", "run_points"]
