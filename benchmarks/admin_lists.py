"""Whether the lists of the admin stay as quick over a million rows as over ten thousand.

As `benchmarks.lists` asks it of REST: two databases, a process for each, requests turn about. All lists have
that many rows, jobs, agents and calendars included. What counts is the clock: nobody waits longer than 300 ms
for the large list than for the small one.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks.installation import Installation
from benchmarks.lists import Lists, compared_times
from benchmarks.shapes import NAMESPACES_OF, ONE, ROOT, Shape
from benchmarks.table import Row
from benchmarks.workers import Worker, answer_questions

AIM_MS: Final = 300.0
_STEPS: Final = "looks for up to two seconds, through what there is"
_SCANS: Final = "all agents are read: an index of what heartbeats write would cost each of them"


def shapes(rows: int) -> list[Shape]:
    """Return the lists of so many rows, as they open, in their orders, with their filters and searches."""
    far_down = f"p={min(150, rows // 50 - 2)}"
    return [*_definitions(far_down), *_history(far_down), *_others(far_down)]


def _list(name: str, model: str, *queries: str, user: str = ROOT, **grows: str) -> Iterator[Shape]:
    for query in queries:
        yield Shape(f"{name} {query}".strip(), f"{model}/?{query}", user=user, grows=grows.get("grows", ""))


def _definitions(far_down: str) -> Iterator[Shape]:
    yield from _list(
        "jobs",
        "scheduling/job",
        *("", "o=1", "o=-1", far_down, "enabled__exact=0", "namespace=space-07", "last=failed"),
        *("q=987654", "q=alpha", "q=zzzz", "q=7f", "q=tag:payroll", "q=zone=z3", "q=label:zone"),
    )
    yield from _list("jobs", "scheduling/job", "", "q=alpha", user=ONE)
    yield from _list(
        "schedules",
        "scheduling/schedule",
        *("", "o=4", "o=-4", far_down, "status__exact=disabled", "kind__exact=cron", "namespace=space-07"),
        *("trouble=paused", "trouble=unplanned", "q=987654", "q=alpha", "q=of+job-98", "q=zone=z3"),
    )
    yield from _list("schedules", "scheduling/schedule", "", user=ONE)
    yield from _list(
        "agents",
        "agents/agent",
        *("", "o=0", "o=-0", far_down, "connected=yes", "enabled__exact=1", "version=same"),
        *("q=987654", "q=alpha", "q=zzzz", "q=zone=z3", "q=rack=r5", "q=label:r5"),
    )
    yield from _list(
        "agents",
        "agents/agent",
        *("o=6", "status__exact=draining", "connected=no", "version=other"),
        grows=_SCANS,
    )
    yield from _list(
        "calendars",
        "scheduling/calendar",
        *("", "o=1", "o=-1", far_down, "namespace=space-07", "q=987654", "q=alpha", "q=zzzz"),
    )


def _history(far_down: str) -> Iterator[Shape]:
    for user in (ROOT, *NAMESPACES_OF):
        yield from _list("tasks", "scheduling/task", "", user=user)
        yield from _list("attempts", "scheduling/taskinstance", "", user=user)
    yield from _list(
        "tasks",
        "scheduling/task",
        *("o=1", "o=5", "o=-5", far_down, "status__exact=failed", "status__exact=running", "planned=24"),
        *("planned=168", "planned=future", "status__exact=failed&planned=24", "outcome__exact=late"),
        *("planned_from=2026-01-01T00:00", "planned_to=2026-11-10T00:00", "namespace=space-07"),
        *("tried=again", "job__id__exact=50", "q=%23300", "q=job-7", "q=zzzz", "q=tag:payroll", "q=zone=z3"),
    )
    yield from _list(
        "attempts",
        "scheduling/taskinstance",
        *("o=0", far_down, "status__exact=failed", "status__exact=running", "begun=24", "begun=168"),
        *("begun_to=2026-11-10T00:00", "longer=5", "longer=1440", "exit_code=1", "exit_code=137"),
        *("namespace=space-07", "job__id__exact=50", "q=300", "q=agent-7", "q=zzzz", "q=zone=z3"),
        *("q=tag:payroll", "output=so+it"),
    )
    yield from _list("attempts", "scheduling/taskinstance", "output=goes;+9999", grows=_STEPS)


def _others(far_down: str) -> Iterator[Shape]:
    yield from _list(
        "audit log",
        "access/auditentry",
        *("", far_down, "actor_kind__exact=token", "actor_kind__exact=user", "q=user-7", "q=job.update"),
        *("q=300", "q=space-07", "q=job+99", "q=zzzz", "subject_type=job&subject_id=5"),
    )
    yield from _list("audit log", "access/auditentry", "", user=ONE)
    yield from _list(
        "alerts",
        "scheduling/alert",
        *("", "o=4", "state=all", "state=acknowledged", "kind__exact=paused", "state=all&kind__exact=paused"),
        *("namespace=space-07", "state=all&q=987654", "q=alpha", "q=zzzz"),
    )
    yield from _list("alerts", "scheduling/alert", "", user=ONE)
    yield from _list(
        "backfills",
        "scheduling/backfill",
        *("", "o=0", far_down, "status__exact=paused", "q=987654", "q=alpha", "q=zzzz", "q=user-7"),
    )
    yield from _list("backfills", "scheduling/backfill", "", user=ONE)
    yield from _list(
        "bulk actions",
        "scheduling/bulkaction",
        *("", "o=0", far_down, "status__exact=cancelled", "verb__exact=job.disable"),
    )


def measure(place: Installation, quick: bool) -> list[Row]:
    """Ask for every list in a small and a large database in turn; quickly, for every tenth."""
    sizes, rounds = ((500, 1_000), 1) if quick else ((10_000, 1_000_000), 10)
    workers = {size: Worker(place, "benchmarks.admin_lists", str(size)) for size in sizes}
    try:
        found = [
            _compared(shape, workers, rounds)
            for shape in workers[sizes[0]].ask("shapes")[:: 10 if quick else 1]
        ]
    finally:
        for worker in workers.values():
            worker.stop()
    judged = [more for more, row in found if row.aim]
    within = sum(more <= AIM_MS for more in judged)
    name = f"lists of the admin within {AIM_MS:.0f} ms of those over {sizes[0]:,}"
    return [Row(name, f"{within} of {len(judged)}", "all of them"), *(row for _more, row in found)]


def _compared(shape: Any, workers: Mapping[int, Worker], rounds: int) -> tuple[float, Row]:
    """Return how many milliseconds the large list takes longer, and the row that says so."""
    cpu_ms, wall_ms, plans = compared_times(shape, workers, rounds)
    more = wall_ms[1] - wall_ms[0]
    figure = (
        f"{more:+.0f} ms: {wall_ms[0]:.0f} and {wall_ms[1]:.0f} ms, "
        f"of CPU {cpu_ms[0]:.0f} and {cpu_ms[1]:.0f} ms, "
        f"{plans[0]['pages']} and {plans[1]['pages']} pages, {plans[1]['statements']} statements"
    )
    if shape["grows"]:
        return more, Row(shape["title"], f"{figure}; {shape['grows']}")
    return more, Row(shape["title"], figure, f"≤ {AIM_MS:.0f} ms")


class AdminLists(Lists):
    """The same questions, of browsers that are logged in."""

    def __init__(self, rows: int) -> None:
        from django.contrib.auth.models import User  # noqa: PLC0415
        from django.test import Client  # noqa: PLC0415

        super().__init__(shapes(rows))
        User.objects.update(is_staff=True)
        self._browsers = {name: Client(SERVER_NAME="localhost") for name in (ROOT, *NAMESPACES_OF)}
        for name, browser in self._browsers.items():
            browser.force_login(User.objects.get(username=name))

    def _request(self, shape: Shape) -> Any:
        return self._browsers[shape.user].get(f"/admin/{shape.path}")


def _work(size: int) -> None:
    import django  # noqa: PLC0415

    django.setup()

    from benchmarks import history, many, tasks  # noqa: PLC0415
    from scheduling.services.definitions import create_job  # noqa: PLC0415

    job = tasks.make_job(cmd="bash", args=["-c", "date"])
    labels = {"cmd": "bash", "args": ["-c", "date"], "labels": {"zone": "z3"}}
    rare = create_job(name="rare", config=labels)
    history.fill(tasks=size, model=job)
    many.fill(rows=size, model=job, rare_route=rare.route_id)
    answer_questions(AdminLists(size).answer)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
