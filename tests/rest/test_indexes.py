"""Lists that must not read or sort a whole table: with both forbidden, an index has to be found for each."""

import pytest
from django.db import connection, transaction

from scheduling.services.claiming import claim
from tests import factories, people
from tests.factories import NOW

LARGE = {"scheduling_task", "scheduling_taskinstance", "scheduling_outputchunk", "access_auditentry"}
SINCE = "2026-03-01T00:00:00Z"
# The rows of one page, or of one task, are brought into order when they are there.
FEW_ARE_SORTED = {"tasks/agent/{agent}", "task-instances?task_id=1", "task-instances/task/{task}"}
LISTS = [
    "tasks",
    "tasks?status=failed",
    "tasks?job_id=1",
    "tasks?namespace=default",
    "tasks?order_by=id",
    "tasks?order_by=created_at",
    "tasks?order_by=-created_at",
    "tasks?order_by=scheduled_at",
    "tasks?order_by=-scheduled_at",
    "tasks?order_by=completed_at",
    "tasks?order_by=-completed_at",
    f"tasks?scheduled_at__gte={SINCE}",
    f"tasks?completed_at__lt={SINCE}",
    f"tasks?created_at__lt={SINCE}",
    "tasks?status=pending&order_by=scheduled_at",
    "tasks?offset=5000",
    "tasks/status/completed",
    "tasks/job/{job}",
    "tasks/agent/{agent}",
    "task-instances",
    "task-instances?status=failed",
    "task-instances?job_id=1",
    "task-instances?task_id=1",
    "task-instances?agent_id={agent}",
    "task-instances?order_by=created_at",
    "task-instances?order_by=-created_at",
    f"task-instances?created_at__lt={SINCE}",
    "task-instances/status/failed",
    "task-instances/agent/{agent}",
    "task-instances/task/{task}",
    "audit",
    "audit?actor=ann",
    "audit?action=job.create",
    "audit?namespace=default",
    "audit?subject_type=job&subject_id=1",
    "audit?order_by=-at",
    f"audit?at__lt={SINCE}",
]


@pytest.fixture
def clients(db):
    return {
        "superuser": people.token_of(people.person(superuser=True)),
        "admin of one namespace": people.token_of(people.with_role("admin", "default")),
    }


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def plans_of(client, path):
    """Return the statements about large tables that a request makes, each with the nodes of its plan."""
    statements = []

    def note(execute, sql, params, many, context):
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        response = client.get(f"/api/v1/{path}")
    assert response.status_code == 200, response.json()
    found = []
    with transaction.atomic(), connection.cursor() as cursor:
        for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan", "enable_hashagg"):
            cursor.execute(f"SET LOCAL {setting} = off")
        for sql, params in statements:
            if any(table in sql for table in LARGE) and sql.lstrip().startswith("SELECT"):
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                found.append((sql, list(nodes(cursor.fetchone()[0][0]["Plan"]))))
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("who", ["superuser", "admin of one namespace"])
def test_an_index_gives_the_rows_of_a_list_in_its_order(clients, who, path):
    task, agent = factories.task(), factories.agent()
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    plans = plans_of(clients[who], path.format(job=task.job_id, agent=agent.pk, task=task.pk))
    assert plans
    for sql, found in plans:
        scanned = {node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"}
        assert scanned & LARGE == set(), sql
        if path not in FEW_ARE_SORTED and "outputchunk" not in sql:
            assert [node for node in found if node["Node Type"] == "Sort"] == [], sql


@pytest.mark.parametrize("path", ["tasks?order_by=priority", "tasks?created_by=ann&order_by=updated_at"])
def test_a_list_without_an_index_would_be_noticed(clients, path):
    factories.task()
    kinds = {node["Node Type"] for _sql, found in plans_of(clients["superuser"], path) for node in found}
    assert {"Seq Scan", "Sort"} & kinds
