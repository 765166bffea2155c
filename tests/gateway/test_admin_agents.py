from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from agents.tokens import authenticate_token
from gateway.models import AgentCommand, Server
from gateway.servers import register_server
from scheduling.models import TaskInstance
from scheduling.services.claiming import claim
from tests import factories
from tests.admin_client import client_of, form_values

pytestmark = pytest.mark.django_db
LIST = reverse("admin:agents_agent_changelist")
ADD = reverse("admin:agents_agent_add")


def page(agent):
    return reverse("admin:agents_agent_change", args=[agent.pk])


def press(browser, name, agent):
    return browser.post(reverse(f"admin:agents_agent_{name}", args=[agent.pk]), follow=True)


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_an_agent_is_added_with_labels_and_nothing_else_is_asked(browser):
    values = form_values(browser.get(ADD)) | {"name": "worker", "labels": "zone=eu"}
    assert browser.post(ADD, values).status_code == 302
    assert Agent.objects.get(name="worker").labels == {"zone": "eu"}


def test_a_taken_name_and_bad_labels_are_reported_at_their_fields(browser):
    taken = factories.agent().name
    response = browser.post(ADD, form_values(browser.get(ADD)) | {"name": taken})
    assert "exists already" in str(response.context["adminform"].form.errors["name"])
    response = browser.post(ADD, form_values(browser.get(ADD)) | {"name": "new", "labels": "x" * 300 + "=1"})
    assert response.context["adminform"].form.errors["labels"]
    assert Agent.objects.count() == 1


def test_labels_of_operators_are_edited_and_those_of_the_agent_stay(browser):
    agent = factories.agent(labels={"zone": "eu"})
    browser.post(page(agent), form_values(browser.get(page(agent))) | {"labels": "gpu=a100"})
    agent.refresh_from_db()
    assert (agent.assigned_labels, agent.reported_labels) == ({"gpu": "a100"}, {"zone": "eu"})


def test_an_agent_that_never_came_says_so_and_shows_no_slots(browser):
    factories.agent(slots=0)
    content = browser.get(LIST).content.decode()
    assert "never connected" in content
    assert "0 / 0" not in content


def test_what_the_machine_tells_is_told_with_names_and_units(browser):
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(metrics={"memory_usage": 41.6, "uptime": 7320})
    content = browser.get(page(agent)).content.decode()
    assert "<dt>Memory in use</dt><dd>42 %</dd>" in content
    assert "<dt>Daemon runs for</dt><dd>2 h 2 min</dd>" in content


def test_a_token_is_shown_once_works_and_is_not_kept_by_caches(browser):
    agent = factories.agent()
    response = press(browser, "issue_token", agent)
    token = response.context["token"]
    assert token.encode() in response.content
    assert "no-store" in response["Cache-Control"]
    assert authenticate_token(secret=token, now=timezone.now()).agent == agent
    assert token.encode() not in browser.get(page(agent)).content


def test_drain_and_resume_queue_commands(browser):
    agent = factories.agent()
    press(browser, "drain", agent)
    Agent.objects.filter(pk=agent.pk).update(status="draining")
    press(browser, "resume", agent)
    assert list(AgentCommand.objects.order_by("pk").values_list("command", flat=True)) == ["drain", "resume"]


def test_draining_an_offline_agent_is_refused_with_a_message(browser):
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(status="offline")
    assert b"The agent is offline" in press(browser, "drain", agent).content
    assert not AgentCommand.objects.exists()


def test_disabling_keeps_work_away(browser):
    agent = factories.agent()
    press(browser, "disable", agent)
    factories.task(now=timezone.now())
    assert claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30) == []
    press(browser, "enable", agent)
    agent.refresh_from_db()
    assert agent.enabled


def test_the_page_shows_what_runs_there(browser):
    agent = factories.agent()
    factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    response = browser.get(page(agent))
    assert [item["attempt"] for item in response.context["running"]] == list(TaskInstance.objects.all())
    assert b"1 of 4 slots" in response.content
    assert b"1 / 4" in browser.get(LIST).content


def test_who_may_see_agents_but_no_attempts_sees_no_attempts():
    agent = factories.agent()
    factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    browser = client_of("agents.view_agent")
    response = browser.get(page(agent))
    assert response.context["running"] == response.context["buttons"] == []
    for name in ("drain", "resume", "enable", "disable", "issue_token"):
        assert press(browser, name, agent).status_code == 403


def test_an_agent_cannot_be_deleted(browser):
    url = reverse("admin:agents_agent_delete", args=[factories.agent().pk])
    assert browser.get(url).status_code == 403


def test_the_list_takes_as_many_queries_for_twenty_agents_as_for_one(browser, django_assert_num_queries):
    factories.agent()
    browser.get(LIST)
    with django_assert_num_queries(7):
        browser.get(LIST)
    for _ in range(19):
        factories.agent()
    with django_assert_num_queries(7):
        assert browser.get(LIST).context["cl"].result_count == 20


def test_servers_are_listed_with_their_state_and_cannot_be_changed(browser):
    now = timezone.now()
    for number, age in enumerate((0, 3600)):
        register_server(
            server_id=factories.agent().pk,
            name=f"server-{number}",
            address="",
            version="1",
            now=now - timedelta(seconds=age),
        )
    content = browser.get(reverse("admin:gateway_server_changelist")).content
    assert b">active<" in content
    assert b">inactive<" in content
    server = Server.objects.get(name="server-0")
    url = reverse("admin:gateway_server_change", args=[server.pk])
    assert browser.get(url).status_code == 200
    assert browser.post(url, {"name": "x"}).status_code == 405
