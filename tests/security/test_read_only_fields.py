"""What the server decides, nobody writes: statuses, ids, names of writers, times, counters, secrets."""

import pytest

from hetuflow.permission_matrix import rules
from rest.views import ResourceViewSet
from tests.access.world import BODIES, HERE, build, ids
from tests.database import fingerprint

# Columns and secrets that no answer holds, and names that other systems have for a way around.
NEVER = (
    "archived_at",
    "by_hand",
    "digest",
    "is_superuser",
    "lease_expires_at",
    "namespace_id",
    "password",
    "pk",
    "route",
    "task_config",
    "token",
    "user",
    "user_id",
    "__class__",
    "_state",
)
# Something plausible for a status, a number, an id.
VALUES = ("completed", None, 7, "0199f3a2-6c1e-7b4d-9a55-3f0c8e21d704")
ALONE = {"id", "status", "created_by", "token"}
WRITES = [
    rule
    for rule in rules()
    if rule.method in ("POST", "PATCH") and rule.action not in ("query", "logs", "") and rule.permission
]

pytestmark = pytest.mark.django_db


def view_sets():
    found, todo = {}, [ResourceViewSet]
    while todo:
        view_set = todo.pop()
        found[view_set.__name__] = view_set
        todo.extend(view_set.__subclasses__())
    return found


def forbidden(rule):
    """Return the fields that a request must not hold, each with something plausible in it."""
    view_set = view_sets()[rule.view]
    reader = view_set.request_serializers.get(rule.action)
    taken = set(reader().fields) if reader else set()
    shown = set(view_set.entity_serializer().fields)
    return sorted((shown | set(NEVER)) - taken)


@pytest.mark.parametrize("rule", WRITES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_what_is_not_the_callers_to_write_is_a_400_and_changes_nothing(rule):
    if rule.view not in view_sets():
        pytest.skip("asks, and writes nothing")
    world = build()
    place = world.places[HERE]
    client = next(caller.client for caller in world.callers if caller.name == "a superuser")
    body = BODIES.get((rule.view, rule.action), lambda _: {})(place)
    path = rule.path.format(**ids(rule, place, world))
    names = forbidden(rule)
    wishes = [dict.fromkeys(names, value) for value in VALUES]
    wishes += [{name: value} for name in ALONE & set(names) for value in VALUES]
    before = fingerprint()
    for wish in wishes:
        answer = getattr(client, rule.method.lower())(path, {**body, **wish})
        assert answer.status_code == 400, (wish, answer.content)
        assert set(wish) == {error["attr"] for error in answer.json()["errors"]}
    assert fingerprint() == before


def test_statuses_ids_writers_and_secrets_are_among_them():
    by_path = {(rule.method, rule.path): forbidden(rule) for rule in WRITES if rule.view in view_sets()}
    for path, names in {
        ("POST", "/api/v1/jobs"): {"id", "created_by", "updated_by", "created_at"},
        ("PATCH", "/api/v1/jobs/{id}"): {"id", "created_by", "updated_by", "created_at"},
        ("POST", "/api/v1/tasks"): {"id", "status", "created_by", "retry_count", "lock_version", "namespace"},
        ("PATCH", "/api/v1/tasks/{id}"): {"id", "status", "job_id", "created_by", "completed_at"},
        ("POST", "/api/v1/task-instances"): {"id", "status", "attempt", "token", "exit_code"},
        ("PATCH", "/api/v1/task-instances/{id}"): {"id", "status", "agent_id", "task_id", "attempt", "token"},
        ("POST", "/api/v1/agents"): {"status", "token", "statistics", "version"},
        ("PATCH", "/api/v1/agents/{id}"): {"id", "status", "token", "statistics"},
        ("PATCH", "/api/v1/schedules/{id}"): {"id", "job_id", "run_count", "next_run_at"},
    }.items():
        assert names <= set(by_path[path]), path
