"""Whether a claim stays as quick with a million pending tasks as with a thousand.

Two databases of one cluster, a process for each, claims turn about: what disturbs one disturbs the other.
"""

import sys
import time
from typing import Any, Final

from benchmarks.installation import Installation
from benchmarks.table import Row, quantile
from benchmarks.workers import Worker, answer_questions

CLAIMED_AT_ONCE: Final = 10


def measure(place: Installation, quick: bool) -> list[Row]:
    """Claim from a small and a large queue in turn."""
    sizes, rounds = ((1_000, 10_000), 10) if quick else ((1_000, 1_000_000), 200)
    workers = {size: Worker(place, "benchmarks.claiming", str(size)) for size in sizes}
    try:
        for worker in workers.values():
            worker.ask()  # loading, vacuum
        times: dict[int, list[float]] = {size: [] for size in sizes}
        for number in range(rounds + rounds // 10):
            for size in sizes if number % 2 else reversed(sizes):
                seconds = workers[size].ask()
                if number >= rounds // 10:
                    times[size].append(seconds * 1000)
    finally:
        for worker in workers.values():
            worker.stop()
    rows = [
        Row(
            f"claim of {CLAIMED_AT_ONCE} from {size:,} pending",
            f"p50 {quantile(times[size], 0.5):.2f}, p99 {quantile(times[size], 0.99):.2f} ms",
        )
        for size in sizes
    ]
    small, large = (quantile(times[size], 0.5) for size in sizes)
    rows.append(Row("ratio of the medians", f"{large / small:.2f}", "≤ 1.3"))
    return rows


def _work(size: int) -> None:
    """Fill the database with `size` pending tasks; when asked, claim some and make up for them."""
    import django  # noqa: PLC0415

    django.setup()
    from django.db import connection  # noqa: PLC0415

    from agents.services import create_agent  # noqa: PLC0415
    from benchmarks import tasks  # noqa: PLC0415
    from scheduling.clock import database_now  # noqa: PLC0415
    from scheduling.services.claiming import claim  # noqa: PLC0415

    capabilities: dict[str, Any] = {"max_concurrent_tasks": 100, "commands": ["exec"], "metadata": {}}
    agent = create_agent(name="bench", status="idle", capabilities=capabilities)
    job = tasks.make_job(cmd="exec", args=["true"])
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        tasks.insert_tasks(job=job, count=size, first=database_now(), step_secs=-0.001)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")

    def claim_some(_question: Any) -> float:
        now = database_now()
        begin = time.perf_counter()
        started = claim(slots={agent.pk: CLAIMED_AT_ONCE}, now=now, lead_secs=2, lease_secs=30)
        seconds = time.perf_counter() - begin
        assert len(started) == CLAIMED_AT_ONCE
        tasks.insert_tasks(job=job, count=CLAIMED_AT_ONCE, first=now, step_secs=-0.001)
        return seconds

    answer_questions(claim_some)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
