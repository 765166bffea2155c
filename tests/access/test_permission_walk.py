"""Everybody tries everything, in a namespace of theirs and in another one (I14)."""

import uuid
from dataclasses import replace

import pytest

from access.models import AuditEntry
from access.roles import Level
from gateway import commands
from hetuflow.permission_matrix import Reach, Rule, rules
from rest.querying import DEFAULT_LIMIT
from scheduling.models import (
    Alert,
    Backfill,
    Calendar,
    Freeze,
    Job,
    RetentionRule,
    Schedule,
    Task,
    TaskInstance,
)
from tests.access.world import HERE, MARK, THERE, Caller, Place, World, build, ids, send, undone
from tests.database import fingerprint

RULES = [rule for rule in rules() if rule.action]
VIEWS = sorted({rule.view for rule in RULES})
# Bodies name these by id, and what one does not see is as good as not there; a namespace is but a name.
NAMED_BY_ID = {
    "BackfillViewSet",
    "RetentionRuleViewSet",
    "ScheduleViewSet",
    "TaskViewSet",
    "TaskInstanceViewSet",
}
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
NO_RULE = Rule("", "", "", "", "", Reach.CALLER, is_for_agents=False)
# These are not even seen with less than the highest role.
SEEN_BY_ADMINS = {"AuditViewSet", "EnrollmentTokenViewSet"}
FEW = {"nobody in particular", "an agent", "admin here"}
ALLOWED = {200, 201, 204, 409, 504}
ROWS = {
    "JobViewSet": (Job.objects.all(), "namespace"),
    "ScheduleViewSet": (Schedule.objects.all(), "job__namespace"),
    "BackfillViewSet": (Backfill.objects.all(), "schedule__job__namespace"),
    "RetentionRuleViewSet": (RetentionRule.objects.all(), "namespace"),
    "CalendarViewSet": (Calendar.objects.all(), "namespace"),
    "FreezeViewSet": (Freeze.objects.all(), "namespace"),
    "AlertViewSet": (Alert.objects.all(), "namespace"),
    "TaskViewSet": (Task.objects.all(), "namespace"),
    "TaskInstanceViewSet": (TaskInstance.objects.all(), "task__namespace"),
    "AuditViewSet": (AuditEntry.objects.all(), "namespace"),
}


@pytest.fixture
def world(db, monkeypatch) -> World:
    # Who waits for an agent gives back the connection, which here holds what the test will undo.
    monkeypatch.setattr(commands, "close_old_connections", lambda: None)
    return build()


def rules_of(view: str, method: str | None = None) -> list[Rule]:
    return [rule for rule in RULES if rule.view == view and method in (None, rule.method)]


def predicted(rule: Rule, caller: Caller, place: Place) -> int | None:
    """Return the status of a refusal, None where the caller may."""
    if rule.reach is Reach.OPEN:
        return None
    if caller.is_anonymous:
        return 401
    if caller.is_agent:
        return _of_agent(rule, place)
    names_object = "_id}" in rule.path or "{id}" in rule.path
    highest = max(caller.levels.values(), default=None)
    if rule.reach is Reach.CALLER:
        return _about_caller(rule, caller)
    needed = rule.level or Level.READ
    if rule.reach is Reach.OBJECT:
        return _in_namespace(rule, caller.level_in(place.namespace), needed)
    if highest is None and names_object:
        return 404
    if rule.reach is Reach.EVERYWHERE:
        highest = caller.levels.get("*")
        if rule.view in SEEN_BY_ADMINS and names_object and highest != Level.ADMIN:
            return 404
    if highest is None or highest < needed:
        return 403
    return _in_body(rule, caller.level_in(place.namespace), needed) if rule.reach is Reach.BODY else None


def _of_agent(rule: Rule, place: Place) -> int | None:
    if not rule.is_for_agents:
        return 403
    return None if place.namespace == HERE or "{id}" not in rule.path else 404


def _about_caller(rule: Rule, caller: Caller) -> int | None:
    if rule.view == "TokenViewSet" and "{id}" in rule.path:
        return None if caller.administers_users else 404
    return 403 if rule.view == "TokenViewSet" and rule.action == "create" and caller.is_limited else None


def _in_namespace(rule: Rule, held: Level | None, needed: Level) -> int | None:
    seen_from = Level.ADMIN if rule.view in SEEN_BY_ADMINS else Level.READ
    if held is None or held < seen_from:
        return 404
    return None if held >= needed else 403


def _in_body(rule: Rule, held: Level | None, needed: Level) -> int | None:
    if held is None:
        return 400 if rule.view in NAMED_BY_ID else 403
    return None if held >= needed else 403


def test_the_oracle_knows_somebody_who_may_and_somebody_who_may_not(world):
    """A walk in which everybody may do everything, or nobody anything, would prove nothing."""
    for rule in RULES:
        found = {
            predicted(rule, caller, place) for caller in world.callers for place in world.places.values()
        }
        assert None in found
        assert rule.reach is Reach.OPEN or found > {None}


@pytest.mark.parametrize(("view", "method"), sorted({(rule.view, rule.method) for rule in RULES}))
def test_everybody_may_what_the_matrix_says_and_nothing_else(world, view, method):
    before = fingerprint()
    for rule in rules_of(view, method):
        for place in world.places_for(rule):
            for caller in world.callers if rule.reach is not Reach.OPEN else world.callers[:3]:
                with undone():
                    _assert_predicted(rule, caller, place, world, before)


def _assert_predicted(rule, caller, place, world, before):
    answer = send(caller, rule, place, world)
    expected = predicted(rule, caller, place)
    what = f"{caller.name} in {place.namespace}: {rule.method} {rule.path}: {answer} {answer.content!r}"
    if expected is None:
        assert answer.status_code in ALLOWED, what
    else:
        assert answer.status_code == expected, what
        assert fingerprint() == before, what
    if not caller.sees(THERE):
        assert MARK not in answer.content.decode(), what
    if expected == 404:
        _assert_alike(answer, _about_nothing(caller, rule, place, world))
    if expected is None and rule.reach is Reach.SEEN:
        _assert_counted(answer, rule, caller, place)


def _about_nothing(caller, rule, place, world):
    """Return the answer about something that does not exist."""
    keys = ids(rule, place, world)
    key = next(
        key for key in ("id", "job_id", "task_id", "agent_id", "namespace") if f"{{{key}}}" in rule.path
    )
    nothing = {uuid.UUID: uuid.uuid4(), int: 2**40, str: "nowhere"}[type(keys[key])]
    return send(caller, rule, place, world, **{key: nothing})


def _assert_alike(answer, other):
    assert (answer.status_code, answer.content) == (other.status_code, other.content)
    assert dict(answer.headers) == dict(other.headers)


def _assert_counted(answer, rule, caller, place):
    """No count and no row tells of what one does not see."""
    body = answer.json()
    rows = body["data"] if isinstance(body, dict) else body
    total = body["page"]["total"] if isinstance(body, dict) else int(answer["X-Total-Count"])
    is_filtered = rule.action in ("of_agent", "with_status")
    assert total > 0 or is_filtered
    assert len(rows) == (total if is_filtered else min(total, DEFAULT_LIMIT))
    if rule.action in ("list", "query"):
        found, path = ROWS[rule.view]
        if caller.is_agent:
            found = found.filter(agent=place.agent)
        elif "*" not in caller.levels:
            needed = rule.level or Level.READ
            found = found.filter(
                **{f"{path}__in": [n for n, level in caller.levels.items() if level >= needed]}
            )
        assert total == found.count()


@pytest.mark.parametrize("view", ROWS)
def test_no_filter_finds_what_one_does_not_see(world, view):
    rows, path = ROWS[view]
    hidden = rows.filter(**{path: THERE}).latest("pk")
    query = next(rule.path for rule in RULES if rule.view == view and rule.action == "query")
    for caller in world.callers:
        is_admin = view != "AuditViewSet" or Level.ADMIN in caller.levels.values()
        if caller.sees(THERE) or not caller.levels or not is_admin:
            continue
        for condition in ({}, {"id": str(hidden.pk) if view == "TaskInstanceViewSet" else hidden.pk}):
            body = caller.client.post(query, {"filter": condition, "page": {"limit": 500}}).json()
            assert str(hidden.pk) not in {str(row["id"]) for row in body["data"]}
            assert not condition or body == {
                "page": {"total": 0, "page": 1, "limit": 500, "has_more": False},
                "data": [],
            }
            params = "&".join(f"{name}={value}" for name, value in condition.items())
            assert caller.client.get(f"{query.removesuffix('/query')}?limit=500&{params}").json() == body


def test_details_of_health_are_for_who_has_a_role(world):
    for caller in world.callers:
        for path in ("/api/v1/health", "/api/v1/system/health"):
            answer = caller.client.get(f"{path}?details=true")
            expected = 401 if caller.is_anonymous else 200 if caller.levels else 403
            assert answer.status_code == expected, caller.name
            assert ("database_pool" in answer.json()) == (expected == 200)
            assert caller.client.get(path).status_code == 200


def test_what_is_no_path_is_a_404_for_everybody(world):
    for caller in world.callers:
        for path in ("/api/v1/nothing", "/api/v2/jobs", "/api"):
            assert caller.client.get(path).status_code == 404


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_path_does_not_do_is_refused_alike_whoever_asks_and_for_what(world, view):
    """A method that is not there, HEAD and OPTIONS tell nothing that a GET would not."""
    before = fingerprint()
    callers = [caller for caller in world.callers if caller.name in FEW]
    for path in sorted({rule.path for rule in rules_of(view)}):
        of_path = {rule.method: rule for rule in rules_of(view) if rule.path == path}
        for method in METHODS - of_path.keys():
            for caller in callers if of_path.get("GET", NO_RULE).reach is not Reach.OPEN else callers[:1]:
                _assert_nothing_told(caller, method, of_path, world)
    assert fingerprint() == before


def _assert_nothing_told(caller, method, of_path, world):
    rule = next(iter(of_path.values()))
    places = world.places_for(rule)
    answers = [send(caller, replace(rule, method=method), place, world) for place in places]
    statuses = [answer.status_code for answer in answers]
    what = f"{caller.name}: {method} {rule.path}: {answers}"
    if method == "HEAD" and "GET" in of_path:
        got = [send(caller, of_path["GET"], place, world) for place in places]
        assert statuses == [answer.status_code for answer in got], what
        assert not any(answer.content for answer in answers), what
    elif caller.is_anonymous and rule.reach is not Reach.OPEN:
        assert set(statuses) == {401}, what
    elif method == "OPTIONS":
        assert set(statuses) <= {200, 405}, what
        if "id}" in rule.path and not caller.sees(THERE):
            _assert_alike(answers[1], _about_nothing(caller, replace(rule, method=method), places[1], world))
    else:
        assert statuses[0] in {403, 404, 405}, what
        assert {answer.content for answer in answers} == {answers[0].content}, what
