"""The sizes of a run: how much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Numbers of jobs, of repetitions and of seconds."""

    rounds: int
    jobs: int
    output_jobs: int
    big_output: int
    bulk: int
    beside: int
    backlog: int
    pickups: int
    idle_workers: tuple[int, ...]
    idle_seconds: float
    peer_idle_seconds: float
    processes: int
    commits: int
    history: tuple[int, ...]
    history_jobs: int
    peer_jobs: int
    slow_peer_jobs: int
    peer_pickups: int
    loss_jobs: int
    loss_seconds: float


SIZES: dict[str, Sizes] = {
    "full": Sizes(
        rounds=7, jobs=10_000, output_jobs=2_000, big_output=2**30, bulk=100_000, pickups=200,
        beside=1_000_000, backlog=100_000,
        idle_workers=(4, 16, 100), idle_seconds=30, peer_idle_seconds=10, processes=10,
        commits=2_000, history=(0, 100_000, 1_000_000), history_jobs=5_000, peer_jobs=2_000,
        slow_peer_jobs=500, peer_pickups=15, loss_jobs=24, loss_seconds=10,
    ),
    "short": Sizes(
        rounds=1, jobs=400, output_jobs=50, big_output=10**8, bulk=10_000, pickups=15,
        beside=20_000, backlog=2_000,
        idle_workers=(4, 16), idle_seconds=2, peer_idle_seconds=0.5, processes=3,
        commits=200, history=(0, 10_000), history_jobs=200, peer_jobs=200,
        slow_peer_jobs=10, peer_pickups=1, loss_jobs=16, loss_seconds=5,
    ),
    "tiny": Sizes(
        rounds=1, jobs=20, output_jobs=5, big_output=2 * 10**7, bulk=200, pickups=3,
        beside=2_500, backlog=200,
        idle_workers=(4,), idle_seconds=0.5, peer_idle_seconds=0.5, processes=1,
        commits=20, history=(0, 500), history_jobs=20, peer_jobs=10,
        slow_peer_jobs=5, peer_pickups=1, loss_jobs=8, loss_seconds=3,
    ),
}  # fmt: skip
"""`short` is for a quick look and for CI; `tiny` only shows that the measurements work."""
