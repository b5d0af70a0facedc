"""Layer 3: writes the record of a study to MLflow, where people read it; the only part that knows MLflow."""

from nas.tracking.place import store_uri
from nas.tracking.tracker import SyncReport, Tracker

__all__ = ["SyncReport", "Tracker", "store_uri"]
