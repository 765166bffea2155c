"""The page of the forecast: what will run and how busy the agents will be, as tables and a chart."""

from datetime import timedelta

import pytest
from django.urls import reverse

from scheduling.admin.forecast_picture import Scale, compact
from scheduling.services import forecast
from scheduling.services.calendars import create_calendar, freeze
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.factories import NOW

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:scheduling_schedule_forecast")
PICTURE = reverse("admin:scheduling_schedule_forecast_picture")
CHINESE = {"accept-language": "zh-hans"}


@pytest.fixture(autouse=True)
def _at_a_fixed_time(monkeypatch):
    """Let nothing be remembered, and let it be ten past twelve."""
    monkeypatch.setattr(forecast, "FRESH_SECS", -1.0)
    monkeypatch.setattr("scheduling.admin.forecast.database_now", lambda: NOW + timedelta(minutes=10))


@pytest.fixture
def browser():
    return client_of(superuser=True)


def hourly(namespace="ours", *, cron="0 * * * *", job_fields=None, **fields):
    job = factories.job(namespace=namespace, **(job_fields or {}))
    return factories.schedule(job=job, kind="cron", cron_expression=cron, **fields)


def numbers(cells):
    return sum(int(cell["title"].split(": ")[1].split()[0]) for cell in cells)


# --- the page ------------------------------------------------------------------------------------------


def test_the_page_opens_at_once_and_asks_for_the_picture_itself(browser, monkeypatch):
    def fail(**_asked):
        raise AssertionError("computed before anybody asked")

    monkeypatch.setattr("scheduling.admin.forecast.recent_forecast", fail)
    hourly()
    response = browser.get(PAGE, {"hours": "48", "namespace": "ours"})
    content = response.content.decode()
    assert f'hx-get="{PICTURE}?hours=48&amp;namespace=ours"' in content
    assert "The forecast is being computed" in content
    assert [choice["is_chosen"] for choice in response.context["choices"]] == [False] * 3 + [True, False]


@pytest.mark.parametrize(
    "given", [{"hours": "5"}, {"hours": "x" * 99}, {"hours": "٦"}, {"namespace": "\x00"}, {}]
)
def test_what_cannot_be_chosen_is_as_if_it_were_not_asked_for(browser, given):
    context = browser.get(PAGE, given).context
    assert (context["hours"], context["namespace"]) == (24, "")
    assert browser.get(PICTURE, given).status_code == 200


def test_the_navigation_leads_to_it_for_those_who_see_schedules(browser):
    index = reverse("admin:index")
    assert f'href="{PAGE}"' in browser.get(index).content.decode()
    stranger = client_of("agents.view_agent")
    assert f'href="{PAGE}"' not in stranger.get(index).content.decode()
    assert stranger.get(PAGE).status_code == 403
    assert stranger.get(PICTURE).status_code == 403


def test_the_sidebar_marks_the_forecast_alone_on_its_page_and_schedules_on_theirs(browser):
    def marked(url):
        groups = browser.get(url).context["sidebar_navigation"]
        return [str(item["link"]) for group in groups for item in group["items"] if item["active"]]

    schedules = reverse("admin:scheduling_schedule_changelist")
    assert marked(PAGE) == [PAGE]
    assert marked(schedules) == marked(reverse("admin:scheduling_schedule_add")) == [schedules]


# --- the picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "columns", "runs"), [(6, 25, 6), (12, 25, 12), (24, 25, 24), (48, 25, 48), (168, 29, 169)]
)
def test_it_has_a_row_for_each_job_and_a_column_for_each_part_of_the_time(browser, hours, columns, runs):
    factories.agent()
    hourly()
    hourly(cron="0,59 * * * *")
    heat = browser.get(PICTURE, {"hours": hours}).context["heat"]
    assert [row["total"] for row in heat["rows"]] == [2 * runs, runs]
    for row in heat["rows"]:
        assert len(row["cells"]) == columns
        assert numbers(row["cells"]) == row["total"]
    assert numbers(heat["total"]) == heat["total_count"] == 3 * runs
    assert sum(day["span"] for day in heat["days"]) == len(heat["times"]) == len(heat["total"])


def test_a_week_is_shown_by_day_and_hour_as_well(browser):
    factories.agent()
    hourly()
    week = browser.get(PICTURE, {"hours": 168}).context["week"]
    assert len(week) == 8
    assert all(len(row["hours"]) == 24 for row in week)
    assert numbers([cell for row in week for cell in row["hours"] if cell]) == 169
    assert browser.get(PICTURE, {"hours": 48}).context["week"] is None


def test_an_hour_of_the_week_leads_to_the_timeline_of_those_who_may_see_it(browser):
    factories.agent()
    hourly("ours", cron="0 15 * * *")
    timeline = reverse("admin:scheduling_taskinstance_timeline")
    begin = round((NOW + timedelta(hours=2)).timestamp()) * 1000
    link = f"{timeline}?by=job&amp;namespace=ours&amp;begin={begin}&amp;end={begin + 3_660_000}"
    asked = {"hours": 168, "namespace": "ours"}
    content = browser.get(PICTURE, asked).content.decode()
    assert link in content
    assert content.count(f"{timeline}?") == 7
    assert timeline not in client_of("scheduling.view_schedule").get(PICTURE, asked).content.decode()


def test_totals_say_what_is_skipped_and_why_and_lead_on(browser):
    factories.agent(commands=["bash"])
    shut = [{"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}]
    hourly()
    hourly(calendar=create_calendar(name="shut", namespace="ours", blackouts=shut))
    hourly("cold")
    freeze(namespace="cold", now=NOW, reason="release")
    hourly(job_fields={"cmd": "exec", "args": ["true"]})
    response = browser.get(PICTURE)
    context = response.context
    assert (context["runs"], context["skipped_calendar"], context["homeless"]) == (48, 48, 24)
    for page in ("scheduling_calendar", "scheduling_job", "agents_agent"):
        assert f'href="{reverse(f"admin:{page}_changelist")}"' in response.content.decode()
    assert "no agent fits" in response.content.decode()
    assert [row["can_run"] for row in context["heat"]["rows"]].count(False) == 1


def test_runs_that_will_overlap_are_told():
    factories.agent()
    config = {"max_concurrency": 1, "concurrency_policy": "forbid"}
    schedule = hourly(cron="*/5 * * * *", job_fields={"config": config})
    factories.ran_before(schedule.job, 450)
    context = client_of(superuser=True).get(PICTURE, {"hours": 6}).context
    assert context["skipped_overlap"] == sum(bucket["skipped_overlap"] for bucket in context["buckets"]) > 30


def test_where_the_agents_are_too_busy_the_chart_says_so(browser):
    factories.agent(slots=1)
    for _ in range(2):
        factories.ran_before(hourly().job, 2400)
    context = browser.get(PICTURE).context
    waiting = [bar for bar in context["chart"]["bars"] if bar["is_waiting"]]
    assert "1.0 of 1 slots busy; at its end a run waits" in waiting[0]["title"]
    assert (context["longest"], context["longest_at"]) != ("", "")
    table = [bucket for bucket in context["buckets"] if bucket["wait"]]
    assert len(table) == len(waiting) == context["chart"]["waiting_count"]
    assert context["slots"] == 1


def test_an_idle_installation_says_so(browser):
    content = browser.get(PICTURE).content.decode()
    assert "No agent is on line" in content
    assert "No run is planned." in content
    assert "Every run finds a free slot." in content


def test_a_forecast_that_is_not_complete_says_so(browser, monkeypatch):
    hourly()
    monkeypatch.setattr(
        "scheduling.admin.forecast.recent_forecast",
        lambda **asked: forecast.forecast(**asked, budget_secs=-1.0),
    )
    assert "this counts the first 1" in browser.get(PICTURE).content.decode()


def test_it_is_read_in_chinese(browser):
    factories.agent()
    hourly()
    content = browser.get(PICTURE, {"hours": 168}, headers=CHINESE).content.decode()
    assert "各作业各时段的运行次数" in content
    assert "周一" in content
    assert "Slots" not in content


# --- whose ---------------------------------------------------------------------------------------------


def test_one_sees_the_jobs_of_ones_own_namespaces_alone():
    factories.agent()
    hourly("ours")
    hourly("theirs", job_fields={"name": "secret"})
    browser = browser_with(("viewer", "ours"))
    for asked in ({}, {"namespace": "theirs"}):
        response = browser.get(PICTURE, asked)
        assert response.context["runs"] == 24
        assert b"secret" not in response.content
        assert b"theirs" not in browser.get(PAGE, asked).content
    both = browser_with(("viewer", "ours"), ("viewer", "theirs"))
    assert both.get(PICTURE).context["runs"] == 48
    assert both.get(PICTURE, {"namespace": "theirs"}).context["runs"] == 24
    assert both.get(PAGE).context["namespaces"] == ["ours", "theirs"]


def test_a_job_that_one_may_not_see_has_no_name():
    factories.agent()
    hourly("ours", job_fields={"name": "secret"})
    response = client_of("scheduling.view_schedule").get(PICTURE)
    assert response.status_code == 200
    assert b"secret" not in response.content


def test_it_takes_as_many_queries_for_many_jobs_as_for_few(browser, django_assert_num_queries):
    factories.agent()
    hourly()
    browser.get(PICTURE)
    with django_assert_num_queries(12):
        browser.get(PICTURE)
    for _ in range(5):
        hourly()
    with django_assert_num_queries(12):
        browser.get(PICTURE)


# --- numbers and colours -------------------------------------------------------------------------------


@pytest.mark.parametrize("highest", [0, 1, 2, 5, 17, 1000, 123_456])
def test_levels_rise_with_the_number_and_end_with_the_highest(highest):
    scale = Scale(highest)
    levels = [scale.level(number) for number in sorted({0, 1, highest // 2, highest})]
    assert levels == sorted(levels)
    assert scale.level(0) == 0
    assert scale.level(highest) == (0 if highest == 0 else min(highest, 5))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9960, "10k"),
        (123_456, "123k"),
        (2_500_000, "2.5M"),
    ],
)
def test_large_numbers_are_short(number, text):
    assert compact(number) == text
