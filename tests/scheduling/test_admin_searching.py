"""What is typed above a list is read as words, labels and tags, and finds what has them."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from agents.models import Agent
from scheduling.admin.searching import have_parts, read_search
from scheduling.models import Alert, Job, Schedule, TaskInstance
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar
from scheduling.services.claiming import claim
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
LISTS = [
    "agents_agent",
    "scheduling_job",
    "scheduling_schedule",
    "scheduling_task",
    "scheduling_taskinstance",
]


def found(browser, of_list, term):
    """Return the ids of what a list finds."""
    response = browser.get(reverse(f"admin:{of_list}_changelist"), {"q": term})
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


@pytest.fixture
def browser():
    return client_of(superuser=True)


@pytest.fixture
def european():
    """Return a job for agents in Europe, with all that comes of it, by list; another one is elsewhere."""
    made: dict[str, object] = {}
    for zone, tag in (("us west", "hourly"), ("eu", "nightly")):
        agent = factories.agent(labels={"zone": zone, "os": "linux"})
        job = factories.job(config={"labels": {"zone": zone}}, tags=[tag, "all"])
        schedule, now = factories.schedule(job=job), timezone.now()
        task = factories.task(job=job, now=now)
        claim(slots={agent.pk: 1}, now=now, lead_secs=2, lease_secs=30)
        attempt = TaskInstance.objects.get(task=task)
        made = dict(zip(LISTS, (agent.pk, job.pk, schedule.pk, task.pk, attempt.pk), strict=True))
    return made


@pytest.mark.parametrize("of_list", LISTS)
@pytest.mark.parametrize("term", ["zone=eu", "label:zone=eu", "label:eu", 'label:"eu" zone="eu"'])
def test_a_label_finds_what_has_it_or_asks_for_it(browser, european, of_list, term):
    assert found(browser, of_list, term) == {european[of_list]}


@pytest.mark.parametrize("of_list", LISTS)
def test_a_value_in_quotes_may_have_blanks_and_all_that_is_asked_for_must_hold(browser, european, of_list):
    assert len(found(browser, of_list, 'zone="us west"')) == 1
    assert len(found(browser, of_list, "label:zone")) == 2
    for nothing in ("zone=eu label:nowhere", "zone=eu zone=us", "zone=", "label:eu=zone"):
        assert found(browser, of_list, nothing) == set()


@pytest.mark.parametrize("of_list", LISTS[1:])
def test_a_tag_finds_the_job_and_what_comes_of_it(browser, european, of_list):
    assert found(browser, of_list, "tag:nightly") == {european[of_list]}
    assert len(found(browser, of_list, "tag:all")) == 2
    assert found(browser, of_list, "tag:all tag:nightly zone=eu") == {european[of_list]}
    assert found(browser, of_list, "tag:night") == set()


def test_agents_have_no_tags(browser, european):
    assert found(browser, "agents_agent", "tag:all") == set()


def test_words_beside_a_label_narrow_what_it_finds(browser, european):
    job, agent = (
        Job.objects.get(pk=european["scheduling_job"]),
        Agent.objects.get(pk=european["agents_agent"]),
    )
    assert found(browser, "scheduling_job", f"zone=eu {job.name}") == {job.pk}
    assert found(browser, "scheduling_job", "zone=eu elsewhere") == set()
    assert found(browser, "agents_agent", f"{agent.name[2:].upper()} os=linux") == {agent.pk}
    task = european["scheduling_task"]
    assert found(browser, "scheduling_task", f"#{task} zone=eu") == {task}
    assert found(browser, "scheduling_taskinstance", f"{agent.name} zone=us") == set()


def test_labels_of_jobs_that_one_does_not_see_find_no_tasks(european):
    secret = factories.job(namespace="secret", config={"labels": {"zone": "eu"}}, tags=["nightly"])
    factories.task(job=secret)
    browser = browser_with(("viewer", "default"))
    for of_list in ("scheduling_job", "scheduling_task", "scheduling_schedule"):
        assert found(browser, of_list, "zone=eu") == {european[of_list]}
        assert found(browser, of_list, "tag:nightly") == {european[of_list]}


def test_of_more_jobs_than_are_asked_for_some_count_and_that_is_said(browser, monkeypatch):
    monkeypatch.setattr("scheduling.admin.searching._MATCHING", 1)
    for _ in range(2):
        factories.task(job=factories.job(tags=["nightly"]))
    response = browser.get(reverse("admin:scheduling_task_changelist"), {"q": "tag:nightly"})
    assert response.context["cl"].result_count == 1
    assert "More than 1 jobs match" in response.content.decode()


@pytest.mark.parametrize(
    ("term", "words", "pairs", "halves", "tags"),
    [
        ("a  b", ("a", "b"), (), (), ()),
        ('"a=b" c', ("a=b", "c"), (), (), ()),
        ("=a label: tag:", ("=a", "label:", "tag:"), (), (), ()),
        ("a=b=c", (), (("a", "b=c"),), (), ()),
        ("label:a label:b=1 tag:c=d", (), (("b", "1"),), ("a",), ("c=d",)),
    ],
)
def test_what_was_typed_is_read(term, words, pairs, halves, tags):
    asked = read_search(term)
    assert (asked.words, asked.pairs, asked.halves, asked.tags) == (words, pairs, halves, tags)


@pytest.mark.parametrize("term", ['label:"', "label:\\", "label:$.*", "label:')", "a\\=%", "%", "_"])
def test_signs_that_mean_something_to_the_database_are_searched_for_as_they_are(browser, european, term):
    for of_list in LISTS:
        assert found(browser, of_list, term) == set()


def test_a_part_of_an_agents_name_host_or_address_of_any_length_finds_it(browser):
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(name="报表-Büro_7", hostname="db.example", address="10.0.0.7")
    for term in ("报", "报表", "büRO_7", "b.ex", "10.0.0.7", "7 db"):
        assert found(browser, "agents_agent", term) == {agent.pk}, term
    assert found(browser, "agents_agent", "8 db") == set()


@pytest.mark.parametrize("condition", ["zone=eu", "label:zone", "ell"])
def test_an_index_finds_agents(condition):
    asked = read_search(condition)
    fields = ("name", "hostname", "address")
    rows = Agent.objects.filter(asked.labels_at("labels"), have_parts(fields, asked.words))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        assert "Seq Scan" not in rows.order_by().explain()


@pytest.mark.parametrize("of_list", ["scheduling_job", "scheduling_calendar"])
def test_words_are_parts_of_names_namespaces_and_descriptions(browser, of_list):
    make = factories.job if of_list == "scheduling_job" else create_calendar
    fields = {} if of_list == "scheduling_job" else {"by": factories.ANN}
    kept = make(name="Nightly-Report", namespace="finance", description="Sends 100% of it.", **fields)
    make(name="other", namespace="default", **fields)
    for term in ("report", "y-R", "fin rep", "100%", '"of it"', "r"):
        assert kept.pk in found(browser, of_list, term), term
    for term in ("report other", "fi_", '"rep fin"', "reports", "zone=eu"):
        assert kept.pk not in found(browser, of_list, term), term


def test_of_very_many_that_match_some_are_listed_and_that_is_said(browser, monkeypatch):
    monkeypatch.setattr("scheduling.admin.searching._MATCHING", 2)
    for number in range(3):
        factories.job(name=f"same-{number}")
    field = {"app_label": "scheduling", "model_name": "task", "field_name": "job", "term": "same"}
    assert len(browser.get(reverse("admin:autocomplete"), field).json()["results"]) == 2
    assert "match: some" not in browser.get(reverse("admin:scheduling_job_changelist")).content.decode()
    response = browser.get(reverse("admin:scheduling_job_changelist"), {"q": "same"})
    assert response.context["cl"].result_count == 2
    assert "More than 2 jobs match: some of them count here." in response.content.decode()


def test_schedules_alerts_and_backfills_are_found_by_the_names_of_their_jobs(browser):
    schedule, other = (factories.schedule(job=factories.job(name=f"{name}-x")) for name in ("ours", "theirs"))
    Schedule.objects.filter(pk=schedule.pk).update(name="Every 5%")
    for each in (schedule, other):
        Alert.objects.create(kind="missed", namespace="default", job=each.job, schedule=each, text="missed")
        backfill = create_backfill(
            schedule_id=each.pk,
            range_from=factories.NOW - timedelta(hours=1),
            range_to=factories.NOW,
            now=factories.NOW,
            by=factories.ANN,
        )
        assert found(browser, "scheduling_backfill", each.job.name) == {backfill.pk}
        assert found(browser, "scheduling_schedule", each.job.name[:3].upper()) == {each.pk}
        assert found(browser, "scheduling_alert", each.job.name) == {Alert.objects.latest("pk").pk}
    assert found(browser, "scheduling_schedule", "every 5%") == {schedule.pk}
    assert found(browser, "scheduling_schedule", "very") == set()
    assert len(found(browser, "scheduling_backfill", "every")) == 1
    assert len(found(browser, "scheduling_backfill", "ann")) == 2


def test_attempts_are_found_by_the_name_of_the_job(browser):
    attempt = factories.attempt(job=factories.job(name="Nightly-Report"))
    factories.attempt(job=factories.job(name="other"))
    assert found(browser, "scheduling_taskinstance", "report") == {attempt.pk}


def test_the_audit_log_is_searched_for_whole_words_and_for_parts_of_recent_names(browser, monkeypatch):
    older = factories.job(name="older-report", by=factories.ANN)
    newer = factories.job(name="newer-report", by=factories.ANN)

    def jobs(term):
        entries = AuditEntry.objects.filter(pk__in=found(browser, "access_auditentry", term))
        return set(entries.values_list("subject_id", flat=True))

    ours = {str(older.pk), str(newer.pk)}
    for term in ("ann", "job.create", "default", "REPORT"):
        assert jobs(term) >= ours, term
    assert jobs(str(older.pk)) == {str(older.pk)}
    assert jobs("job.crea") == set()
    monkeypatch.setattr("hetuflow.admin.audit_log._RECENT", 1)
    assert jobs("report") == {str(newer.pk)}
