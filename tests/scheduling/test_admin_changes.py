"""The changes of a job or a schedule in the admin: what changed, who may see it, and the way back."""

import pytest
from django.urls import reverse

from scheduling.admin.differences import rows_of
from scheduling.models import Job, Schedule
from scheduling.services.definitions import update_job, update_schedule
from scheduling.services.restoring import changes_of, newest_id
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.factories import ANN, NOW

pytestmark = pytest.mark.django_db


def history_of(obj):
    return reverse(f"admin:scheduling_{obj._meta.model_name}_history", args=[obj.pk])


def restore_url(obj, entry):
    return f"{reverse(f'admin:scheduling_{obj._meta.model_name}_restore', args=[obj.pk])}?change={entry.pk}"


@pytest.fixture
def browser():
    return client_of(superuser=True)


def changed_job(**fields):
    job = factories.job(
        namespace="ours", command="echo 1\necho same\n", args=[], environment={"KEY": "s3cret"}
    )
    update_job(
        job_id=job.pk,
        now=NOW,
        by=ANN,
        **{"command": "echo 2\necho same\n", "environment": {"KEY": "other"}, **fields},
    )
    return job


def rows(response, number=0):
    return {row["label"]: row for row in response.context["changes"][number]["rows"]}


# --- what changed -------------------------------------------------------------------------------------


def test_it_says_who_changed_what_to_what_with_scripts_line_by_line(browser):
    response = browser.get(history_of(changed_job(config={"timeout_secs": 7})))
    changes = response.context["changes"]
    assert [(change["is_new"], change["who"]) for change in changes] == [(False, "ann"), (True, "system")]
    found = rows(response)
    assert (found["Timeout in seconds"]["before"], found["Timeout in seconds"]["after"]) == ("3600", "7")
    assert [(line["kind"], line["text"]) for line in found["Script"]["lines"]] == [
        ("removed", "echo 1"),
        ("added", "echo 2"),
        ("same", "echo same"),
    ]


def test_values_of_the_environment_are_for_those_who_may_change_it():
    job = changed_job()
    url = history_of(job)
    assert b"s3cret" in browser_with(("editor", "ours")).get(url).content
    for role in ("viewer", "operator"):
        response = browser_with((role, "ours")).get(url)
        assert rows(response)["Environment: KEY"]["before"] == "•••"
        assert b"s3cret" not in response.content
        assert b"other" not in response.content


def test_what_was_done_in_a_namespace_that_one_does_not_see_is_not_shown():
    job = changed_job(namespace="theirs")
    update_job(job_id=job.pk, now=NOW, by=ANN, description="in theirs")
    changes = browser_with(("editor", "theirs")).get(history_of(job)).context["changes"]
    assert [change["is_new"] for change in changes] == [False, False]
    assert browser_with(("editor", "ours")).get(history_of(job)).status_code == 302


def test_only_so_many_changes_stand_on_a_page(browser, django_assert_num_queries):
    job = factories.job()
    for number in range(45):
        update_job(job_id=job.pk, now=NOW, by=ANN, description=f"change {number}")
    browser.get(history_of(job))
    with django_assert_num_queries(9):
        first = browser.get(history_of(job))
    assert len(first.context["changes"]) == 20
    second = browser.get(history_of(job) + first.context["older_url"])
    third = browser.get(history_of(job) + second.context["older_url"])
    assert (len(third.context["changes"]), third.context["older_url"]) == (6, "")
    assert third.context["changes"][-1]["is_new"]


def test_a_schedule_has_its_changes_too(browser):
    schedule = factories.schedule(kind="cron", cron_expression="0 3 * * *")
    update_schedule(schedule_id=schedule.pk, now=NOW, by=ANN, cron_expression="0 4 * * *")
    found = rows(browser.get(history_of(schedule)))
    assert (found["Cron expression"]["before"], found["Cron expression"]["after"]) == (
        "0 3 * * *",
        "0 4 * * *",
    )


def test_who_may_only_look_is_offered_no_way_back():
    job = changed_job()
    entry = changes_of(job).last()
    for role, offered in (("operator", False), ("editor", True)):
        content = browser_with((role, "ours")).get(history_of(job)).content
        assert (restore_url(job, entry).encode() in content) == offered


# --- the way back -------------------------------------------------------------------------------------


def test_restoring_asks_first_and_says_what_would_change_and_what_happened_since(browser):
    job = changed_job()
    entry = changes_of(job).last()
    response = browser.get(restore_url(job, entry))
    assert {row["label"] for row in response.context["rows"]} == {"Script", "Environment: KEY"}
    assert [each["who"] for each in response.context["since"]] == ["ann"]
    assert Job.objects.get().command.startswith("echo 2")
    sent = browser.post(restore_url(job, entry), {"seen_id": response.context["seen_id"]})
    assert sent["Location"] == reverse("admin:scheduling_job_change", args=[job.pk])
    assert Job.objects.get().command.startswith("echo 1")
    assert changes_of(job).first().actor == "root"


@pytest.mark.parametrize("seen", ["", "x", "0", "²"])
def test_who_did_not_see_the_newest_change_is_shown_it_and_nothing_is_done(browser, seen):
    job = changed_job()
    response = browser.post(restore_url(job, changes_of(job).last()), {"seen_id": seen})
    assert b"Somebody changed it meanwhile" in response.content
    assert response.context["seen_id"] == newest_id(job)
    assert Job.objects.get().command.startswith("echo 2")


def test_a_refusal_of_the_service_is_told(browser):
    job = factories.job(name="first", namespace="ours")
    entry = changes_of(job).get()
    update_job(job_id=job.pk, now=NOW, by=ANN, name="second")
    factories.job(name="first", namespace="ours")
    response = browser.post(restore_url(job, entry), {"seen_id": newest_id(job)})
    assert b"exists already" in response.content
    assert Job.objects.get(pk=job.pk).name == "second"


def test_only_those_who_may_change_restore_and_only_what_they_see():
    job = changed_job(namespace="theirs")
    created, moved = changes_of(job).last(), changes_of(job).first()
    seen = {"seen_id": newest_id(job)}
    assert browser_with(("operator", "theirs")).post(restore_url(job, moved), seen).status_code == 403
    refused = browser_with(("editor", "theirs")).post(restore_url(job, created), seen)
    assert refused["Location"] == history_of(job)
    assert browser_with(("editor", "ours")).post(restore_url(job, created), seen).status_code == 302
    assert Job.objects.get().command.startswith("echo 2")


def test_a_schedule_is_restored_by_its_service(browser):
    schedule = factories.schedule(interval_secs=60, kind="interval")
    entry = changes_of(schedule).get()
    update_schedule(schedule_id=schedule.pk, now=NOW, by=ANN, interval_secs=120)
    browser.post(restore_url(schedule, entry), {"seen_id": newest_id(schedule)})
    assert Schedule.objects.get().interval_secs == 60


@pytest.mark.parametrize("change", ["", "?change=0", f"?change={2**70}", "?change=x"])
def test_a_change_that_there_is_not_leads_back_to_those_that_there_are(browser, change):
    job = factories.job()
    response = browser.get(reverse("admin:scheduling_job_restore", args=[job.pk]) + change, follow=True)
    assert response.redirect_chain == [(history_of(job), 302)]
    assert b"There is no such change." in response.content


# --- differences --------------------------------------------------------------------------------------


def difference(before, after, **how):
    return rows_of(before, after, labels={}, **{"shows_environment": True, **how})


def test_parts_of_a_mapping_are_told_one_by_one():
    found = difference({"config": {"a": 1, "b": 2, "c": None}}, {"config": {"a": 1, "b": 3, "d": [1]}})
    assert found == [
        {"label": "b", "before": "2", "after": "3"},
        {"label": "c", "before": "–", "after": "–"},
        {"label": "d", "before": "–", "after": "[1]"},
    ]


def test_values_that_may_not_be_shown_say_whether_they_came_or_went():
    found = difference(
        {"environment": {"A": "1", "B": "2"}}, {"environment": {"B": "3", "C": "4"}}, shows_environment=False
    )
    assert [(row["label"], row["before"], row["after"]) for row in found] == [
        ("environment: A", "•••", "–"),
        ("environment: B", "•••", "•••"),
        ("environment: C", "–", "•••"),
    ]


def test_places_that_are_far_apart_are_told_apart():
    lines = [f"line {number}" for number in range(30)]
    changed = [*lines[:2], "new", *lines[3:25], "late", *lines[26:]]
    (row,) = difference({"command": "\n".join(lines)}, {"command": "\n".join(changed)})
    kinds = [line["kind"] for line in row["lines"]]
    assert kinds.count("place") == 1
    assert (kinds.count("added"), kinds.count("removed")) == (2, 2)


def test_a_text_that_is_too_long_is_not_compared_line_by_line():
    long = "\n".join(str(number) for number in range(1500))
    (row,) = difference({"command": long}, {"command": f"{long}\nmore"})
    assert row["note"] == "too long to compare: 1500 lines, then 1501"


def test_what_could_disguise_a_value_is_made_visible():
    (row,) = difference({"name": "a"}, {"name": "a\u202eb"})
    assert "\u202e" not in row["after"]
