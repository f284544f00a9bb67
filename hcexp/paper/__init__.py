"""The paper's own numbers: its 19 tables as printed, and its errata.

Zhu et al., Hyper-Connections, ICLR 2025 (arXiv 2409.19606v3). Nothing in this room is measured by hcexp.
"""

from hcexp.paper.breakdown import breakdown
from hcexp.paper.errata import Erratum, errata
from hcexp.paper.tables import LOSSES, PaperTable, Printed, listing, printed, table

__all__ = ["LOSSES", "Erratum", "PaperTable", "Printed", "breakdown", "errata", "listing", "printed", "table"]
