"""Where a schedule had trouble: counted by hour or day, and coloured by its share of what was due."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import translation

from scheduling.admin.ledger_heat import heat_of, level_of
from scheduling.models import Task
from scheduling.services.ledger import Trouble, trouble_by_span
from tests import factories
from tests.admin_client import client_of
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _in_english():
    with translation.override("en"):
        yield


@pytest.fixture
def schedule():
    return factories.schedule(kind="cron", cron_expression="0 * * * *")


def happened(schedule, at, outcome, status="completed", instants=1):
    task = factories.task(job=schedule.job)
    Task.objects.filter(pk=task.pk).update(
        schedule=schedule,
        scheduled_at=at,
        outcome=outcome,
        instants=instants,
        status=status,
        completed_at=at if status in ("completed", "failed", "cancelled") else None,
    )


def heat(trouble, *, days=2):
    return heat_of(
        trouble, begin=NOW, end=NOW + days * DAY, link=lambda begin, end: f"?{begin:%d%H}-{end:%d%H}"
    )


def test_what_went_wrong_is_counted_once_of_what_was_due(schedule):
    for minute, (outcome, status, instants) in enumerate(
        [
            ("fired", "completed", 1),
            ("fired", "failed", 1),
            ("late", "completed", 1),
            ("late", "failed", 1),
            ("missed", "cancelled", 20),
            ("fired", "running", 1),
            ("skipped_calendar", "cancelled", 1),
            ("coalesced", "cancelled", 1),
        ]
    ):
        happened(schedule, NOW + minute * timedelta(minutes=1), outcome, status, instants)
    happened(schedule, NOW + HOUR, "fired")
    happened(factories.schedule(), NOW, "missed", "cancelled")
    span = {"begin": NOW, "end": NOW + DAY}
    found = trouble_by_span(schedule, **span, span="hour")
    assert found == {NOW: (25, 20, 2, 1), NOW + HOUR: (1, 0, 0, 0)}
    assert found[NOW].sum == 23
    midnight = NOW.replace(hour=0)
    assert trouble_by_span(schedule, **span, span="day") == {midnight: (26, 20, 2, 1)}


@pytest.mark.parametrize(
    ("due", "wrong", "level"),
    [(100, 0, 0), (100, 1, 1), (100, 4, 1), (100, 5, 2), (100, 20, 3), (100, 50, 4), (1, 1, 4)],
)
def test_the_colour_tells_the_share(due, wrong, level):
    assert level_of(Trouble(due=due, missed=0, failed=wrong, late=0)) == level


def test_up_to_two_months_a_row_is_a_day_and_a_cell_an_hour():
    made = heat({NOW + 3 * HOUR: Trouble(10, 1, 2, 0), NOW + DAY: Trouble(5, 0, 0, 0)})
    assert made["is_by_hour"]
    assert [row["label"] for row in made["rows"]] == ["03-02", "03-03", "03-04"]
    assert [row["weekday"] for row in made["rows"]] == ["Monday", "Tuesday", "Wednesday"]
    assert made["rows"][0]["cells"][15] == {
        "level": 3,
        "text": "3",
        "title": "2026-03-02 15:00 UTC: due 10, missed 1, failed 2, late 0",
        "url": "?0215-0216",
    }
    assert made["rows"][1]["cells"][12] | {"title": ""} == {"level": 0, "text": "", "title": "", "url": ""}
    assert made["rows"][0]["cells"][16] is None
    assert made["told"] == "due 15, missed 1, failed 2, late 0"


def test_beyond_that_a_column_is_a_week_and_a_cell_a_day():
    day = NOW.replace(hour=0) + 40 * DAY
    made = heat({day: Trouble(10, 10, 0, 0)}, days=80)
    assert not made["is_by_hour"]
    assert [row["weekday"] for row in made["rows"]][:2] == ["Monday", "Tuesday"]
    assert len(made["rows"]) == 7
    assert {len(row["cells"]) for row in made["rows"]} == {len(made["columns"])} == {12}
    assert made["columns"][:6] == ["03", "", "", "", "", "04"]
    [(weekday, cell)] = [(row["weekday"], cell) for row in made["rows"] for cell in row["cells"] if cell]
    assert (weekday, cell["level"]) == ("Saturday", 4)
    assert cell["title"].startswith("2026-04-11: due 10")


def test_where_nothing_was_due_there_is_no_table():
    assert heat({}) is None


def test_the_page_shows_it_and_a_cell_leads_to_its_hour(schedule):
    browser = client_of(superuser=True)
    url = reverse("admin:scheduling_schedule_ledger", args=[schedule.pk])
    happened(schedule, NOW, "missed", "cancelled")
    span = {"from": f"{NOW - DAY:%Y-%m-%dT%H:%M}", "to": f"{NOW + DAY:%Y-%m-%dT%H:%M}"}
    content = browser.get(url, span).content.decode()
    assert "What went wrong, by day and hour" in content
    assert 'aria-label="2026-03-02 12:00 UTC: due 1, missed 1, failed 0, late 0"' in content
    assert "from=2026-03-02T12%3A00&amp;to=2026-03-02T13%3A00" in content


def test_days_and_hours_are_those_of_the_reader(schedule):
    browser = client_of(superuser=True)
    browser.post(reverse("admin:preferences"), {"time_zone": "Asia/Kolkata"})
    happened(schedule, NOW, "missed", "cancelled")
    url = reverse("admin:scheduling_schedule_ledger", args=[schedule.pk])
    span = {"from": f"{NOW - DAY:%Y-%m-%dT%H:%M}", "to": f"{NOW + DAY:%Y-%m-%dT%H:%M}"}
    response = browser.get(url, span)
    content = response.content.decode()
    assert "What went wrong, by day and hour (Asia/Kolkata)" in content
    # Half past five in the afternoon there, in the hour that begins half an hour before.
    cell = 'aria-label="2026-03-02 17:00 Asia/Kolkata, 2026-03-02 11:30 UTC: due 1, missed 1'
    assert cell in content
    assert "from=2026-03-02T17%3A00&amp;to=2026-03-02T18%3A00" in content
    [row] = [row for row in response.context["heat"]["rows"] if any(row["cells"])]
    assert [number for number, cell in enumerate(row["cells"]) if cell] == [17]
