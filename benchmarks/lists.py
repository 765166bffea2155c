"""Whether lists stay as quick over a million tasks as over ten thousand.

Two databases of one cluster, a process for each, requests turn about, through Django's test client: nothing
but the request itself. What is compared is the CPU time of the process and of its database session, which
other programs on the machine disturb less than the clock. The two main lists are also asked of real servers.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.accounting import cost_of
from benchmarks.installation import Installation
from benchmarks.shapes import NAMESPACES_OF, ROOT, Shape, shapes
from benchmarks.table import Row, quantile
from benchmarks.web import Caller
from benchmarks.workers import Worker, answer_questions, backend_pid

AIM: Final = 1.5


def measure(place: Installation, quick: bool) -> list[Row]:
    """Ask for every list in a small and a large database in turn; quickly, for every tenth."""
    sizes, rounds = ((500, 1_000), 1) if quick else ((10_000, 1_000_000), 40)
    workers = {size: Worker(place, "benchmarks.lists", str(size)) for size in sizes}
    try:
        tokens = {size: worker.ask("token") for size, worker in workers.items()}
        found = [
            compared(shape, workers, -(-rounds // 4) if shape["grows"] else rounds)
            for shape in workers[sizes[0]].ask("shapes")[:: 10 if quick else 1]
        ]
        flat = [ratio for ratio, row in found if row.aim]
        within = sum(ratio <= AIM for ratio in flat)
        summary = Row(
            f"lists within {AIM} times the cost over {sizes[0]:,}", f"{within} of {len(flat)}", "all of them"
        )
        served = _over_http(
            place, {size: worker.database_url for size, worker in workers.items()}, tokens, rounds
        )
    finally:
        for worker in workers.values():
            worker.stop()
    return [summary, *served, *(row for _ratio, row in found)]


def in_turn(ask: Mapping[int, Callable[[], Any]], rounds: int) -> list[list[Any]]:
    """Call both so often, either first in turn, after a few calls that do not count."""
    answers: dict[int, list[Any]] = {size: [] for size in ask}
    for number in range(-2, rounds):
        for size in ask if number % 2 else reversed(ask):
            answer = ask[size]()
            if number >= 0:
                answers[size].append(answer)
    return list(answers.values())


def compared_times(
    shape: Any, workers: Mapping[int, Worker], rounds: int
) -> tuple[list[float], list[float], list[dict[str, int]]]:
    """Return for each database the milliseconds of CPU, those of the clock, and facts of the plan."""
    asked = {size: (lambda worker=worker: worker.ask(shape["number"])) for size, worker in workers.items()}
    both = in_turn(asked, rounds)
    cpu_ms, wall_ms = (
        [quantile([answer[name] for answer in answers], 0.5) for answers in both] for name in ("cpu", "wall")
    )
    return cpu_ms, wall_ms, [worker.ask(["plan", shape["number"]]) for worker in workers.values()]


def compared(shape: Any, workers: Mapping[int, Worker], rounds: int) -> tuple[float, Row]:
    """Return how much more the large database costs, and the row that says so."""
    cpu_ms, wall_ms, plans = compared_times(shape, workers, rounds)
    ratio = cpu_ms[1] / cpu_ms[0]
    figure = (
        f"{ratio:.2f}: {cpu_ms[0]:.1f} and {cpu_ms[1]:.1f} ms CPU, {wall_ms[0]:.1f} and {wall_ms[1]:.1f} ms, "
        f"{plans[0]['pages']} and {plans[1]['pages']} pages, {plans[1]['statements']} statements"
    )
    if shape["grows"]:
        return ratio, Row(shape["title"], f"{figure}; {shape['grows']}")
    return ratio, Row(shape["title"], figure, f"≤ {AIM}")


def _over_http(place: Installation, urls: dict[int, str], tokens: dict[int, str], rounds: int) -> list[Row]:
    """Ask real servers for the two main lists, one after the other."""
    rows = []
    with contextlib.ExitStack() as stack:
        ask = {}
        for size, url in urls.items():
            _process, port = stack.enter_context(place.server(DATABASE_URL=url))
            ask[size] = stack.enter_context(Caller(port, f"Bearer {tokens[size]}"))
        for title, path, body in (("GET /tasks", "tasks", None), ("POST /tasks/query", "tasks/query", {})):
            timed = {
                size: (lambda caller=caller: caller.timed(f"/api/v1/{path}", body, 200))  # noqa: B023
                for size, caller in ask.items()
            }
            small, large = (quantile(times, 0.5) for times in in_turn(timed, 3 * rounds))
            figure = f"{large / small:.2f}: p50 {small * 1000:.1f} and {large * 1000:.1f} ms"
            rows.append(Row(f"{title} over HTTP", figure, f"≤ {AIM}"))
    return rows


class Lists:
    """What to ask the database of one size."""

    def __init__(self, asked: Sequence[Shape]) -> None:
        from django.contrib.auth.models import Group, User  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415
        from django.test import Client  # noqa: PLC0415

        from access import tokens  # noqa: PLC0415
        from access.models import Grant  # noqa: PLC0415

        self._connection = connection
        self._secrets = {}
        for name in (ROOT, *NAMESPACES_OF):
            user = User.objects.create(username=name, is_superuser=name == ROOT)
            group = Group.objects.create(name=name)
            user.groups.add(group)
            Grant.objects.bulk_create(
                Grant(group=group, namespace=namespace, role="admin")
                for namespace in NAMESPACES_OF.get(name, ())
            )
            self._secrets[name] = tokens.issue(user=user, name="bench")[1]
        self._clients = {
            name: Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {secret}"})
            for name, secret in self._secrets.items()
        }
        self._shapes = asked

    def answer(self, question: Any) -> Any:
        """Answer with facts, with the plan of a list, or with what it took to ask for it."""
        match question:
            case "token":
                return self._secrets[ROOT]
            case "shapes":
                return [
                    {"number": number, "title": shape.title, "grows": shape.grows}
                    for number, shape in enumerate(self._shapes)
                ]
            case ["plan", number]:
                return self._explain(self._shapes[number])
        shape = self._shapes[question]
        response, cost = cost_of(lambda: self._request(shape), backend=backend_pid())
        assert response.status_code == 200, (shape, response.content)
        return cost

    def _request(self, shape: Shape) -> Any:
        client = self._clients[shape.user]
        if shape.body is None:
            return client.get(f"/api/v1/{shape.path}")
        return client.post(f"/api/v1/{shape.path}", shape.body, content_type="application/json")

    def _explain(self, shape: Shape) -> dict[str, int]:
        """Count the statements of a request, and run them once more to count the pages that they touch."""
        statements: list[tuple[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            statements.append((sql, params))
            return execute(sql, params, many, context)

        with self._connection.execute_wrapper(note):
            self._request(shape)
        pages = 0
        with self._connection.cursor() as cursor:
            for sql, params in statements:
                if sql.lstrip().startswith(("SELECT", "WITH")):
                    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
                    plan = cursor.fetchone()[0][0]["Plan"]
                    pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return {"statements": len(statements), "pages": pages}


def _work(size: int) -> None:
    import django  # noqa: PLC0415

    django.setup()

    from benchmarks import history, tasks  # noqa: PLC0415

    job = tasks.make_job(cmd="bash", args=["-c", "date"])
    history.fill(tasks=size, extra_jobs=min(size // 10, 10_000), model=job)
    jobs = history.some_jobs()
    answer_questions(Lists(shapes(busy_job=jobs[0], job=jobs[50])).answer)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
