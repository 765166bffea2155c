"""Queries: their parts, pages and order."""

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conformance import shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.shapes import ENTITIES
from tests.conformance.world import MANY, World


@covers("query-optional", "page-result", "query-limit")
@pytest.mark.parametrize("resource", ENTITIES)
def test_every_part_of_a_query_is_optional(api: Client, world: World, many: str, resource: str) -> None:
    for body in (None, {"filter": {}}, {"page": {}}):
        answer = api.post(f"/{resource}/query", body)
        rows = shapes.check_page(ENTITIES[resource], answer)
        assert answer["page"]["page"] == 1
        assert answer["page"]["limit"] == 20
        assert len(rows) == min(20, answer["page"]["total"])
        assert answer["page"]["has_more"] == (answer["page"]["total"] > 20)


@covers("get-list", "page-result")
@pytest.mark.parametrize("resource", ENTITIES)
def test_a_get_answers_the_same_page(api: Client, world: World, resource: str) -> None:
    answer = api.get(f"/{resource}?page=1&limit=3")
    rows = shapes.check_page(ENTITIES[resource], answer)
    assert answer["page"]["limit"] == 3
    assert len(rows) == min(3, answer["page"]["total"])


# --- pages ----------------------------------------------------------------------------------------------


@covers("page-result", "query-limit")
@pytest.mark.parametrize(
    ("page", "expected", "rows", "has_more"),
    [
        ({"limit": 10}, 1, 10, True),
        ({"page": 1, "limit": 10}, 1, 10, True),
        ({"page": 2, "limit": 10}, 2, 10, True),
        ({"page": 3, "limit": 10}, 3, 3, False),
        ({"page": 4, "limit": 10}, 4, 0, False),
        ({"page": 1, "limit": MANY}, 1, MANY, False),
        ({"page": 1, "limit": MANY - 1}, 1, MANY - 1, True),
        ({"page": 23, "limit": 1}, 23, 1, False),
        ({"limit": 500}, 1, MANY, False),
        ({"offset": 0, "limit": 10}, 1, 10, True),
        ({"offset": 20, "limit": 10}, 3, 3, False),
        ({"offset": 13, "limit": 10}, 2, 10, False),
        ({"offset": 12, "limit": 10}, 2, 10, True),
        ({"offset": 100, "limit": 10}, 11, 0, False),
    ],
    ids=str,
)
def test_a_page_says_where_it_is_and_whether_more_follows(
    api: Client, many: str, page: dict[str, int], expected: int, rows: int, has_more: bool
) -> None:
    answer = api.post("/jobs/query", {"filter": {"namespace": many}, "page": page})
    assert answer["page"] == {"total": MANY, "page": expected, "limit": page["limit"], "has_more": has_more}
    assert len(answer["data"]) == rows
    assert api.get(f"/jobs?{urlencode({'namespace': many, **page})}") == answer


@covers("query-limit", "bad-input")
@pytest.mark.parametrize(
    ("page", "at"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"limit": True}, "limit"),
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "1"}, "page"),
        ({"offset": -1}, "offset"),
        ({"offset": "0"}, "offset"),
        ({"page": 1, "offset": 0}, "offset"),
    ],
    ids=str,
)
def test_a_page_out_of_bounds_is_refused(api: Client, page: dict[str, Any], at: str) -> None:
    assert list(api.refuse(400, "POST", "/jobs/query", {"page": page})) == [f"page.{at}"]
    if type(page[at]) is int and not {"page", "offset"} <= set(page):
        assert list(api.refuse(400, "GET", f"/jobs?{at}={page[at]}")) == [at]


# --- order ----------------------------------------------------------------------------------------------


@covers("query-order")
def test_an_order_with_equal_keys_is_total_so_that_pages_neither_repeat_nor_skip(
    api: Client, many: str
) -> None:
    for keys in (["enabled"], ["-enabled"], ["namespace"], ["enabled", "-id"]):
        seen: list[Any] = []
        for page in range(1, 9):
            body = {"filter": {"namespace": many}, "page": {"page": page, "limit": 3, "order_bys": keys}}
            seen += api.post("/jobs/query", body)["data"]
        ids = [row["id"] for row in seen]
        assert len(ids) == len(set(ids)) == MANY
        newest_first = "-id" in keys
        groups = [[row["id"] for row in seen if row["enabled"] is flag] for flag in (False, True)]
        for group in groups if "namespace" not in keys else [ids]:
            assert group == sorted(group, reverse=newest_first)
        flags = [row["enabled"] for row in seen]
        if "namespace" not in keys:
            assert flags == sorted(flags, reverse=keys[0].startswith("-"))


@covers("query-order")
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["name"], "a b c"),
        (["-name"], "c b a"),
        (["enabled", "name"], "b a c"),
        (["-enabled", "-name"], "c a b"),
        (["-created_at", "id"], "c b a"),
        (["id"], "a b c"),
        (["-id"], "c b a"),
        ([], "c b a"),
    ],
    ids=str,
)
def test_rows_come_in_the_order_that_is_asked_for(
    api: Client, world: World, keys: list[str], expected: str
) -> None:
    names = {row["id"]: name for name, row in world.jobs.items()}
    body = {"filter": {"namespace": world.namespace}, "page": {"order_bys": keys}}
    queried = [names[row["id"]] for row in api.post("/jobs/query", body)["data"]]
    asked = urlencode({"namespace": world.namespace, "order_by": ",".join(keys)})
    assert queried == [names[row["id"]] for row in api.get(f"/jobs?{asked}")["data"]] == expected.split()


@covers("query-unknown")
@pytest.mark.parametrize("resource", ENTITIES)
def test_an_unknown_order_key_is_refused(api: Client, resource: str) -> None:
    refused = api.refuse(400, "POST", f"/{resource}/query", {"page": {"order_bys": ["password"]}})
    assert list(refused) == ["page.order_bys"]
    assert list(api.refuse(400, "GET", f"/{resource}?order_by=-job__name")) == ["order_by"]


@covers("query-unknown", "bad-input")
@pytest.mark.parametrize("keys", [["--id"], [""], [7], [None], ["id", "typo"], "typo", {"id": 1}], ids=str)
def test_what_makes_no_order_is_refused(api: Client, keys: Any) -> None:
    refused = api.refuse(400, "POST", "/jobs/query", {"page": {"order_bys": keys}})
    assert list(refused) == ["page.order_bys"]


@covers("query-order")
@pytest.mark.parametrize("resource", ENTITIES)
def test_without_an_order_the_newest_come_first(api: Client, world: World, resource: str) -> None:
    field = {"connections": "connected_at", "servers": "started_at"}.get(resource, "created_at")
    times = [row[field] for row in api.get(f"/{resource}?limit=100")["data"]]
    assert times == sorted(times, reverse=True)
