"""What a browser sees: every route has a page, with forms for what can be done from there."""

import json
import re

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.http import QueryDict
from django.test import Client
from django.utils.html import escape

from access.models import Grant
from access.roles import Role
from gateway.api import health
from rest.browsable.filters import page_links, panel_of
from scheduling.api.filters import JOBS, TASKS
from scheduling.models import Job, Task
from scheduling.services.output import append_output
from tests import factories
from tests.openapi import operations
from tests.rest.world import World

pytestmark = pytest.mark.django_db
# As browsers ask.
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def browser(db):
    """A browser in which an administrator is logged in; it must send CSRF tokens."""
    client = Client(enforce_csrf_checks=True, headers=HTML)
    client.force_login(User.objects.create_superuser("ann"))
    return client


def offered(page):
    """Return method and path of every form of a page that sends JSON."""
    forms = re.findall(r'<form class="send" method="post" action="([^"]*)" data-method="(\w+)"', page)
    return {(method, path) for path, method in forms}


def readable(response):
    return response.content.decode()


@pytest.mark.parametrize(
    "name", [name for name, one in operations().items() if one.method == "get" and name != "prometheus"]
)
def test_every_path_that_can_be_read_has_a_page(browser, name):
    path = World().path(operations()[name])

    response = browser.get(path)

    assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>" in readable(response)


@pytest.mark.parametrize("name", [name for name, one in operations().items() if one.method == "post"])
def test_every_path_that_is_posted_to_has_a_page_with_its_form(browser, name):
    operation, world = operations()[name], World()
    path = world.path(operation)
    page = browser.get(path)

    assert ("POST", path) in offered(readable(page))
    assert page.status_code in (200, 405)
    for body in operation.body_examples().values():
        assert escape(json.dumps(body, indent=2, ensure_ascii=False)) in readable(page)


def test_a_program_gets_405_and_404_as_before(browser):
    for path, status in (("/api/v1/jobs/query", 405), ("/api/v1/nothing", 404)):
        response = browser.get(path, headers={"accept": "application/json"})
        assert (response.status_code, response["Content-Type"]) == (status, "application/json")
        page = browser.get(path)
        assert (page.status_code, page["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_a_job_can_be_changed_deleted_switched_and_triggered_from_its_page(browser):
    job = factories.job(name="backup")
    path = f"/api/v1/jobs/{job.pk}"

    page = readable(browser.get(path))

    assert offered(page) == {
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/enable"),
        ("POST", f"{path}/disable"),
        ("POST", f"{path}/trigger"),
    }
    assert "&quot;name&quot;: &quot;backup&quot;" in page
    for link in (
        f"/api/v1/tasks/job/{job.pk}",
        f"/api/v1/schedules/job/{job.pk}",
        "/api/v1/jobs/namespace/default",
    ):
        assert f'href="{link}"' in page
    assert "/api/redoc#tag/jobs/operation/jobs_trigger" in page


def test_what_one_may_not_do_is_not_offered():
    group = Group.objects.create(name="readers")
    Grant.objects.create(group=group, namespace="default", role=Role.VIEWER)
    bob = User.objects.create_user("bob")
    bob.groups.add(group)
    client = Client(headers=HTML)
    client.force_login(bob)
    job = factories.job()

    page = readable(client.get(f"/api/v1/jobs/{job.pk}"))

    assert offered(page) == set()
    assert f"/api/v1/tasks/job/{job.pk}" in page
    assert offered(readable(client.get("/api/v1/jobs"))) == {("POST", "/api/v1/jobs/query")}


def test_a_form_sends_json_with_its_csrf_token(browser):
    page = readable(browser.get("/api/v1/jobs"))
    token = re.search(r'<body data-csrf="(\w+)"', page)
    body = json.dumps({"name": "made", "config": {"cmd": "bash", "args": ["-c", "true"]}})

    def post(**headers):
        return browser.post("/api/v1/jobs", body, content_type="application/json", headers=headers)

    assert post().status_code == 403
    created = post(**{"X-CSRFToken": token[1]})

    assert created.status_code == 201
    assert Job.objects.get().name == "made"
    assert f'href="/api/v1/jobs/{Job.objects.get().pk}"' in readable(created)


def test_what_a_trigger_answers_leads_to_the_task(browser):
    job = factories.job()
    factories.task(job=job)
    token = re.search(r'data-csrf="(\w+)"', readable(browser.get("/api/v1")))
    made = browser.post(
        f"/api/v1/jobs/{job.pk}/trigger", content_type="application/json", headers={"X-CSRFToken": token[1]}
    )
    task = Task.objects.latest("pk")
    assert f'<a href="/api/v1/tasks/{task.pk}">{task.pk}</a>' in readable(made)
    assert f'<a href="/api/v1/jobs/{job.pk}">{job.pk}</a>' in readable(made)


def test_errors_are_said_in_words(browser):
    page = browser.get("/api/v1/jobs?colour=red&limit=0")
    assert page.status_code == 400
    assert "<code>colour</code> unknown parameter; filters are id, namespace" in readable(page)
    assert "<code>limit</code> expected a whole number from 1 to 500" in readable(page)
    assert 'class="filters"' in readable(page)


def test_a_stranger_is_led_to_the_login(client):
    page = client.get("/api/v1/jobs?limit=5", headers=HTML)
    assert (page.status_code, page["WWW-Authenticate"]) == (401, 'Bearer realm="hetuflow"')
    assert 'href="/admin/login/?next=/api/v1/jobs%3Flimit%3D5"' in readable(page)
    assert offered(readable(page)) == set()


def test_the_page_of_health_asks_for_nothing_that_may_be_away(
    browser, monkeypatch, django_assert_num_queries
):
    def refuse(**_parameters):
        raise psycopg.OperationalError

    monkeypatch.setattr(health, "_probe", health.HealthProbe())
    monkeypatch.setattr(health.psycopg, "connect", refuse)
    with django_assert_num_queries(0):
        page = browser.get("/api/v1/health")
    assert (page.status_code, page["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "unhealthy" in readable(page)


def test_what_people_wrote_is_shown_and_does_nothing(browser):
    factories.job(name="<script>alert(1)</script>", description='"><img src=x>')
    for path in ("/api/v1/jobs", f"/api/v1/jobs/{Job.objects.get().pk}", "/api/v1/jobs?name=<script>"):
        page = readable(browser.get(path))
        assert "<script>alert" not in page
        assert "<img src=x>" not in page


def test_no_page_holds_a_script_or_style_of_its_own(browser):
    for path in ("/api/v1", "/api/v1/jobs", f"/api/v1/jobs/{factories.job().pk}", "/api/v1/metrics"):
        page = readable(browser.get(path))
        assert re.findall(r"<script(?! src=)", page) == []
        assert re.findall(r"<style|\bstyle=|\bon\w+=|https?://(?!testserver)", page) == []


def test_output_is_read_as_it_was_printed(browser):
    attempt = World().attempt()
    append_output(instance=attempt, data=b"<b>one</b>\n", at=factories.NOW)
    path = f"/api/v1/task-instances/{attempt.pk}/logs"
    page = browser.get(path)
    assert "&lt;b&gt;one&lt;/b&gt;" in readable(page)
    assert 'href="?format=txt"' in readable(page)
    assert browser.get(f"{path}?format=txt").content == b"<b>one</b>\n"
    assert json.loads(browser.get(f"{path}?format=json").content)["text"] == "<b>one</b>\n"
    assert browser.get(f"{path}?limit=0").status_code == 400


def rows(query):
    return {
        row.name: (row.operator, row.value)
        for row in panel_of(JOBS, QueryDict(query)).rows
        if row.values or row.operator.startswith("is_null")
    }


def test_the_filter_panel_shows_what_is_filtered():
    assert rows("") == {}
    assert rows("name__icontains=a&enabled=true&tags=x,y") == {
        "name": ("icontains", "a"),
        "enabled": ("eq", "true"),
        "tags": ("contains", "x,y"),
    }
    assert rows("created_at__gte=2026-01-02T03:04:05%2B01:00") == {
        "created_at": ("gte", "2026-01-02T02:04:05")
    }
    assert rows("description__is_null=true")["description"] == ("is_null=true", "")
    assert rows("id__in=1,2,3") == {"id": ("in", "1,2,3")}
    assert rows("created_at=never&colour=red") == {"created_at": ("eq", "")}


def test_statuses_are_chosen_from_a_list():
    (row,) = [
        row for row in panel_of(TASKS, QueryDict("status__in=failed,cancelled")).rows if row.name == "status"
    ]
    assert (row.entry, row.takes_many, row.values) == ("choice", True, ("failed", "cancelled"))
    assert "waiting_retry" in row.choices


@pytest.mark.parametrize(
    ("query", "page", "links"),
    [
        ("name=a&page=2", (2, 20, True), {"previous": "?name=a&page=1", "next": "?name=a&page=3"}),
        ("limit=5", (1, 5, True), {"next": "?limit=5&page=2"}),
        ("offset=7&limit=5", (2, 5, False), {"previous": "?offset=2&limit=5"}),
        ("offset=3&limit=5", (1, 5, True), {"previous": "?offset=0&limit=5", "next": "?offset=8&limit=5"}),
        ("", (1, 20, False), {}),
    ],
)
def test_pages_keep_the_filters(query, page, links):
    number, limit, has_more = page
    found = page_links(QueryDict(query), {"page": number, "limit": limit, "has_more": has_more, "total": 99})
    assert found == links


def test_a_list_is_a_table_whose_heads_order_it(browser):
    for number in range(3):
        factories.job(name=f"job {number}")
    page = readable(browser.get("/api/v1/jobs?limit=2&name__contains=job"))
    assert page.count("<tr>") == 3
    assert 'href="?limit=2&amp;name__contains=job&amp;order_by=name"' in page
    assert 'rel="next" href="?limit=2&amp;name__contains=job&amp;page=2"' in page
    assert "Page 1, 3 in all" in page
    ordered = readable(browser.get("/api/v1/jobs?order_by=name"))
    assert ordered.index("job 0") < ordered.index("job 2")
    assert 'href="?order_by=-name"' in ordered
