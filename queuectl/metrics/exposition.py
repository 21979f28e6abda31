"""The figures of a queue as Prometheus reads them: names, types and labels of all series."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Iterable, Iterator, Mapping, Sequence, Tuple

from queuectl.core.activity import BOUNDS
from queuectl.core.extras import needed
from queuectl.core.figures import Figures, Histogram
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.metrics.limits import Shown, with_few_names

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

_Sample = Tuple[Mapping[str, str], float]

OWN_LABELS = frozenset(
    ("busy", "hook", "le", "outcome", "queue", "result", "schedule", "schema", "severity", "state",
     "version")
)  # fmt: skip
"""The labels of our series, which `--label` therefore cannot add."""

# These series exist from the first job of a queue on. An alert on an increase would otherwise miss
# the first failure: a series that begins with 1 has not increased.
_STATES = (JobState.PENDING, JobState.PROCESSING, JobState.FAILED, JobState.DEAD)
_OUTCOMES = ("ok", "exit", "timeout", "lost")
_RESULTS = ("made", "overlapped", "missed")
_SEVERITIES = ("critical", "warning")


def require_package() -> None:
    """Raise MissingPackage if prometheus-client is not installed."""
    with needed("metrics"):
        import prometheus_client  # noqa: F401 (only whether it is there)


def to_text(figures: Figures, labels: Mapping[str, str], *, openmetrics: bool = False) -> bytes:
    """Return the figures in the text format of Prometheus, or in that of OpenMetrics.

    `labels` are added to every series. Raises MissingPackage.
    """
    require_package()
    from prometheus_client import exposition  # an extra
    from prometheus_client.openmetrics import exposition as openmetrics_exposition

    registry = _registry(figures, labels)
    if openmetrics:
        text: bytes = openmetrics_exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text
    return exposition.generate_latest(registry)


def answer(figures: Figures, accept: str) -> tuple[bytes, str]:
    """Return the figures and their content type for a request with this Accept header.

    Raises MissingPackage.
    """
    require_package()
    from prometheus_client.exposition import choose_encoder  # an extra

    encode, content_type = choose_encoder(accept)
    return encode(_registry(figures, {})), content_type


def _registry(figures: Figures, labels: Mapping[str, str]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry  # an extra
    from prometheus_client.registry import Collector

    class Collected(Collector):
        def collect(self) -> Iterator[Metric]:
            return _Families(labels).of(figures)

    # A registry of our own: the default one has series about this process, which ends at once.
    registry = CollectorRegistry()
    registry.register(Collected())
    return registry


class _Families:
    """Makes families of series, each with the labels that all series have."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def of(self, figures: Figures) -> Iterator[Metric]:
        """Yield all families that have series."""
        shown = with_few_names(figures)
        yield from self._of_queues(shown)
        yield from self._of_counters(shown)
        yield from self._of_schedules(shown)
        yield from self._of_hooks(shown)
        yield from self._of_the_whole(figures, shown)

    def _of_queues(self, shown: Shown) -> Iterator[Metric]:
        queues = shown.queues
        yield from self._gauge(
            "queuectl_jobs",
            "Number of jobs in each state.",
            (
                ({"queue": queue.name, "state": state.value}, queue.jobs.get(state.value, 0))
                for queue in queues
                for state in JobState
                if state in _STATES or queue.jobs.get(state.value)
            ),
        )
        yield from self._gauge(
            "queuectl_oldest_ready_age_seconds",
            "Longest waiting time of a job that could run; 0 if none waits.",
            (({"queue": queue.name}, queue.oldest_ready_seconds) for queue in queues),
        )
        yield from self._gauge(
            "queuectl_queue_paused",
            "Whether this queue is paused.",
            (({"queue": queue.name}, queue.paused) for queue in queues),
        )
        yield from self._gauge(
            "queuectl_queue_limit_jobs",
            "Maximum number of jobs of this queue that run at once; absent without a limit.",
            (({"queue": queue.name}, queue.limit) for queue in queues if queue.limit is not None),
        )

    def _of_counters(self, shown: Shown) -> Iterator[Metric]:
        queues = shown.queues
        yield from self._counter(
            "queuectl_jobs_enqueued",
            "Number of jobs that were enqueued, including finished ones that were retried.",
            (({"queue": queue.name}, queue.enqueued) for queue in queues),
        )
        yield from self._counter(
            "queuectl_runs",
            "Number of attempts that have ended, by outcome.",
            (
                ({"queue": queue.name, "outcome": outcome}, queue.runs.get(outcome, 0))
                for queue in queues
                for outcome in sorted({*_OUTCOMES, *queue.runs})
                if outcome in _OUTCOMES or queue.runs[outcome]
            ),
        )
        yield from self._counter(
            "queuectl_jobs_finished",
            "Number of jobs that became completed, dead or cancelled.",
            (
                ({"queue": queue.name, "state": state.value}, queue.finished.get(state.value, 0))
                for queue in queues
                for state in FINISHED_STATES
            ),
        )
        yield from self._counter(
            "queuectl_run_cpu_seconds",
            "CPU time of all attempts that have ended.",
            (({"queue": queue.name}, queue.cpu_seconds) for queue in queues),
        )
        yield from self._histogram(
            "queuectl_run_duration_seconds",
            "Running times of attempts.",
            [({"queue": queue.name}, queue.run_seconds) for queue in queues],
        )
        yield from self._histogram(
            "queuectl_wait_duration_seconds",
            "Waiting times of attempts, from the moment at which they could start to their start.",
            [({"queue": queue.name}, queue.wait_seconds) for queue in queues],
        )

    def _of_schedules(self, shown: Shown) -> Iterator[Metric]:
        schedules = shown.schedules
        yield from self._gauge(
            "queuectl_schedule_next_timestamp_seconds",
            "Next planned time of this schedule.",
            (({"schedule": one.name}, one.next_at) for one in schedules if one.next_at is not None),
        )
        yield from self._gauge(
            "queuectl_schedule_last_success_timestamp_seconds",
            "Time at which the last completed job of this schedule ended; 0 if none has completed.",
            (
                ({"schedule": one.name}, one.last_success_at)
                for one in schedules
                if one.last_success_at is not None
            ),
        )
        yield from self._gauge(
            "queuectl_schedule_lateness_seconds",
            "Time since the next job of this schedule became due; 0 if it is not due yet.",
            (({"schedule": one.name}, one.lateness_seconds) for one in schedules),
        )
        yield from self._gauge(
            "queuectl_schedule_paused",
            "Whether this schedule is paused.",
            (({"schedule": one.name}, one.paused) for one in schedules),
        )
        yield from self._counter(
            "queuectl_schedule_ticks",
            "Number of planned times, by result: a job was made (made), or none was, because the "
            "previous one was still running (overlapped) or no worker was there in time (missed).",
            (
                ({"schedule": one.name, "result": result}, one.ticks.get(result, 0))
                for one in schedules
                for result in _RESULTS
            ),
        )

    def _of_hooks(self, shown: Shown) -> Iterator[Metric]:
        yield from self._gauge(
            "queuectl_hook_disabled",
            "Whether this hook is disabled because its receiver is gone.",
            (({"hook": hook.name}, hook.disabled) for hook in shown.hooks),
        )
        yield from self._gauge(
            "queuectl_hook_consecutive_failures",
            "Number of deliveries of this hook that have failed in a row.",
            (({"hook": hook.name}, hook.failures) for hook in shown.hooks),
        )

    def _of_the_whole(self, figures: Figures, shown: Shown) -> Iterator[Metric]:
        gauges: Sequence[tuple[str, str, float | None]] = (
            ("all_queues_paused", "Whether all queues are paused by one switch.",
             figures.all_paused),
            ("database_size_bytes", "Size of the file of the queue.", figures.database_bytes),
            ("wal_size_bytes", "Size of the write-ahead log of that file.",
             figures.wal_bytes),
            ("disk_free_bytes", "Free space on the disk of the queue.", figures.free_bytes),
            ("series_dropped", "Number of queues, schedules and hooks without series of their own.",
             shown.dropped),
            ("scrape_duration_seconds", "Time that it took to collect these figures.",
             figures.seconds),
        )  # fmt: skip
        yield from self._gauge(
            "queuectl_workers",
            "Number of living workers.",
            [({"busy": "true"}, figures.busy_workers), ({"busy": "false"}, figures.idle_workers)],
        )
        yield from self._gauge(
            "queuectl_findings",
            "Number of findings that queuectl status shows.",
            (({"severity": one}, figures.findings.get(one, 0)) for one in _SEVERITIES),
        )
        for name, text, value in gauges:
            if value is not None:
                yield from self._gauge(f"queuectl_{name}", text, [({}, value)])
        yield from self._gauge(
            "queuectl_build_info",
            "Version of queuectl, and of the schema of the queue's file.",
            [({"version": figures.version, "schema": str(figures.schema)}, 1)],
        )

    def _gauge(self, name: str, text: str, samples: Iterable[_Sample]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily  # an extra

        family = GaugeMetricFamily(name, text)
        for labels, value in samples:
            family.add_sample(name, {**labels, **self._labels}, value)
        if family.samples:
            yield family

    def _counter(self, name: str, text: str, samples: Iterable[_Sample]) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily  # an extra

        family = CounterMetricFamily(name, text)
        for labels, value in samples:
            family.add_sample(f"{name}_total", {**labels, **self._labels}, value)
        if family.samples:
            yield family

    def _histogram(
        self, name: str, text: str, samples: Sequence[tuple[Mapping[str, str], Histogram]]
    ) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily  # an extra

        bounds = (*map(str, BOUNDS), "+Inf")

        family = HistogramMetricFamily(name, text)
        for labels, histogram in samples:
            extended = {**labels, **self._labels}
            cumulative = list(accumulate(histogram.buckets))
            for bound, count in zip(bounds, cumulative):
                family.add_sample(f"{name}_bucket", {**extended, "le": bound}, count)
            family.add_sample(f"{name}_count", extended, cumulative[-1])
            family.add_sample(f"{name}_sum", extended, histogram.seconds)
        if family.samples:
            yield family
