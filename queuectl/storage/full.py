"""The storage with all its methods."""

from __future__ import annotations

from queuectl.storage.actions import Actions
from queuectl.storage.activity import Activity
from queuectl.storage.config import Config
from queuectl.storage.copies import Copies
from queuectl.storage.enqueueing import Enqueueing
from queuectl.storage.explaining import Explaining
from queuectl.storage.facts import FactsOfQueue
from queuectl.storage.figures import FiguresOfQueue
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.hook_rules import HookRules
from queuectl.storage.integrity import Integrity
from queuectl.storage.job_pauses import JobPauses
from queuectl.storage.last_runs import LastRuns
from queuectl.storage.overview import Overview
from queuectl.storage.run_history import RunHistory
from queuectl.storage.space import Space
from queuectl.storage.transfer import Transfer
from queuectl.storage.waits import Waits
from queuectl.storage.webhooks import Webhooks


class Storage(
    WorkerStorage,
    Enqueueing,
    Transfer,
    Copies,
    FactsOfQueue,  # with Queues and Progress
    Explaining,
    Actions,
    JobPauses,
    HookRules,
    Webhooks,
    Overview,
    LastRuns,
    Activity,
    RunHistory,
    Config,
    Integrity,
    FiguresOfQueue,
    Space,
    Waits,
):
    """One open queue of one process, with all methods."""

    of_worker = False
