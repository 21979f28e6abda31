"""The verbs that workers need, without the weight of the others: each worker carries it."""

from __future__ import annotations

from queuectl.storage.attempts import Attempts
from queuectl.storage.pool import Pool
from queuectl.storage.reading import Reading
from queuectl.storage.retention import Retention


class Serving(Attempts, Pool, Reading, Retention):
    """One open queue of one worker."""
