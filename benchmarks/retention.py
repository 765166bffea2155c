"""How fast retention is, what it does to those who write meanwhile, and whether tables stay as large.

A process lives the lives of tasks, ten at once, as a server does, alone and with retention beside it, in
turn. Retention goes at full speed then, batch after batch. A scheduler is gentler: it stops after half a
second, and comes again after ten. Then as many tasks come as go, with PostgreSQL's own vacuum behind them.
"""

import time
from typing import Any, Final

import psycopg

from benchmarks.installation import Installation
from benchmarks.table import Row, quantile
from benchmarks.workers import Worker

BLOCK_SECS: Final = 3.0
LOOK_EVERY_SECS: Final = 0.005
# So many tasks are kept, and a twentieth comes and goes at once: all are replaced three times.
KEPT: Final = 20_000
PARTS: Final = 20
TURNS: Final = 60


def measure(place: Installation, quick: bool) -> list[Row]:
    """Let a writer work alone and beside retention, then let tasks come and go."""
    return [*_beside(place, *((2_000, 2) if quick else (400_000, 24))), *_turned_over(place, quick)]


def _beside(place: Installation, tasks: int, blocks: int) -> list[Row]:
    writer = Worker(place, "benchmarks.retaining", "writer", str(tasks))
    keeper = Worker(place, "benchmarks.retaining", "keeper", beside=writer)
    secs = BLOCK_SECS if blocks > 2 else BLOCK_SECS / 10
    alone: list[Any] = []
    together: list[Any] = []
    batches: list[Any] = []
    looks = waits = 0
    try:
        backend, locks = writer.ask("backend"), keeper.ask("locks")
        with psycopg.connect(writer.database_url, autocommit=True) as connection:
            for number in range(blocks):
                if number % 4 in (0, 3):
                    alone += writer.ask(secs)
                    continue
                keeper.tell(secs)
                writer.tell(secs)
                end = time.monotonic() + secs
                while time.monotonic() < end:
                    looks += 1
                    waits += _waits_for_a_lock(connection, backend)
                    time.sleep(LOOK_EVERY_SECS)
                together += writer.hear()
                batches += keeper.hear()
    finally:
        keeper.stop()
        writer.stop()
    return [
        *_speed(batches),
        Row("locks that a batch holds on tables", ", ".join(locks)),
        *_effect(alone, together),
        Row("looks that saw the writer wait for a lock", f"{waits} of {looks:,}", "none"),
    ]


def _waits_for_a_lock(connection: psycopg.Connection, backend: int) -> bool:
    asked = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    found = connection.execute(asked, [backend]).fetchone()
    return bool(found and found[0])


def _speed(batches: list[Any]) -> list[Row]:
    """Tell of batches of what is scattered over the tables: all that one job has, then the next."""
    wall = [batch["wall"] for batch in batches]
    quantiles = ", ".join(f"{name} {quantile(wall, share):.0f}" for name, share in _QUANTILES)
    return [
        Row("tasks that go of a backlog, with attempts and output", _rate(batches)),
        Row("a batch of them, which is a transaction", f"{quantiles} ms"),
    ]


def _rate(deletions: list[Any]) -> str:
    tasks, wall, cpu = (sum(each[kind] for each in deletions) for kind in ("deleted", "wall", "cpu"))
    return f"{tasks / wall * 1000:,.0f} a second, {cpu / tasks * 1000:.0f} ms CPU for 1,000"


_QUANTILES: Final = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


def _effect(alone: list[Any], together: list[Any]) -> list[Row]:
    rows = []
    for kind, what in (("wall", "ten lives"), ("cpu", "CPU of ten lives")):
        ratios, figures = [], []
        for _name, share in _QUANTILES[:2]:
            before, after = (quantile([cost[kind] for cost in costs], share) for costs in (alone, together))
            ratios.append(f"{after / before:.2f}")
            figures.append(f"{before:.1f} and {after:.1f}")
        rows.append(
            Row(
                f"{what}, with retention at full speed against alone",
                f"p50 {ratios[0]}, p99 {ratios[1]} ({'; '.join(figures)} ms)",
            )
        )
    return rows


def _turned_over(place: Installation, quick: bool) -> list[Row]:
    kept, parts, turns = (200, 2, 2) if quick else (KEPT, PARTS, TURNS)
    step = kept // parts
    worker = Worker(place, "benchmarks.retaining", "turnover", str(kept))
    try:
        for _ in range(parts):
            worker.ask(step)
        sizes = [worker.ask(step) for _ in range(turns)]
    finally:
        worker.stop()
    rows = [Row("tasks that go while as many come", _rate(sizes))]
    for table in sizes[-1]["tables"]:
        first, last = sizes[0]["tables"][table], sizes[-1]["tables"][table]
        most = max(size["tables"][table]["mb"] for size in sizes)
        rows.append(
            Row(
                f"{table}, after {turns / parts:.0f} times {kept:,} tasks",
                f"{last['mb'] / first['mb']:.2f} times as large ({first['mb']:.1f} and {last['mb']:.1f} MB,"
                f" at most {most:.1f}; {last['vacuums'] - first['vacuums']} vacuums,"
                f" {last['hot']:.0%} of updates HOT)",
            )
        )
    return rows
