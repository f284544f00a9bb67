"""What is recorded of a run: the metrics file in its folder, and MLflow, which is told from it and never asked.

The loggers are in `tracking.logger`: whoever reads what was recorded has no need of Lightning.
"""

from hcexp.tracking.afterwards import add_files, add_metrics
from hcexp.tracking.outbox import send_unsent
from hcexp.tracking.parameters import headline_params, labels
from hcexp.tracking.store import open_store, public, store_uri

__all__ = ["add_files", "add_metrics", "headline_params", "labels", "open_store", "public", "send_unsent", "store_uri"]
