"""Storing many schedules at once, all or none of them."""

from __future__ import annotations

from typing import Sequence

from queuectl.core.schedule_lines import Imported, ImportPlan, plan_import
from queuectl.storage.schedules import Schedules, store

_SOURCES = "SELECT name, source FROM schedules ORDER BY name"


class ScheduleImports(Schedules):
    """The schedules of a queue, with what an import needs."""

    def sources(self) -> dict[str, str | None]:
        """Return the names of all schedules, each with the line that it was imported from."""
        with self._snapshot() as conn:
            return dict(conn.execute(_SOURCES))

    def import_schedules(
        self, wanted: Sequence[Imported], *, replace: bool = False, sync: str | None = None
    ) -> ImportPlan:
        """Store schedules as `plan_import` decides; return what was done. Raises ScheduleExists."""
        with self._transaction() as conn:
            plan = plan_import(dict(conn.execute(_SOURCES)), wanted, replace=replace, sync=sync)
            for schedule in (*plan.added, *plan.changed):
                store(conn, schedule, replace=True)
            conn.executemany(
                "DELETE FROM schedules WHERE name = ?", [(name,) for name in plan.removed]
            )
        self._wake_workers()
        return plan
