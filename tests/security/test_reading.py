"""Whoever looks changes nothing: not by any GET, HEAD or OPTIONS, by REST, in its browser or in the admin."""

from dataclasses import replace

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, reverse

from hetuflow.permission_matrix import rules
from tests import people
from tests.access.world import build, send
from tests.database import fingerprint

RULES = [rule for rule in rules() if rule.action]
READS = [rule for rule in RULES if rule.method == "GET"]
# The posts that only ask.
ASKS = {"query", "logs", "status", "stats", "preview"}
ASKING = [rule for rule in RULES if rule.action in ASKS or rule.view.endswith(("MetricsView", "InfoView"))]

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["a superuser", "a superuser's token to admin", "an agent"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_no_read_of_rest_writes(name, accept):
    world = build()
    caller = next(caller for caller in world.callers if caller.name == name)
    caller.client.credentials(**caller.client._credentials, HTTP_ACCEPT=accept)
    before = fingerprint()
    for rule in [*READS, *ASKING]:
        for place in world.places_for(rule):
            assert send(caller, rule, place, world).status_code < 500
            if rule.method == "GET":
                assert send(caller, replace(rule, method="HEAD"), place, world).status_code < 500
    for rule in RULES:
        send(caller, replace(rule, method="OPTIONS"), world.places_for(rule)[0], world)
    assert fingerprint() == before


def test_the_reads_are_many():
    assert len(READS) > 40
    assert len(ASKING) > 10


def test_no_page_of_the_admin_writes_when_it_is_opened():
    world = build()
    client = people.session_of(people.person(superuser=True, is_staff=True))
    before = fingerprint()
    opened = 0
    for path in ("admin:index", "admin:password_change", *_lists()):
        assert client.get(reverse(path)).status_code == 200, path
        opened += 1
    for model in admin.site._registry:
        row = model._default_manager.order_by("pk").last()
        for page in ("change", "history", "delete", "run", "enroll"):
            path = _path(model, page, row)
            if path is not None and row is not None:
                assert client.get(path).status_code in (200, 302, 403, 404), path
                opened += 1
    assert opened > 30
    assert world
    assert fingerprint() == before


def _lists():
    for model in admin.site._registry:
        yield f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"


def _path(model, page, row):
    try:
        return reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=[row.pk if row else 1]
        )
    except NoReverseMatch:
        return None
