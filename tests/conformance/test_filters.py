"""Queries: filters with every operator on every kind of field, as a body and as parameters."""

from typing import Any

import pytest

from tests.conformance import shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.shapes import ENTITIES
from tests.conformance.world import World, parameters

CASES = [
    # text
    ("jobs", {"name": "Job A"}, "a"),
    ("jobs", {"name": {"eq": "Job A"}}, "a"),
    ("jobs", {"name": {"ne": "Job A"}}, "b c"),
    ("jobs", {"name": {"gt": "Job A"}}, "b c"),
    ("jobs", {"name": {"gte": "Job B"}}, "b c"),
    ("jobs", {"name": {"lt": "Job B"}}, "a"),
    ("jobs", {"name": {"lte": "Job B"}}, "a b"),
    ("jobs", {"name": {"in": ["Job A", "Job C", "Job Z"]}}, "a c"),
    ("jobs", {"name": {"not_in": ["Job A", "Job C"]}}, "b"),
    ("jobs", {"name": {"contains": "b A"}}, "a"),
    ("jobs", {"name": {"contains": "b a"}}, ""),
    ("jobs", {"name": {"icontains": "B a"}}, "a"),
    ("jobs", {"name": {"startswith": "Job"}}, "a b c"),
    ("jobs", {"name": {"startswith": "ob"}}, ""),
    ("jobs", {"name": {"endswith": " B"}}, "b"),
    ("jobs", {"name": {"is_null": False}}, "a b c"),
    ("jobs", {"name": {"is_null": True}}, ""),
    ("jobs", {"description": {"contains": "0% of A_"}}, "a"),
    ("jobs", {"description": {"contains": "0% of AX"}}, ""),
    ("jobs", {"description": {"contains": "_b"}}, "a"),
    ("jobs", {"name": {"gt": "Job A", "lt": "Job C"}}, "b"),
    ("jobs", {"name": {"startswith": "Job"}, "enabled": True}, "a c"),
    # booleans
    ("jobs", {"enabled": True}, "a c"),
    ("jobs", {"enabled": {"eq": False}}, "b"),
    ("jobs", {"enabled": {"ne": True}}, "b"),
    ("jobs", {"enabled": {"in": [True, False]}}, "a b c"),
    ("jobs", {"enabled": {"not_in": [True]}}, "b"),
    ("jobs", {"enabled": {"is_null": True}}, ""),
    # tags
    ("jobs", {"tags": {"contains": "nightly"}}, "a b"),
    ("jobs", {"tags": {"contains": ["nightly", "db"]}}, "a"),
    # integers
    ("jobs", {"id": "$b.id"}, "b"),
    ("tasks", {"priority": -1}, "low"),
    ("tasks", {"priority": {"eq": 5}}, "top"),
    ("tasks", {"priority": {"ne": 0}}, "low top"),
    ("tasks", {"priority": {"gt": 0}}, "top"),
    ("tasks", {"priority": {"gte": 0}}, "mid top"),
    ("tasks", {"priority": {"lt": 0}}, "low"),
    ("tasks", {"priority": {"lte": 0}}, "low mid"),
    ("tasks", {"priority": {"in": [5, -1, 99]}}, "low top"),
    ("tasks", {"priority": {"not_in": [5, -1]}}, "mid"),
    ("tasks", {"id": {"in": ["$low", "$top"]}}, "low top"),
    ("tasks", {"schedule_id": {"is_null": True}}, "low mid top"),
    ("tasks", {"schedule_id": {"is_null": False}}, ""),
    # integers that may be null: one that is null is not equal to a number
    ("task-instances", {"exit_code": 0}, "done"),
    ("task-instances", {"exit_code": {"ne": 0}}, "open bad"),
    ("task-instances", {"exit_code": {"in": [0, 7]}}, "done bad"),
    ("task-instances", {"exit_code": {"not_in": [0]}}, "open bad"),
    ("task-instances", {"exit_code": {"gte": 0}}, "done bad"),
    ("task-instances", {"exit_code": {"is_null": True}}, "open"),
    # choices
    ("task-instances", {"status": "failed"}, "bad"),
    ("task-instances", {"status": {"ne": "failed"}}, "open done"),
    ("task-instances", {"status": {"in": ["failed", "pending"]}}, "open bad"),
    ("task-instances", {"status": {"not_in": ["failed", "pending"]}}, "done"),
    ("task-instances", {"status": {"startswith": "comp"}}, "done"),
    ("task-instances", {"status": {"contains": "end"}}, "open"),
    ("schedules", {"kind": "once"}, "once"),
    ("schedules", {"kind": {"ne": "once"}, "status": "enabled"}, "cron"),
    ("schedules", {"timezone": {"startswith": "Europe/"}}, "cron"),
    ("schedules", {"start_time": {"is_null": False}}, "once"),
    # instants
    ("tasks", {"scheduled_at": "2090-01-02T00:00:00Z"}, "mid"),
    ("tasks", {"scheduled_at": {"eq": "2090-01-02T02:00:00+02:00"}}, "mid"),
    ("tasks", {"scheduled_at": {"ne": "2090-01-02T00:00:00Z"}}, "low top"),
    ("tasks", {"scheduled_at": {"gt": "2090-01-02T00:00:00Z"}}, "top"),
    ("tasks", {"scheduled_at": {"gte": "2090-01-02T00:00:00Z"}}, "mid top"),
    ("tasks", {"scheduled_at": {"lt": "2090-01-02T00:00:00Z"}}, "low"),
    ("tasks", {"scheduled_at": {"lte": "2090-01-02T00:00:00.000000Z"}}, "low mid"),
    ("tasks", {"scheduled_at": {"in": ["2090-01-01T00:00:00Z", "2090-01-03T00:00:00Z"]}}, "low top"),
    ("tasks", {"scheduled_at": {"not_in": ["2090-01-01T00:00:00Z"]}}, "mid top"),
    ("tasks", {"completed_at": {"is_null": True}}, "low mid top"),
    ("tasks", {"created_at": {"lte": "$mid.created_at"}}, "low mid"),
    ("tasks", {"created_at": "$mid.created_at"}, "mid"),
    # UUIDs
    ("agents", {"id": "$red"}, "red"),
    ("agents", {"id": {"ne": "$red"}}, "blue"),
    ("agents", {"id": {"in": ["$red", "$blue"]}}, "red blue"),
    ("agents", {"id": {"not_in": ["$red"]}}, "blue"),
    ("agents", {"id": {"gt": "$red"}}, "blue"),
    ("agents", {"id": {"lte": "$red"}}, "red"),
    ("task-instances", {"agent_id": {"is_null": True}}, "open done bad"),
    ("task-instances", {"agent_id": "$red"}, ""),
]


@covers("query-operators", "get-list", "agents.query")
@pytest.mark.parametrize(("resource", "filters", "expected"), CASES, ids=lambda value: str(value)[:70])
def test_a_filter_finds_these_rows_in_either_spelling(
    api: Client, world: World, resource: str, filters: dict[str, Any], expected: str
) -> None:
    filters = {**world.bases[resource], **world.fill(filters)}
    names = {row["id"]: name for name, row in world.named(resource).items()}
    queried = api.post(f"/{resource}/query", {"filter": filters, "page": {"limit": 500}})
    listed = api.get(f"/{resource}?{parameters(filters)}&limit=500")
    assert {names[row["id"]] for row in shapes.check_page(ENTITIES[resource], queried)} == set(
        expected.split()
    )
    assert listed == queried


@covers("query-labels")
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "red blue"),
        ({"colour": "red"}, "red"),
        ({"colour": "green"}, ""),
        ({"color": "red"}, ""),
    ],
    ids=str,
)
def test_a_filter_over_labels_is_containment(
    api: Client, world: World, labels: dict[str, str], expected: str
) -> None:
    filters = {"labels": {world.label: "1", **labels}}
    for answer in (api.post("/agents/query", {"filter": filters}), api.get(f"/agents?{parameters(filters)}")):
        found = {row["name"].rpartition("-")[2] for row in answer["data"]}
        assert found == set(expected.split())


@covers("query-unknown")
@pytest.mark.parametrize("resource", ENTITIES)
@pytest.mark.parametrize(
    ("filters", "at"),
    [
        ({"no_such_field": 1}, "no_such_field"),
        ({"job__name": "x"}, "job__name"),
    ],
)
def test_an_unknown_field_is_refused(api: Client, resource: str, filters: dict[str, Any], at: str) -> None:
    assert f"filter.{at}" in api.refuse(400, "POST", f"/{resource}/query", {"filter": filters})
    assert api.refuse(400, "GET", f"/{resource}?{at}=1") == {at: "invalid"}


@covers("query-unknown", "bad-input")
@pytest.mark.parametrize(
    ("resource", "filters", "at"),
    [
        ("jobs", {"name": {"like": "x"}}, "filter.name.like"),
        ("jobs", {"name": {"EQ": "x"}}, "filter.name.EQ"),
        ("jobs", {"name": 7}, "filter.name"),
        ("jobs", {"name": ["a"]}, "filter.name"),
        ("jobs", {"name": {"in": "a"}}, "filter.name.in"),
        ("jobs", {"name": {"is_null": "yes"}}, "filter.name.is_null"),
        ("jobs", {"enabled": "true"}, "filter.enabled"),
        ("jobs", {"enabled": 1}, "filter.enabled"),
        ("jobs", {"id": "5"}, "filter.id"),
        ("jobs", {"id": 2**70}, "filter.id"),
        ("tasks", {"priority": {"gte": 1.5}}, "filter.priority.gte"),
        ("tasks", {"status": "done"}, "filter.status"),
        ("tasks", {"status": {"in": ["pending", "done"]}}, "filter.status.in"),
        ("tasks", {"status": 3}, "filter.status"),
        ("tasks", {"scheduled_at": {"gte": "yesterday"}}, "filter.scheduled_at.gte"),
        ("tasks", {"scheduled_at": "2026-01-01T00:00:00"}, "filter.scheduled_at"),
        ("task-instances", {"id": "x"}, "filter.id"),
        ("agents", {"labels": "env"}, "filter.labels"),
        ("agents", {"labels": {"env": 1}}, "filter.labels"),
        ("connections", {"min_duration": "long"}, "filter.min_duration"),
        ("servers", {"status": "gone"}, "filter.status"),
    ],
    ids=str,
)
def test_what_makes_no_filter_is_refused(
    api: Client, resource: str, filters: dict[str, Any], at: str
) -> None:
    assert list(api.refuse(400, "POST", f"/{resource}/query", {"filter": filters})) == [at]


@covers("query-unknown", "bad-input", "query-limit")
def test_everything_that_is_wrong_with_a_query_is_said_at_once(api: Client) -> None:
    body = {
        "filter": {"typo": 1, "name": {"like": 1}},
        "page": {"limit": 0, "page": 0, "order_bys": ["typo"], "size": 5},
        "sort": "name",
    }
    assert set(api.refuse(400, "POST", "/jobs/query", body)) == {
        "filter.typo",
        "filter.name.like",
        "page.limit",
        "page.page",
        "page.order_bys",
        "page.size",
        "sort",
    }
