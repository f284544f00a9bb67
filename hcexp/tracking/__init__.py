"""What a run leaves in MLflow: the store (made or checked before training) and the buffered logger."""

from hcexp.tracking.afterwards import add_files, add_metrics, is_there
from hcexp.tracking.history import history
from hcexp.tracking.logger import BufferedMLFlowLogger, NoTracking
from hcexp.tracking.outbox import send_unsent
from hcexp.tracking.parameters import labels, parameters, telling
from hcexp.tracking.store import open_store, public, store_uri

__all__ = [
    "BufferedMLFlowLogger",
    "NoTracking",
    "add_files",
    "add_metrics",
    "history",
    "is_there",
    "labels",
    "open_store",
    "parameters",
    "public",
    "send_unsent",
    "store_uri",
    "telling",
]
