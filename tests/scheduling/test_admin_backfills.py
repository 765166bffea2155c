"""Backfills in the admin: asked for on a schedule's page, watched, paused, resumed and cancelled."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone

from scheduling.admin.backfill_form import ZonedTimeField
from scheduling.models import Backfill, Schedule, Task
from scheduling.services import backfill_progress, backfilling, backfills
from scheduling.services.calendars import create_calendar
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.factories import NOW

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_backfill_changelist")
CHINESE = {"accept-language": "zh-hans"}
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
FORM = {
    "range_from": "2026-02-01T00:00:00",
    "range_to": "2026-02-05T00:00:00",
    "parallel": "2",
    "overlap": "allow",
    "on_failure": "pause",
}


def page(obj, name="change"):
    return reverse(f"admin:scheduling_{obj._meta.model_name}_{name}", args=[obj.pk])


def daily(*, namespace="ours", **fields):
    job = factories.job(namespace=namespace)
    return factories.schedule(job=job, kind="cron", cron_expression="0 6 * * *", **fields)


def backfill(schedule=None, *, days=5, **fields):
    fields = {"range_from": FIRST, "range_to": FIRST + timedelta(days=days), **fields}
    return backfills.create_backfill(schedule_id=(schedule or daily()).pk, now=NOW, **fields)


def end(wanted, status, number=1):
    """Let the first tasks of a backfill that have not ended end so."""
    tasks = Task.objects.filter(backfill=wanted, status="pending").order_by("scheduled_at")
    chosen = list(tasks.values_list("pk", flat=True)[:number])
    Task.objects.filter(pk__in=chosen).update(status=status, completed_at=NOW)
    return chosen


def preview(browser, schedule, **values):
    return browser.post(page(schedule, "backfill_preview"), FORM | values)


@pytest.fixture
def browser():
    return client_of(superuser=True)


# --- asking for one -----------------------------------------------------------------------------------


def test_the_page_of_a_schedule_leads_to_the_form_and_that_to_the_backfill():
    browser, schedule = browser_with(("operator", "ours")), daily()
    assert page(schedule, "backfill") in browser.get(page(schedule)).content.decode()
    assert browser.get(page(schedule, "backfill")).status_code == 200
    answer = browser.post(page(schedule, "backfill"), FORM | {"only_missing": "on"})
    made = Backfill.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page(made))
    assert (made.range_from, made.range_to, made.total) == (FIRST, FIRST + timedelta(days=4), 4)
    assert (made.parallel, made.overlap, made.on_failure, made.only_missing) == (2, "allow", "pause", True)
    assert made.created_by


def test_the_range_is_read_in_the_zone_of_the_reader(browser):
    schedule = daily()
    browser.post(reverse("admin:preferences"), {"time_zone": "Asia/Shanghai"})
    assert b"In your time zone, Asia/Shanghai. Both" in browser.get(page(schedule, "backfill")).content
    browser.post(page(schedule, "backfill"), FORM)
    assert Backfill.objects.get().range_from == FIRST - timedelta(hours=8)


@pytest.mark.parametrize(
    ("local", "begin", "end"),
    [
        # The clocks of Berlin go back from 3 to 2 o'clock, and forward from 2 to 3.
        ("2025-10-26T02:30", "00:30", "01:30"),
        ("2026-03-29T02:30", "00:30", "01:30"),
        ("2026-02-01T02:30", "01:30", "01:30"),
    ],
)
def test_times_that_the_clocks_repeat_or_skip_take_the_longer_range(local, begin, end):
    for is_end, expected in ((False, begin), (True, end)):
        with timezone.override("Europe/Berlin"):
            found = ZonedTimeField(is_end=is_end).clean(local)
        assert f"{found.astimezone(UTC):%H:%M}" == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00", "0001-01-01T00:00", "9999-12-31T23:59"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValidationError, match="Expected a time"):
        ZonedTimeField().clean(text)


def test_the_form_begins_with_yesterday_of_the_schedule_or_with_the_range_of_the_link(browser):
    schedule = daily(timezone="Asia/Shanghai")
    form = browser.get(page(schedule, "backfill")).context["form"]
    yesterday = timezone.now().astimezone(ZoneInfo("Asia/Shanghai")).date() - timedelta(days=1)
    # By the clocks of the reader, which are those of UTC.
    assert form["range_from"].value() == f"{yesterday - timedelta(days=1)}T16:00:00"
    assert form["range_to"].value() == f"{yesterday}T15:59:59"
    given = {"from": "2026-02-01T00:00", "to": "nonsense"}
    form = browser.get(page(schedule, "backfill"), given).context["form"]
    assert form["range_from"].value() == "2026-02-01T00:00:00"
    assert form["range_to"].value() == f"{yesterday}T15:59:59"


def test_the_ledger_leads_to_a_backfill_of_the_range_that_it_shows():
    schedule = daily()
    shown = {"from": "2026-02-01T00:00", "to": "2026-02-03T00:00"}
    context = browser_with(("operator", "ours")).get(page(schedule, "ledger"), shown).context
    form = client_of(superuser=True).get(context["backfill_url"]).context["form"]
    assert form["range_from"].value() == "2026-02-01T00:00:00"
    assert form["range_to"].value() == "2026-02-03T00:00:00"
    assert browser_with(("viewer", "ours")).get(page(schedule, "ledger")).context["backfill_url"] == ""


def test_a_preview_says_how_many_instants_there_are_and_which(browser):
    dates = [{"date": "2026-02-03"}]
    calendar = create_calendar(name="office", namespace="ours", dates=dates)
    schedule = daily(calendar=calendar)
    context = preview(browser, schedule, range_to="2026-02-20T00:00:00").context
    assert (context["total"], context["forbidden"], context["more"]) == (18, 1, 7)
    assert len(context["first"]) == 10
    assert ">2026-02-01 06:00:00</time>" in context["first"][0]["at"]
    assert ">2026-02-19 06:00:00</time>" in context["last"]["at"]
    assert "The calendar forbids 1 more" in preview(browser, schedule).content.decode()
    assert not Backfill.objects.exists()


@pytest.mark.parametrize(
    ("changed", "field", "says"),
    [
        ({"range_to": "2026-01-01T00:00:00"}, "range_to", "The end must come after"),
        ({"range_to": "2099-01-01T00:00:00"}, "range_to", "The end lies in the future"),
        ({"range_to": "2026-02-01T05:00:00"}, "range_from", "no instant in this range"),
        ({"range_from": "soon"}, "range_from", "Expected a time"),
        ({"range_from": ""}, "range_from", "This field is required"),
        ({"parallel": "0"}, "parallel", "greater than or equal to 1"),
        ({"parallel": "101"}, "parallel", "less than or equal to 100"),
        ({"overlap": "replace"}, "overlap", "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_in_the_preview_and_when_it_is_sent(browser, changed, field, says):
    schedule = daily()
    shown = preview(browser, schedule, **changed).content.decode()
    assert f'data-error-for="id_{field}"' in shown
    assert says in shown
    sent = browser.post(page(schedule, "backfill"), FORM | changed)
    assert sent.status_code == 200
    assert says in str(sent.context["form"].errors[field])
    assert not Backfill.objects.exists()


def test_a_range_that_is_too_long_or_wholly_forbidden_is_refused_in_words(browser, monkeypatch):
    schedule = daily()
    monkeypatch.setattr(backfills, "MAX_INSTANTS", 3)
    assert "more than 3 instants" in preview(browser, schedule).content.decode()
    monkeypatch.undo()
    closed = create_calendar(name="closed", namespace="ours", dates=[{"date": "2026-02-01"}])
    shut = daily(calendar=closed)
    response = browser.post(
        page(shut, "backfill_preview"), FORM | {"range_to": "2026-02-01T12:00:00"}, headers=CHINESE
    )
    assert "日历禁止了该范围内的全部时刻（1 个）" in response.content.decode()


def test_a_schedule_that_counts_from_the_end_of_its_runs_has_no_button_and_is_refused(browser):
    schedule = factories.schedule(kind="interval", interval_secs=60, interval_mode="delay")
    assert page(schedule, "backfill") not in browser.get(page(schedule)).content.decode()
    assert "counts from the end of its runs" in preview(browser, schedule).content.decode()


def test_the_form_says_what_is_under_way_already(browser):
    wanted = backfill()
    assert page(wanted) in browser.get(page(wanted.schedule, "backfill")).content.decode()


# --- watching it --------------------------------------------------------------------------------------


def test_the_list_tells_how_far_they_are(browser, django_assert_num_queries):
    wanted = backfill(parallel=3)
    backfilling.run_once(now=NOW)
    end(wanted, "failed", 2)
    content = browser.get(LIST).content.decode()
    assert "3 of 5 begun" in content
    assert "2026-02-01 00:00</time> – <time" in content
    assert 'title="2026-02-06 00:00:00.000 UTC">2026-02-06 00:00</time>' in content
    assert f"backfill__id__exact={wanted.pk}&amp;status__exact=failed" in content
    (listed,) = browser.get(LIST).context["cl"].result_list
    assert listed.failed_count == 2
    with django_assert_num_queries(6):
        browser.get(LIST)
    for _ in range(3):
        backfill(wanted.schedule)
    with django_assert_num_queries(6):
        browser.get(LIST)


def test_the_list_is_filtered_by_status_and_schedule(browser):
    one, other = backfill(), backfill()
    backfills.pause_backfill(backfill_id=other.pk, now=NOW)
    found = browser.get(LIST, {"status__exact": "paused"}).context["cl"].result_list
    assert [each.pk for each in found] == [other.pk]
    found = browser.get(LIST, {"schedule__id__exact": one.schedule_id}).context["cl"].result_list
    assert [each.pk for each in found] == [one.pk]


def test_a_page_tells_of_each_instant_what_became_of_it(browser):
    wanted = backfill(parallel=3)
    backfilling.run_once(now=NOW)
    first, second = end(wanted, "completed"), end(wanted, "failed")
    context = browser.get(page(wanted)).context
    assert [cell["fate"] for cell in context["cells"]] == [
        "completed",
        "failed",
        "active",
        "to_come",
        "to_come",
    ]
    urls = [reverse("admin:scheduling_task_change", args=[pk]) for pk in (*first, *second)]
    assert [cell["url"] for cell in context["cells"]][:2] == urls
    assert context["cells"][3]["url"] == ""
    assert {total["fate"]: total["count"] for total in context["totals"]} == {
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "active": 1,
        "left_out": 0,
        "to_come": 2,
    }


def test_instants_that_were_left_out_are_told_from_those_to_come(browser):
    schedule = daily()
    before = backfill(schedule, days=2, parallel=9)
    backfilling.run_once(now=NOW)
    end(before, "completed", 9)
    wanted = backfill(schedule, only_missing=True)
    backfilling.run_once(now=NOW)
    cells = browser.get(page(wanted)).context["cells"]
    assert [cell["fate"] for cell in cells] == ["left_out"] * 2 + ["active"] + ["to_come"] * 2
    assert "3 of" not in browser.get(LIST).content.decode()
    assert "1 of 5 begun, 2 left out" in browser.get(LIST).content.decode()


def test_a_long_one_is_told_by_spans_of_its_range(browser, monkeypatch):
    monkeypatch.setattr(backfill_progress, "MAX_CELLS", 4)
    wanted = backfill(days=10, parallel=4)
    backfilling.run_once(now=NOW)
    end(wanted, "completed", 3)
    context = browser.get(page(wanted)).context
    assert len(context["bars"]) == backfill_progress.SPANS
    told = [bar for bar in context["bars"] if bar["parts"]]
    assert [kind for bar in told for kind, _percent in bar["parts"]] == ["completed"] * 3 + ["active"]
    listed = browser.get(told[0]["url"]).context["cl"].result_list
    assert [task.scheduled_at for task in listed] == [FIRST.replace(hour=6)]


def test_a_page_takes_as_many_queries_for_many_instants_as_for_few(browser, django_assert_num_queries):
    few, many = backfill(parallel=2), backfill(days=25, parallel=25)
    backfilling.run_once(now=NOW)
    for wanted in (few, many):
        browser.get(page(wanted))
        with django_assert_num_queries(7):
            browser.get(page(wanted))


@pytest.mark.parametrize(
    ("problem", "english", "chinese"),
    [
        ("waits: the namespace is frozen", "waits: the namespace is frozen", "等待：命名空间已冻结"),
        ("paused by ann", "paused by ann", "由 ann 暂停"),
        ("BadTemplate: no such name", "BadTemplate: no such name", "BadTemplate: no such name"),
    ],
)
def test_what_keeps_it_from_going_on_is_said_in_the_readers_language(browser, problem, english, chinese):
    wanted = backfill()
    Backfill.objects.filter(pk=wanted.pk).update(problem=problem)
    assert browser.get(page(wanted)).context["problem"] == english
    assert browser.get(page(wanted), headers=CHINESE).context["problem"] == chinese


def test_the_services_say_no_obstacle_that_is_not_translated(browser):
    wanted = backfill()
    job = wanted.schedule.job
    type(job).objects.filter(pk=job.pk).update(enabled=False)
    backfilling.run_once(now=NOW)
    assert browser.get(page(wanted), headers=CHINESE).context["problem"] == "等待：作业已停用"


def test_a_page_renews_itself_while_there_is_something_to_see(browser):
    wanted = backfill()
    assert b"data-refresh-secs" in browser.get(page(wanted)).content
    browser.post(page(wanted, "cancel"))
    content = browser.get(page(wanted)).content
    assert b"data-refresh-secs" not in content
    assert b"not run" in content


# --- buttons ------------------------------------------------------------------------------------------


def test_it_is_paused_resumed_and_cancelled_by_buttons():
    browser, wanted = browser_with(("operator", "ours")), backfill()
    backfilling.run_once(now=NOW)
    for name, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        shown = browser.get(page(wanted)).content.decode()
        assert page(wanted, name) in shown
        browser.post(page(wanted, name))
        wanted.refresh_from_db()
        assert wanted.status == status
    assert Task.objects.get(backfill=wanted).status == "cancelled"
    assert browser.get(page(wanted)).context["buttons"] == []
    answer = browser.post(page(wanted, "resume"), follow=True)
    assert "the current state is cancelled" in answer.content.decode()


def test_cancelling_asks_first_and_says_what_it_does(browser):
    content = browser.get(page(backfill())).content.decode()
    assert 'data-confirm="Cancel this backfill for good?' in content
    assert "commands that run are stopped" in content


# --- permissions --------------------------------------------------------------------------------------


def test_a_viewer_looks_and_does_nothing():
    browser, wanted = browser_with(("viewer", "ours")), backfill()
    response = browser.get(page(wanted))
    assert (response.status_code, response.context["buttons"]) == (200, [])
    for name in ("pause", "resume", "cancel"):
        assert browser.post(page(wanted, name)).status_code == 403
    schedule = wanted.schedule
    assert page(schedule, "backfill") not in browser.get(page(schedule)).content.decode()
    assert browser.get(page(schedule, "backfill")).status_code == 403
    assert browser.post(page(schedule, "backfill"), FORM).status_code == 403
    assert preview(browser, schedule).status_code == 403
    assert (Backfill.objects.get().status, Backfill.objects.count()) == ("running", 1)


def test_to_others_it_is_not_there():
    browser, wanted = browser_with(("admin", "theirs")), backfill()
    assert browser.get(page(wanted)).status_code == 302
    assert browser.get(LIST).context["cl"].result_count == 0
    schedule = wanted.schedule
    assert browser.post(page(schedule, "backfill"), FORM)["Location"] == reverse("admin:index")
    assert preview(browser, schedule)["Location"] == reverse("admin:index")
    assert Backfill.objects.count() == 1


def test_the_backfill_of_a_schedule_that_is_gone_stays_readable(browser):
    wanted = backfill()
    Schedule.objects.filter(pk=wanted.schedule_id).update(archived_at=NOW, status="disabled")
    content = browser.get(page(wanted)).content.decode()
    assert "(archived)" in content
    assert page(wanted.schedule) not in content


def test_tasks_of_a_backfill_are_not_listed_as_made_by_hand(browser):
    wanted = backfill()
    backfilling.run_once(now=NOW)
    assert Task.objects.filter(backfill=wanted).exists()
    content = browser.get(reverse("admin:scheduling_task_changelist")).content.decode()
    assert ">by a backfill<" in content
    assert ">by hand<" not in content
