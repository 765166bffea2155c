"""What an agent's log says of an attempt stands on the page of that attempt, for those who may see logs."""

import pytest
from django.urls import reverse
from django.utils import timezone

from gateway.models import AgentLog
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db


def say(attempt, text, *, agent=None, level="info"):
    AgentLog.objects.create(
        agent=agent or attempt.agent,
        at=timezone.now(),
        level=level,
        message=f"agents.daemon.supervisor: attempt {attempt.pk}: {text}",
        instance_id=attempt.pk,
    )


def log_on_page(browser, attempt):
    response = browser.get(reverse("admin:scheduling_taskinstance_change", args=[attempt.pk]))
    return [line["text"] for line in response.context["log"]]


def test_the_page_of_an_attempt_tells_how_its_processes_end():
    attempt, other = factories.attempt(), factories.attempt()
    for text in ("SIGTERM to 3 processes", "2 processes left", "SIGKILL to 1 process"):
        say(attempt, text)
    say(other, "something else")
    say(attempt, "what another agent says", agent=factories.agent())
    browser = client_of(superuser=True)
    assert log_on_page(browser, attempt) == [
        "SIGTERM to 3 processes",
        "2 processes left",
        "SIGKILL to 1 process",
    ]


def test_whoever_may_not_see_logs_does_not():
    attempt = factories.attempt()
    say(attempt, "secret")
    assert log_on_page(client_of("scheduling.view_taskinstance"), attempt) == []


def test_cancel_on_the_page_of_an_attempt_asks_the_agent_to_stop_it():
    attempt = factories.attempt()
    browser = client_of(superuser=True)
    page = reverse("admin:scheduling_taskinstance_change", args=[attempt.pk])
    assert [item["button"].name for item in browser.get(page).context["buttons"]] == ["cancel"]
    browser.post(reverse("admin:scheduling_taskinstance_cancel", args=[attempt.pk]))
    attempt.refresh_from_db()
    assert attempt.cancel_requested_at is not None
    assert browser.get(page).context["buttons"] == []
