"""Every page of the admin and the API holds to the policy that it is sent with."""

import hashlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.staticfiles import finders
from django.db.models import QuerySet
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from access.models import Grant
from access.roles import Role
from access.tokens import issue
from agents.models import Agent
from gateway.models import Connection, Server
from hetuflow.response_headers import DATA_POLICY, PAGE_POLICY, POPUP_POLICY, REDOC_POLICY
from scheduling.kinds import BulkVerb
from scheduling.models import Alert, Calendar, Job, Schedule, Task, TaskInstance
from scheduling.services.backfills import create_backfill
from scheduling.services.bulk import begin
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.claiming import claim
from scheduling.services.retention_rules import create_rule
from tests import factories
from tests.admin_client import client_of
from tests.html import NOT_ALPINE, TEXT, adapter_rules, findings_of
from tests.processes import ROOT

CSP = "Content-Security-Policy"
# npm pack @alpinejs/csp@3.17.4, package/dist/cdn.min.js
ALPINE_SHA256 = "0d18d7f8d7910e2e0212f0f056b12f50bebc3abb7d88d2f7c7cb4c336fe4519a"
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
NAMESAKES = {
    "agents": Agent,
    "alerts": Alert,
    "calendars": Calendar,
    "connections": Connection,
    "jobs": Job,
    "schedules": Schedule,
    "servers": Server,
    "task-instances": TaskInstance,
    "tasks": Task,
}


@pytest.fixture
def root(db):
    """A browser of a superuser, in an installation that has one object of each kind."""
    browser = client_of(superuser=True)
    now = timezone.now()
    agent, schedule = factories.agent(), factories.schedule(kind="cron", cron_expression="0 3 * * *")
    factories.task(job=schedule.job, now=now)
    claim(slots={agent.pk: 1}, now=now, lead_secs=2, lease_secs=30)
    server = Server.objects.create(name="a", version="1", started_at=now, last_heartbeat_at=now)
    Connection.objects.create(
        agent=agent, server=server, session_id=server.pk, epoch=server.pk, connected_at=now, last_activity=now
    )
    grant = Grant.objects.create(group=Group.objects.create(name="viewers"), role=Role.VIEWER, namespace="*")
    create_calendar(name="holidays", country="DE")
    freeze(namespace="frozen", now=now)
    create_rule(namespace="frozen", keep_days=30)
    Alert.objects.create(
        kind="missed", namespace="default", job=schedule.job, schedule=schedule, text="one was missed"
    )
    begin(verb=BulkVerb.RUN_JOBS, target_ids=[schedule.job_id], user=User.objects.get(), by=factories.ANN)
    create_backfill(schedule_id=schedule.pk, range_from=now - timedelta(days=9), range_to=now, now=now)
    issue(user=User.objects.get(), name=grant.role)
    return browser


def routes_of(patterns, before=""):
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from routes_of(pattern.url_patterns, route)


def paths_of_the_api():
    """Yield every path outside the admin, with the id of an object of ours where it has a parameter."""
    for route in routes_of(pattern for pattern in get_resolver().url_patterns if pattern.pattern != "admin/"):
        group = route.removeprefix("api/v1/").split("/")[0]
        named = NAMESAKES[group].objects.first().pk if group in NAMESAKES else 1
        yield "/" + PARAMETER.sub(str(named), route.replace("^api(?:/|$)", "api/nothing"))


def paths_of_the_admin():
    """Yield every path of the admin, with an object of the kind where it has a parameter."""
    for model, pages in admin.site._registry.items():
        found = model._default_manager.first()
        assert found is not None, f"make a {model.__name__} in the fixture, so that its pages are looked at"
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for route in routes_of(pages.get_urls()):
            yield base + PARAMETER.sub(str(found.pk), route)
        yield f"/admin/{model._meta.app_label}/"
        yield f"{base}add/?_popup=1"
    yield from ("/admin/" + route for route in ("", "login/", "password_change/", "password_change/done/"))
    yield from ("/admin/" + route for route in ("search/?s=job", "jsi18n/", "nothing", "autocomplete/"))


def is_page(response):
    return response.get("Content-Type", "").startswith("text/html")


def test_every_answer_has_a_policy_that_its_page_keeps(root):
    findings, count = {}, 0
    for path in [*paths_of_the_admin(), *paths_of_the_api()]:
        response = root.get(path, headers={"accept": "text/html"})
        policies = {PAGE_POLICY, POPUP_POLICY, REDOC_POLICY} if is_page(response) else {DATA_POLICY}
        assert response[CSP] in policies, path
        assert "no-store" in response["Cache-Control"], path
        if is_page(response) and response.content:
            count += 1
            if found := findings_of(response.content.decode()):
                findings[path] = found
    assert findings == {}
    assert count > 120


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        '<script type="module">alert(1)</script>',
        '<script src="https://cdn.example/x.js"></script>',
        '<img src="//cdn.example/x.png">',
        '<a href="#" onclick="go()">x</a>',
        '<a href=" java\nscript:go()">x</a>',
        '<form action="javascript:go()"></form>',
        '<base href="/">',
        '<div hx-on:click="go()"></div>',
        '<div x-init="document.title = 1"></div>',
        '<div x-on:click="if (a) { b() }"></div>',
        '<div x-bind:style="`width: ${a}px`"></div>',
        '<div x-on:click="items.forEach(item => hide(item))"></div>',
    ],
)
def test_what_a_policy_stops_is_found_in_a_page(html):
    assert findings_of(f"<html><body>{html}</body></html>") != []


@pytest.mark.parametrize(
    "html",
    [
        '<script src="/static/x.js"></script>',
        '<script type="application/json">{"a": 1}</script>',
        '<a href="https://example.com">x</a>',
        '<div x-on:focus="open = true; index = 0" x-show="kind == \'for; if\'"></div>',
        '<template x-for="(item, index) in items"></template>',
        '<div style="color: red; top: 0"></div>',
    ],
)
def test_what_a_policy_lets_pass_is_no_finding(html):
    assert findings_of(f"<html><body>{html}</body></html>") == []


def test_no_policy_lets_a_page_run_its_own_scripts_or_evaluate_text():
    for policy in (PAGE_POLICY, POPUP_POLICY, REDOC_POLICY, DATA_POLICY):
        directives = dict(part.split(" ", 1) for part in policy.split("; "))
        assert directives.get("script-src", directives["default-src"]) in ("'self'", "'none'")
        assert "unsafe-eval" not in policy
        assert directives["frame-ancestors"] == ("'self'" if policy == POPUP_POLICY else "'none'")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", {}, 404),
        ("/admin/login/", {"host": "evil.example"}, 400),
        ("/static/nothing.js", {}, 404),
        ("/admin/login/", {"cookie": "csrftoken=x"}, 403),
    ],
)
@pytest.mark.django_db
def test_error_pages_have_the_policy_and_no_trace(path, headers, status):
    client = Client(enforce_csrf_checks=True)
    response = client.post(path, headers=headers) if status == 403 else client.get(path, headers=headers)
    assert (response.status_code, response[CSP]) == (status, PAGE_POLICY)
    assert findings_of(response.content.decode()) == []
    assert "Traceback" not in response.content.decode()


@pytest.mark.parametrize("path", ["/admin/", "/api/v1/jobs"])
def test_a_page_that_fails_shows_nothing_of_the_reason(path, root, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("s3cret in /opt/hetuflow")

    monkeypatch.setattr(QuerySet, "count", fail)
    monkeypatch.setattr(QuerySet, "__iter__", fail)
    root.raise_request_exception = False
    response = root.get(path, headers={"accept": "text/html"})
    text = response.content.decode()
    assert response.status_code == 500
    assert response[CSP] == PAGE_POLICY
    assert [part for part in ("s3cret", "RuntimeError", "Traceback (", ".py") if part in text] == []


@pytest.mark.django_db
def test_a_form_in_a_frame_of_our_own_page_may_be_framed_by_it(root):
    path = "/admin/scheduling/job/add/"
    alone, framed = root.get(path), root.get(path, {"_popup": "1"})
    assert (alone[CSP], alone["X-Frame-Options"]) == (PAGE_POLICY, "DENY")
    assert (framed[CSP], framed["X-Frame-Options"]) == (POPUP_POLICY, "SAMEORIGIN")


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/jobs", "/api/docs", "/static/hetuflow/admin.js"])
@pytest.mark.django_db
def test_every_answer_is_what_it_says_and_for_our_own_pages(path, client):
    response = client.head(path)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in response
    assert ("camera=()" in response.get("Permissions-Policy", "")) == is_page(response)


def test_files_may_be_kept_and_nothing_else(client):
    assert client.head("/static/hetuflow/admin.js")["Cache-Control"] == "max-age=60, public"
    assert client.get("/api/docs")["Cache-Control"] == "no-store"


def test_the_admin_gets_the_build_of_alpine_that_needs_no_eval():
    found = Path(finders.find("unfold/js/alpine/alpine.js"))
    assert found.is_relative_to(ROOT / "hetuflow")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == ALPINE_SHA256


def test_every_phrase_of_the_adapter_is_one_that_alpine_would_not_read_by_itself():
    phrases, _select = adapter_rules()
    assert phrases
    for said, meant in phrases:
        assert NOT_ALPINE.search(TEXT.sub("''", said))
        assert not NOT_ALPINE.search(TEXT.sub("''", meant))
