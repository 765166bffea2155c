"""Agents: what one does is followed, drained and resumed, and its log is read."""

import pytest
from playwright.sync_api import expect

from agents.models import CONNECTED_STATUSES, Agent
from scheduling.clock import database_now
from scheduling.services import manual
from tests import factories
from tests.e2e.oracle import until

LIST = "/admin/agents/agent/"


@pytest.fixture
def agent(address):
    """Return the agent of this installation, when it is there."""
    there = Agent.objects.filter(archived_at__isnull=True, status__in=CONNECTED_STATUSES)
    until(there.exists, "the agent is there")
    return there.get()


def test_an_agent_is_drained_with_a_question_and_resumed(visitor, agent):
    root = visitor("operator")
    # While something runs, an agent that drains does not end.
    task = factories.task(job=factories.job(args=["-c", "sleep 300"]), now=database_now())
    page = root.go(LIST)
    root.look()
    page.get_by_role("link", name=agent.name).click()
    root.settle()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    expect(page.locator("#hf-agent-now").get_by_role("link", name=f"#{task.pk}.1")).to_be_visible(
        timeout=15_000
    )
    page.get_by_role("button", name="Drain").click()
    expect(page.get_by_text("The agent is asked to drain")).to_be_visible()
    page.get_by_role("button", name="Resume").click(timeout=15_000)
    expect(page.get_by_role("button", name="Drain")).to_be_visible(timeout=15_000)
    assert asked == [
        "Drain this agent? It takes no new work, finishes what it has, and then its daemon ends.",
        "Let this agent take new work again?",
    ]
    root.look()
    manual.cancel(task_id=task.pk, now=database_now())


def test_what_runs_appears_on_the_page_by_itself_and_its_log_is_read_by_level(visitor, agent):
    root = visitor("operator")
    page = root.go(f"{LIST}{agent.pk}/change/")
    job = factories.job(args=["-c", "sleep 6"])
    factories.task(job=job, now=database_now())
    expect(page.locator("#hf-agent-now").get_by_text(job.name)).to_be_visible(timeout=15_000)
    page.get_by_role("link", name="All lines").click()
    root.settle()
    page.get_by_label("Level").select_option("error")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**level=error**")
    root.look()
