"""The admin's pages that let machines in, and end what they came in with."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from agents import enrollment
from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import Agent, AgentToken, EnrollmentToken
from agents.tokens import authenticate_token, issue_token, revoke_token
from gateway.models import Connection, Server
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
ENROL = reverse("admin:agents_agent_enrol")
ARRIVAL = reverse("admin:agents_agent_arrival")
LIST = reverse("admin:agents_agent_changelist")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def page(agent):
    return reverse("admin:agents_agent_change", args=[agent.pk])


def press(browser, button, agent, **data):
    return browser.post(reverse(f"admin:agents_agent_{button}", args=[agent.pk]), data, follow=True)


def secret_in(response):
    return re.search(r"--enroll (hfe_[\w-]+)", response.context["command"])[1]


def enroll(secret, **fields):
    agent, _issued = enrollment.enroll(secret=secret, now=database_now(), **fields)
    return agent


def connect(agent):
    now = timezone.now()
    server = Server.objects.create(name="s", version="1", started_at=now, last_heartbeat_at=now)
    Connection.objects.create(
        agent=agent, server=server, session_id=server.pk, epoch=server.pk, connected_at=now, last_activity=now
    )


# --- enrolling ----------------------------------------------------------------------------------------


def test_one_press_in_the_list_makes_the_usual_token_and_shows_the_command(browser):
    assert f'<form method="post" action="{ENROL}"' in browser.get(LIST).content.decode()
    response = browser.post(ENROL)
    stored = EnrollmentToken.objects.get()
    assert (stored.name, stored.labels, stored.agent, stored.created_by) == ("", {}, None, "root")
    assert stored.expires_at - stored.created_at == enrollment.DEFAULT_LIFE
    assert enroll(secret_in(response), hostname="mill-3").name == "mill-3"


def test_looking_makes_no_token_nor_does_a_form_of_another_site(browser):
    assert "command" not in browser.get(ENROL).context
    elsewhere = Client(enforce_csrf_checks=True)
    elsewhere.force_login(User.objects.get(username="root"))
    assert elsewhere.post(ENROL).status_code == 403
    assert not EnrollmentToken.objects.exists()


def test_what_the_form_below_a_command_makes_takes_its_place(browser):
    first = browser.post(ENROL)
    replaced = first.context["replaces"]
    assert f'name="replaces" value="{replaced}"' in first.content.decode()
    wrong = browser.post(ENROL, {"replaces": replaced, "labels": "zone"})
    assert f'name="replaces" value="{replaced}"' in wrong.content.decode()
    second = browser.post(ENROL, {"replaces": replaced, "name": "build-7"})
    stored = EnrollmentToken.objects.get()
    assert (stored.name, stored.pk) == ("build-7", second.context["replaces"])
    with pytest.raises(TokenRefused):
        enroll(secret_in(first))
    enroll(secret_in(second))
    browser.post(ENROL, {"replaces": stored.pk})
    assert EnrollmentToken.objects.filter(pk=stored.pk).exists(), "what a machine used stays in the records"


def test_the_list_renews_its_rows(browser):
    factories.agent()
    content = browser.get(LIST).content.decode()
    assert 'data-refresh-of="result_list"' in content
    assert 'id="result_list"' in content


def test_the_page_shows_the_command_once(browser):
    response = browser.post(ENROL, {"name": "build-7", "labels": "zone=eu", "life": "3600"})
    stored = EnrollmentToken.objects.get()
    assert (stored.name, stored.labels, stored.created_by) == ("build-7", {"zone": "eu"}, "root")
    assert stored.expires_at - stored.created_at == timedelta(hours=1)
    assert response.context["command"].startswith("python -m agents.daemon --server ws://testserver --enroll")
    assert "no-store" in response["Cache-Control"]
    secret = secret_in(response)
    for url in (ENROL, LIST, f"{ARRIVAL}?enrolment={stored.pk}"):
        assert secret not in browser.get(url).content.decode()
    agent = enroll(secret)
    assert (agent.name, agent.labels) == ("build-7", {"zone": "eu"})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "x" * 256, "life": "900"}, "name"),
        ({"labels": "zone", "life": "900"}, "labels"),
        ({"labels": "zone=" + "x" * 256, "life": "900"}, "labels"),
        ({"life": "12345678"}, "life"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_no_token_is_made(browser, values, field):
    response = browser.post(ENROL, values)
    assert list(response.context["form"].errors) == [field]
    assert not EnrollmentToken.objects.exists()


def test_a_machine_can_become_an_agent_that_is_there(browser):
    agent = factories.agent()
    url = browser.get(page(agent)).context["enrol_url"]
    form = browser.get(url).context["form"]
    assert list(form.fields) == ["life"]
    response = browser.post(url, {"name": "ignored", "labels": "a=b", "life": "900"})
    assert EnrollmentToken.objects.get().agent == agent
    assert enroll(secret_in(response)) == agent


@pytest.mark.parametrize("wanted", ["nothing", "00000000-0000-0000-0000-000000000000"])
def test_for_an_agent_that_is_not_there_no_token_is_made(browser, wanted):
    response = browser.post(f"{ENROL}?agent={wanted}", {"life": "900"}, follow=True)
    assert "Perhaps it was deleted?" in response.content.decode()
    assert not EnrollmentToken.objects.exists()


def test_the_page_tells_how_far_the_machine_has_come_until_there_is_nothing_to_wait_for(browser):
    response = browser.post(ENROL, {"name": "build-7", "life": "900"})
    row = EnrollmentToken.objects.get()

    def look():
        answer = browser.get(f"{ARRIVAL}?enrolment={row.pk}")
        content = answer.content.decode()
        assert 'id="hf-arrival"' in content
        return answer.context["state"], "data-refresh-secs" in content, content

    assert 'id="hf-arrival"' in response.content.decode()
    state, goes_on, content = look()
    assert (state, goes_on) == ("waiting", True)
    assert re.search(r"expires in 1[45] min \d+ s", content)
    agent = enroll(secret_in(response))
    state, goes_on, content = look()
    assert (state, goes_on, "build-7" in content) == ("enrolled", True, True)
    connect(agent)
    state, goes_on, content = look()
    assert (state, goes_on, page(agent) in content) == ("connected", False, True)
    assert ">online<" in content
    in_chinese = browser.get(
        ARRIVAL, {"enrolment": EnrollmentToken.objects.get().pk}, HTTP_ACCEPT_LANGUAGE="zh-hans"
    )
    assert ">在线<" in in_chinese.content.decode()


def test_a_token_that_expired_or_was_taken_back_is_not_waited_for(browser):
    now = database_now()
    old = enrollment.create_enrollment_token(now=now - timedelta(minutes=16)).row
    for wanted, state in ((old.pk, "expired"), (old.pk + 1, "gone"), ("x", "gone"), ("", "gone")):
        response = browser.get(ARRIVAL, {"enrolment": wanted})
        assert response.context["state"] == state
        assert b"data-refresh-secs" not in response.content


def test_tokens_that_wait_are_listed_and_can_be_taken_back(browser):
    now, agent = database_now(), factories.agent()
    waiting = enrollment.create_enrollment_token(now=now, name="build-7")
    enrollment.create_enrollment_token(now=now, agent=agent)
    enrollment.create_enrollment_token(now=now - timedelta(hours=1), name="expired")
    used = enrollment.create_enrollment_token(now=now, name="used")
    enroll(used.secret)
    listed = browser.get(ENROL).context["waiting"]
    assert [item["name"] for item in listed] == [agent.name, "build-7"]
    response = browser.post(ENROL, {"take_back": waiting.row.pk}, follow=True)
    assert "good for nothing any more" in response.content.decode()
    assert not EnrollmentToken.objects.filter(pk=waiting.row.pk).exists()
    for gone in (waiting.row.pk, used.row.pk):
        response = browser.post(ENROL, {"take_back": gone}, follow=True)
        assert "has used the token already" in response.content.decode()
    assert browser.post(ENROL, {"take_back": "x"}, follow=True).status_code == 200
    assert EnrollmentToken.objects.filter(pk=used.row.pk).exists()


# --- tokens of an agent -------------------------------------------------------------------------------


def test_the_page_lists_the_tokens_of_the_agent_with_their_state(browser):
    agent, now = factories.agent(), database_now()
    issue_token(agent=agent, name="expired", expires_at=now - timedelta(seconds=1), by=factories.ANN)
    revoke_token(token_id=issue_token(agent=agent, name="revoked").row.pk, now=now)
    good = issue_token(agent=agent, name="good")
    issue_token(agent=factories.agent(), name="of another agent")
    response = browser.get(page(agent))
    listed = [(item["row"].name, item["is_valid"]) for item in response.context["tokens"]]
    assert listed == [("good", True), ("revoked", False), ("expired", False)]
    content = response.content.decode()
    badges = re.findall(r'<span class="hf-badge [^>]*>(valid|revoked|expired)</span>', content)
    assert badges == ["valid", "revoked", "expired"]
    assert good.row.digest not in content
    assert content.count('name="token"') == 1
    assert 'data-confirm="Revoke this token?' in content


def test_a_token_is_issued_with_a_name_and_an_end(browser):
    agent = factories.agent()
    response = press(browser, "issue_token", agent, name="laptop", life="30")
    row = authenticate_token(secret=response.context["token"], now=database_now())
    assert (row.agent, row.name, row.created_by) == (agent, "laptop", "root")
    assert row.expires_at - row.created_at == timedelta(days=30)
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("values", [{"name": "x" * 256}, {"life": "31"}])
def test_a_bad_wish_for_a_token_issues_none(browser, values):
    agent = factories.agent()
    assert "token" not in press(browser, "issue_token", agent, **values).context
    assert not AgentToken.objects.exists()


def test_a_rotation_shows_the_new_token_and_ends_the_others_in_a_day(browser):
    agent = factories.agent()
    old = issue_token(agent=agent, name="enrolment")
    response = press(browser, "rotate_tokens", agent)
    fresh = authenticate_token(secret=response.context["token"], now=database_now())
    assert (fresh.name, fresh.expires_at) == ("enrolment", None)
    old.row.refresh_from_db()
    assert old.row.expires_at - fresh.created_at == timedelta(days=1)


def test_a_token_is_revoked_by_its_own_agents_page_alone(browser):
    agent, other = factories.agent(), factories.agent()
    issued, foreign = issue_token(agent=agent), issue_token(agent=other)
    for wanted in (foreign.row.pk, "x", ""):
        assert "no such token" in press(browser, "revoke_token", agent, token=wanted).content.decode()
    assert "is revoked" in press(browser, "revoke_token", agent, token=issued.row.pk).content.decode()
    assert list(AgentToken.objects.filter(revoked_at__isnull=True)) == [foreign.row]


def test_what_is_done_here_is_in_the_audit_log(browser):
    agent = factories.agent()
    token = issue_token(agent=agent)
    browser.post(ENROL, {"life": "900"})
    browser.post(ENROL, {"take_back": EnrollmentToken.objects.get().pk})
    press(browser, "issue_token", agent)
    press(browser, "rotate_tokens", agent)
    press(browser, "revoke_token", agent, token=token.row.pk)
    entries = AuditEntry.objects.filter(actor="root").exclude(action="user.login").order_by("pk")
    assert list(entries.values_list("action", flat=True)) == [
        "enrollment_token.create",
        "enrollment_token.revoke",
        "agent_token.create",
        "agent_token.rotate",
        "agent_token.revoke",
    ]


@pytest.mark.parametrize("grant", [("editor", "*"), ("admin", "team")])
def test_who_is_no_admin_of_everything_sees_and_does_nothing_of_it(grant):
    agent = factories.agent()
    token = issue_token(agent=agent)
    before = list(AgentToken.objects.values())
    browser = browser_with(grant)
    assert ENROL not in browser.get(LIST).content.decode()
    assert 'id="tokens"' not in browser.get(page(agent)).content.decode()
    statuses = [
        browser.get(ENROL).status_code,
        browser.post(ENROL, {"life": "900"}).status_code,
        browser.get(ARRIVAL, {"enrolment": 1}).status_code,
        press(browser, "issue_token", agent).status_code,
        press(browser, "rotate_tokens", agent).status_code,
        press(browser, "revoke_token", agent, token=token.row.pk).status_code,
    ]
    assert statuses == [403] * 6
    assert list(AgentToken.objects.values()) == before
    assert not EnrollmentToken.objects.exists()


def test_without_agents_the_overview_shows_how_to_begin(browser):
    assert not Agent.objects.exists()
    assert ENROL in browser.get(reverse("admin:index")).content.decode()
