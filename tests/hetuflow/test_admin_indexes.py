"""Lists of the admin must read no whole table: with that forbidden, an index has to be found for each.

What they sort is a page, or what a search found and a limit bounds; what is counted is bounded as well.
"""

import re
from urllib.parse import quote

import pytest
from django.db import connection, transaction

from scheduling.admin.paging import LIST_LIMIT, BoundedPaginator
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.rest.test_indexes import nodes

LARGE = {
    *(f"scheduling_{name}" for name in ("job", "schedule", "task", "taskinstance", "outputchunk")),
    *(f"scheduling_{name}" for name in ("alert", "backfill", "bulkaction", "calendar")),
    *("agents_agent", "access_auditentry"),
}
# Each in the order of an index.
IN_ORDER = {
    "scheduling/job": ["", "p=2", "enabled__exact=0", "namespace=default"],
    "scheduling/schedule": ["", "p=2", "status__exact=enabled", "kind__exact=cron"],
    "scheduling/task": [
        *("", "p=2", "status__exact=failed", "namespace=default"),
        *("planned=24", "planned=future", "planned_from=2026-01-01T00:00", "planned_to=2026-01-01T00:00"),
        *("status__exact=failed&planned=24", "tried=again", "job__id__exact={job}"),
    ],
    "scheduling/taskinstance": [
        *("", "p=2", "status__exact=failed", "begun=24", "begun_to=2026-01-01T00:00"),
        *("exit_code=1", "namespace=default", "job__id__exact={job}", "agent__id__exact={agent}"),
    ],
    "scheduling/alert": ["", "state=all", "state=all&kind__exact=paused", "namespace=default"],
    "scheduling/backfill": ["", "p=2", "status__exact=paused"],
    "scheduling/bulkaction": ["", "p=2", "status__exact=cancelled", "verb__exact=job.disable"],
    "scheduling/calendar": ["", "p=2", "namespace=default"],
    "agents/agent": ["", "p=2", "enabled__exact=1"],
    "access/auditentry": ["", "p=2", "actor_kind__exact=token", "subject_type=job&subject_id=5"],
}
# What these find is few, or limited, and then brought into order.
FEW = {
    "scheduling/job": [
        "last=failed",
        "q=abc",
        "q=a",
        "q=tag:abc",
        "q=zone=eu",
        "q=label:eu",
        "q=abc+zone=eu",
    ],
    "scheduling/schedule": [
        *("status__exact=disabled", "trouble=paused", "trouble=unplanned", "namespace=default"),
        *("q=abc", "q=tag:abc", "q=zone=eu", "job__id__exact={job}"),
    ],
    "scheduling/task": ["q=abc", "q=%2312", "q=tag:abc", "q=zone=eu", "outcome__exact=late"],
    "scheduling/taskinstance": [
        *("longer=5", "longer=1440", "q=abc", "q=12", "q=zone=eu", "q=tag:abc", "output=abc"),
    ],
    "scheduling/alert": ["q=abc", "q=tag:abc"],
    "scheduling/backfill": ["q=abc", "schedule__id__exact=1"],
    "scheduling/calendar": ["q=abc"],
    "agents/agent": ["q=abc", "q=a", "q=zone=eu", "q=label:eu"],
    "access/auditentry": ["q=abc"],
}
_COLUMNS = 9


def every(lists):
    return [f"{of_list}/?{query}" for of_list, queries in lists.items() for query in queries]


@pytest.fixture
def things(db):
    attempt = factories.attempt()
    return {"job": attempt.job_id, "agent": attempt.agent_id}


@pytest.fixture
def many(monkeypatch):
    """Let each list be taken for one of several pages."""
    monkeypatch.setattr(BoundedPaginator, "count", 150)


def browser_of(who):
    return client_of(superuser=True) if who == "superuser" else browser_with(("admin", "default"))


def plans_of(browser, path):
    """Return the statements about large tables that a list makes, each with its plan."""
    statements = []

    def note(execute, sql, params, many, context):
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        response = browser.get(f"/admin/{path}")
    assert response.status_code == 200, response.url
    found = []
    with transaction.atomic(), connection.cursor() as cursor:
        for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan", "enable_hashagg"):
            if setting != "enable_bitmapscan" or "q=" not in path:  # by which alone GIN is read
                cursor.execute(f"SET LOCAL {setting} = off")
        for sql, params in statements:
            if any(f'"{table}"' in sql or f" {table} " in sql for table in LARGE) and "SELECT" in sql:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                found.append((sql, cursor.fetchone()[0][0]["Plan"]))
        transaction.set_rollback(True)
    return found


def below_limits(plan, *, is_below=False):
    """Yield the nodes that give rows to a limit: these it must not need all of."""
    if is_below:
        yield plan
    for child in plan.get("Plans", ()):
        # What is looked up for each row stands on its own.
        is_own = child.get("Parent Relationship") in ("SubPlan", "InitPlan")
        yield from below_limits(child, is_below=not is_own and (is_below or plan["Node Type"] == "Limit"))


def sorts(plans):
    """Return the statements for a page that sort more than the page."""
    pages = [(sql, plan) for sql, plan in plans if " LIMIT 50" in sql]
    return [sql for sql, plan in pages if any(node["Node Type"] == "Sort" for node in below_limits(plan))]


def read_whole(plan):
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"} & LARGE


@pytest.mark.parametrize(
    ("who", "path"),
    [
        *(("superuser", path) for path in every(IN_ORDER)),
        *(
            ("admin of one namespace", path)
            for path in every(IN_ORDER)
            if not path.startswith(("agents/agent", "access/auditentry"))  # they have none, or are not seen
        ),
    ],
)
def test_an_index_gives_the_rows_of_a_list_in_its_order(things, many, who, path):
    plans = plans_of(browser_of(who), path.format(**things))
    assert any(" LIMIT 50" in sql for sql, _plan in plans)
    for sql, plan in plans:
        assert read_whole(plan) == set(), sql
    assert sorts(plans) == []


@pytest.mark.parametrize("path", every(FEW))
def test_an_index_finds_the_few_rows_of_a_list(things, path):
    for sql, plan in plans_of(client_of(superuser=True), path.format(**things)):
        assert read_whole(plan) == set(), sql


@pytest.mark.parametrize("term", ["abc", "a", "default/abc", "abc/", "#12"])
def test_an_index_finds_what_is_sought_from_anywhere(things, term):
    plans = plans_of(client_of(superuser=True), f"find/?q={quote(term)}")
    assert plans
    for sql, plan in plans:
        assert read_whole(plan) == set(), sql


@pytest.mark.parametrize("path", [path for path in (*every(IN_ORDER), *every(FEW)) if "p=2" not in path])
def test_whatever_is_counted_is_bounded(things, path):
    for sql, _plan in plans_of(client_of(superuser=True), path.format(**things)):
        if re.match(r"SELECT COUNT\(\*\)", sql):
            assert re.search(rf"LIMIT ({LIST_LIMIT}|100)\)", sql), sql


@pytest.mark.parametrize("of_list", IN_ORDER)
def test_an_index_has_each_order_in_which_a_list_can_be_brought(things, many, of_list):
    browser = client_of(superuser=True)
    columns = [f"{sign}{number}" for number in range(_COLUMNS) for sign in ("", "-")]
    sorted_by = {column for column in columns if sorts(plans_of(browser, f"{of_list}/?o={column}"))}
    # What heartbeats write has no index: each would cost them something.
    assert sorted_by == ({"6", "-6"} if of_list == "agents/agent" else set())
