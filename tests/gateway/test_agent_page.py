"""The page of an agent: how it is, what its machine did, what runs there, and its own log."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent, AgentSample
from gateway import agent_page
from gateway.models import AgentLog
from scheduling.services.claiming import claim
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:agents_agent_changelist")
MINUTE = timedelta(minutes=1)
LEVELS = ("debug", "info", "warning", "error", "critical")


@pytest.fixture
def browser():
    return client_of(superuser=True)


@pytest.fixture
def agent():
    return factories.agent()


def url(agent, name="change"):
    return reverse(f"admin:agents_agent_{name}", args=[agent.pk])


def sample(agent, *, ago, cpu=10.0, running=1):
    at = timezone.now().replace(second=0, microsecond=0) - ago
    AgentSample.objects.create(agent=agent, at=at, running=running, cpu_usage=cpu, memory_usage=50)


def write(agent, *messages, level="info"):
    for message in messages:
        AgentLog.objects.create(agent=agent, at=timezone.now(), level=level, message=message)


def messages(response):
    return [line["message"] for line in response.context["lines"]]


# --- how it is -----------------------------------------------------------------------------------------


def test_one_reads_since_when_an_agent_is_there_or_gone(browser, agent):
    now = timezone.now()
    Agent.objects.filter(pk=agent.pk).update(
        connected_at=now - 3 * MINUTE, last_heartbeat_at=now - timedelta(hours=5)
    )
    for page in (LIST, url(agent)):
        assert b">3 minutes ago</time>" in browser.get(page).content
    Agent.objects.filter(pk=agent.pk).update(status="offline", connected_at=None)
    content = browser.get(url(agent)).content.decode()
    assert "last heard of" in content
    assert ">5 hours ago</time>" in content


@pytest.mark.parametrize(("version", "is_marked"), [("0.0.1", True), ("", False), (None, False)])
def test_a_version_other_than_the_servers_is_marked(browser, agent, settings, version, is_marked):
    own = settings.HETUFLOW_VERSION if version is None else version
    Agent.objects.filter(pk=agent.pk).update(version=own)
    told = f"The server has version {settings.HETUFLOW_VERSION}."
    for page in (LIST, url(agent), url(agent, "now")):
        assert (told in browser.get(page).content.decode()) is is_marked


def test_the_part_that_renews_itself_says_what_runs(browser, agent):
    factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    content = browser.get(url(agent, "now")).content.decode()
    assert "1 of 4 slots" in content
    assert 'id="hf-agent-now" data-refresh-secs="3"' in content
    assert f'data-refresh-url="{url(agent, "now")}"' in content
    assert f'action="{url(agent, "drain")}"' in content


def test_draining_resuming_and_disabling_ask_first(browser, agent):
    content = browser.get(url(agent)).content.decode()
    assert "Drain this agent?" in content
    assert "Disable this agent?" in content
    Agent.objects.filter(pk=agent.pk).update(status="draining")
    assert "Let this agent take new work again?" in browser.get(url(agent)).content.decode()


def test_the_page_leads_to_the_timeline_of_the_agent(browser, agent):
    link = f"{reverse('admin:scheduling_taskinstance_timeline')}?agent={agent.name}"
    assert link in browser.get(url(agent)).content.decode()
    assert link not in client_of("agents.view_agent").get(url(agent)).content.decode()


# --- what its machine did ------------------------------------------------------------------------------


def test_what_the_machine_did_is_drawn(browser, agent):
    assert b"Nothing is known yet" in browser.get(url(agent, "usage")).content
    sample(agent, ago=2 * MINUTE, cpu=30, running=3)
    sample(agent, ago=timedelta(hours=3), cpu=80)
    sample(agent, ago=timedelta(hours=25), cpu=99)
    for page in (url(agent), url(agent, "usage")):
        chart = browser.get(page).context["chart"]
        assert len(chart["rows"]) == 2
        assert "CPU 80 %, RAM 50 %, at most 1 at once" in chart["rows"][0]
        assert "CPU 30 %, RAM 50 %, at most 3 at once" in chart["rows"][1]
        assert chart["most_running"] == 3


def test_the_list_draws_the_last_two_hours_and_the_present_of_those_who_are_there(browser, agent):
    Agent.objects.filter(pk=agent.pk).update(metrics={"cpu_usage": 12.4, "memory_usage": "much"})
    sample(agent, ago=MINUTE, cpu=70)
    sample(agent, ago=timedelta(hours=3), cpu=99)
    content = browser.get(LIST).content.decode()
    assert 'aria-label="CPU: now 12 %, at most 70 %"' in content
    assert 'aria-label="RAM: now –, at most 50 %"' in content
    Agent.objects.filter(pk=agent.pk).update(status="offline")
    assert 'aria-label="CPU: now –, at most 70 %"' in browser.get(LIST).content.decode()


# --- its log -------------------------------------------------------------------------------------------


def test_the_newest_lines_stand_first_and_lead_to_all(browser, agent):
    write(agent, *(f"line {number}" for number in range(12)))
    context = browser.get(url(agent)).context
    assert [line["message"] for line in context["log_lines"]] == [f"line {n}" for n in range(11, 1, -1)]
    assert context["log_url"] == url(agent, "log")
    assert len(messages(browser.get(context["log_url"]))) == 12


def test_lines_are_paged_without_a_gap(browser, agent, monkeypatch):
    monkeypatch.setattr(agent_page, "_LINES_OF_PAGE", 3)
    write(agent, *"abcdefgh")
    response = browser.get(url(agent, "log"))
    assert 'data-refresh-secs="5"' in response.content.decode()
    read = messages(response)
    while response.context["older_url"]:
        response = browser.get(response.context["older_url"])
        read += messages(response)
        assert 'data-refresh-secs="5"' not in response.content.decode()
    assert read == list("hgfedcba")
    assert messages(browser.get(response.context["newest_url"])) == list("hgf")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["critical", "error", "warning", "info", "debug"]),
        ({"level": "info"}, ["critical", "error", "warning", "info"]),
        ({"level": "warning"}, ["critical", "error", "warning"]),
        ({"level": "error"}, ["critical", "error"]),
        ({"level": "nonsense"}, ["critical", "error", "warning", "info", "debug"]),
        ({"text": "ERR"}, ["error"]),
        ({"text": "r", "level": "error"}, ["critical", "error"]),
        ({"text": "\x00"}, ["critical", "error", "warning", "info", "debug"]),
        ({"before": "٦"}, ["critical", "error", "warning", "info", "debug"]),
        ({"before": "1"}, []),
        ({"before": "9" * 40}, ["critical", "error", "warning", "info", "debug"]),
    ],
)
def test_lines_are_found_by_level_and_text(browser, agent, asked, found):
    for level in LEVELS:
        write(agent, level, level=level)
    write(factories.agent(), "another's")
    assert messages(browser.get(url(agent, "log"), asked)) == found


def test_what_a_log_says_is_text_with_its_controls_shown(browser, agent):
    write(agent, "<b>\x1b[31m")
    content = browser.get(url(agent, "log")).content.decode()
    assert "<b>\x1b" not in content
    assert "&lt;b&gt;␛[31m" in content


def test_who_may_not_read_logs_reads_none():
    agent = factories.agent()
    write(agent, "secret")
    viewer = browser_with(("viewer", "ours"))
    assert viewer.get(url(agent)).context["log_url"] == ""
    assert b"secret" not in viewer.get(url(agent)).content
    assert viewer.get(url(agent, "log")).status_code == 403
    for name in ("now", "usage"):
        assert viewer.get(url(agent, name)).status_code == 200
    stranger = client_of("scheduling.view_job")
    for name in ("now", "usage", "log"):
        assert stranger.get(url(agent, name)).status_code == 403


def test_the_parts_and_pages_of_an_agent_that_is_not_there_lead_to_the_list(browser, agent):
    Agent.objects.filter(pk=agent.pk).update(archived_at=timezone.now())
    for name in ("now", "usage", "log"):
        assert browser.get(url(agent, name)).status_code == 302


@pytest.mark.parametrize(("name", "queries"), [("now", 4), ("usage", 4), ("log", 5), ("change", 10)])
def test_it_takes_as_many_queries_for_much_as_for_little(
    browser, agent, name, queries, django_assert_num_queries
):
    browser.get(url(agent, name))
    with django_assert_num_queries(queries):
        browser.get(url(agent, name))
    for number in range(4):
        factories.task(now=timezone.now())
        sample(agent, ago=number * MINUTE)
        write(agent, "line")
    claim(slots={agent.pk: 4}, now=timezone.now(), lead_secs=2, lease_secs=30)
    with django_assert_num_queries(queries):
        browser.get(url(agent, name))


def test_it_is_read_in_chinese(browser, agent):
    sample(agent, ago=MINUTE)
    chinese = {"accept-language": "zh-hans"}
    assert "最近 24 小时" in browser.get(url(agent), headers=chinese).content.decode()
    assert "级别" in browser.get(url(agent, "log"), headers=chinese).content.decode()
