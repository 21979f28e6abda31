"""The actions: everything that changes the queue. Each is a POST, and calls a verb of the storage.

`ACTIONS` lists the blueprints. How to add one: see the docstring of `queuectl.web`.
"""

from __future__ import annotations

from queuectl.web.actions.bulk import bulk
from queuectl.web.actions.hooks import hook_actions
from queuectl.web.actions.jobs import job_actions
from queuectl.web.actions.queues import queue_actions
from queuectl.web.actions.schedules import schedule_actions

ACTIONS = (job_actions, bulk, queue_actions, schedule_actions, hook_actions)
