"""How many creates a second, against those of a bare ModelViewSet: same shape, same process, same database.

Blocks of both are made in turn, through Django's test client in the process, and over HTTP with the real
server. A bare create is a token's look-up, validation, an INSERT, and JSON; ours is also who may do it,
the audit entry, and what planning and claiming need of a job.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.accounting import cpu_seconds, ran_ns
from benchmarks.installation import Installation
from benchmarks.table import Row, quantile
from benchmarks.web import Caller
from benchmarks.workers import Worker, answer_questions

SETTINGS: Final = "benchmarks.bare.settings"
AT_ONCE: Final = 20
AIM: Final = "≥ 0.40"
KINDS: Final = ("ours", "bare")
Samples = dict[str, list[list[float]]]


def measure(place: Installation, quick: bool) -> list[Row]:
    """Create jobs and tasks in blocks, ours and bare ones in turn."""
    blocks = 2 if quick else 60
    worker = Worker(place, "benchmarks.creates", DJANGO_SETTINGS_MODULE=SETTINGS)
    rows = []
    try:
        facts = worker.ask("facts")
        for what in ("jobs", "tasks"):
            rows += _rows(f"{what} in the process", _in_turn(blocks, lambda kind: worker.ask([kind, what])))  # noqa: B023
        environment = {"DJANGO_SETTINGS_MODULE": SETTINGS, "DATABASE_URL": worker.database_url}
        with place.server(**environment) as (server, port):
            processes = [server, place.postmaster()]
            callers = {kind: Caller(port, facts["tokens"][kind]) for kind in KINDS}

            def block(kind: str) -> list[float]:
                requests = [_request(kind, what, facts["jobs"]) for _ in range(AT_ONCE)]
                before = sum(map(cpu_seconds, processes))
                seconds = sum(callers[kind].timed(path, body, 201) for path, body in requests)
                return [seconds, sum(map(cpu_seconds, processes)) - before]

            for what in ("jobs", "tasks"):
                rows += _rows(f"{what} over HTTP", _in_turn(blocks, block))
    finally:
        worker.stop()
    return rows


def _in_turn(blocks: int, make: Callable[[str], list[float]]) -> Samples:
    """Make so many blocks of both kinds, either first in turn, after a few that do not count."""
    samples: Samples = {kind: [] for kind in KINDS}
    for number in range(-3, blocks):
        for kind in KINDS if number % 2 else reversed(KINDS):
            sample = make(kind)
            if number >= 0:
                samples[kind].append(sample)
    return samples


def _rows(what: str, samples: Samples) -> list[Row]:
    """Compare blocks that were made next to each other, and the sums of their CPU times."""
    ours, bare = samples["ours"], samples["bare"]
    shares = [other[0] / own[0] for own, other in zip(ours, bare, strict=True)]
    quartiles = [f"{quantile(shares, share):.2f}" for share in (0.25, 0.75)]
    cpu = {kind: sum(sample[1] for sample in samples[kind]) for kind in samples}
    count = len(ours) * AT_ONCE
    return [
        Row(
            f"{what}: share of the bare rate",
            f"{quantile(shares, 0.5):.2f} (quartiles {' to '.join(quartiles)})",
            AIM,
        ),
        Row(
            f"{what}: the same by CPU time",
            f"{cpu['bare'] / cpu['ours']:.2f} ({cpu['ours'] / count * 1000:.2f} and "
            f"{cpu['bare'] / count * 1000:.2f} ms)",
        ),
        Row(
            f"{what}: a second",
            f"{AT_ONCE / quantile([sample[0] for sample in ours], 0.5):.0f} and "
            f"{AT_ONCE / quantile([sample[0] for sample in bare], 0.5):.0f}",
        ),
    ]


_numbers = iter(range(10**9))


def _request(kind: str, what: str, jobs: dict[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of one create."""
    path = f"/api/v1/{what}" if kind == "ours" else f"/bare/{what}"
    config = {"cmd": "bash", "args": ["-c", "date"], "timeout_secs": 60}
    if what == "jobs":
        name = f"job-{os.getpid()}-{next(_numbers)}"
        return path, {"namespace": "default", "name": name, "config": config, "tags": ["nightly"]}
    body = {"priority": 1, "parameters": {"day": 1}, "scheduled_at": "2099-01-01T00:00:00Z"}
    if kind == "ours":
        return path, {"job_id": jobs[kind], **body}
    return path, {"job": jobs[kind], "config": config, **body}


class _Creates:
    """The process that creates without a server."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415
        from django.test import Client  # noqa: PLC0415
        from rest_framework.authtoken.models import Token  # noqa: PLC0415

        from access import tokens  # noqa: PLC0415
        from benchmarks.bare.models import BareJob  # noqa: PLC0415
        from benchmarks.tasks import make_job  # noqa: PLC0415

        user = User.objects.create_superuser("bench")
        self.tokens = {
            "ours": f"Bearer {tokens.issue(user=user, name='bench')[1]}",
            "bare": f"Token {Token.objects.create(user=user).key}",
        }
        self.jobs = {
            "ours": make_job(cmd="bash", args=["-c", "date"]).pk,
            "bare": BareJob.objects.create(name="bench").pk,
        }
        self._clients = {
            kind: Client(SERVER_NAME="localhost", headers={"Authorization": token})
            for kind, token in self.tokens.items()
        }
        self._connection = connection

    def answer(self, question: Any) -> Any:
        if question == "facts":
            return {"tokens": self.tokens, "jobs": self.jobs}
        kind, what = question
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cursor.fetchone()
        requests = [_request(kind, what, self.jobs) for _ in range(AT_ONCE)]
        before, own, begin = ran_ns(backend), time.process_time_ns(), time.perf_counter()
        for path, body in requests:
            response = self._clients[kind].post(path, body, content_type="application/json")
            assert response.status_code == 201, response.content
        seconds = time.perf_counter() - begin
        cpu_ns = time.process_time_ns() - own + ran_ns(backend) - before
        return [seconds, cpu_ns / 1e9]


def _work() -> None:
    import django  # noqa: PLC0415

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)
    answer_questions(_Creates().answer)


if __name__ == "__main__":
    _work()
