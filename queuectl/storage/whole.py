"""The storage with all its verbs."""

from __future__ import annotations

from queuectl.storage.carrying import Carrying
from queuectl.storage.configuration import Configuration
from queuectl.storage.control import Control
from queuectl.storage.insight import Insight
from queuectl.storage.intake import Intake
from queuectl.storage.queues import Queues
from queuectl.storage.serving import Serving
from queuectl.storage.soundness import Soundness


class Storage(
    Serving,
    Intake,
    Carrying,
    Insight,
    Control,
    Queues,
    Configuration,
    Soundness,
):
    """One open queue of one process. It makes no decisions, and must not cross a fork."""
