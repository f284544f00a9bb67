"""A study: the rows and seeds that a file in `sweeps/` names, the ledger of which of them are measured, and the workers
that measure the rest.
"""

from hcexp.study.ledger import Ledger
from hcexp.study.outcome import outcome
from hcexp.study.point import Point, plan
from hcexp.study.queue import Queue
from hcexp.study.sweep.sweep import Row, Sweep
from hcexp.study.sweep.sweep_file import load_sweep
from hcexp.study.workers import run_points

__all__ = ["Ledger", "Point", "Queue", "Row", "Sweep", "load_sweep", "outcome", "plan", "run_points"]
