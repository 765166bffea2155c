"""What members of staff may do in the admin, by the roles that they have, and where (I14)."""

import pytest
from django.urls import reverse
from django.utils import timezone

from gateway.models import AgentLog
from scheduling.admin.jobs import SCHEDULABLE
from scheduling.models import Job, Schedule, TaskInstance
from tests import factories
from tests.admin_client import browser_with, client_of, form_values
from tests.hetuflow.admin_pages import ADD_JOB, ADD_SCHEDULE, JOBS, fill, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def both():
    """An editor of one namespace who may look at another one."""
    return browser_with(("editor", "ours"), ("viewer", "theirs"))


def test_an_editor_here_who_is_a_viewer_there_changes_jobs_here_alone(both):
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    assert both.post(page(ours), form_values(both.get(page(ours))) | {"name": "new"}).status_code == 302
    shown = both.get(page(theirs))
    assert shown.status_code == 200
    assert not shown.context["has_change_permission"]
    assert both.post(page(theirs), {"name": "new"}).status_code == 403
    assert set(Job.objects.values_list("namespace", "name")) == {("ours", "new"), ("theirs", theirs.name)}


def test_buttons_are_those_of_the_role_in_the_objects_namespace(both):
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    assert [item["button"].name for item in both.get(page(ours)).context["buttons"]] == ["disable"]
    shown = both.get(page(theirs))
    assert shown.context["buttons"] == []
    for job, is_offered in ((ours, True), (theirs, False)):
        content = both.get(page(job)).content.decode()
        assert (page(job, "run") in content, f"{ADD_SCHEDULE}?job=" in content) == (is_offered, is_offered)
    assert both.post(page(theirs, "disable")).status_code == 403
    assert both.post(page(theirs, "run"), {"parameters": "", "priority": "0"}).status_code == 403
    assert both.post(page(theirs, "delete"), {"post": "yes"}).status_code == 403
    assert both.post(page(factories.task(job=theirs), "cancel")).status_code == 403
    assert both.post(page(factories.schedule(job=theirs), "disable")).status_code == 403
    theirs.refresh_from_db()
    assert theirs.enabled
    assert theirs.archived_at is None


@pytest.mark.parametrize(
    ("action", "is_done"),
    [
        ("disable_selected", lambda job: not job.enabled),
        ("run_selected", lambda job: job.tasks.exists()),
        ("archive_selected", lambda job: job.archived_at is not None),
    ],
)
def test_an_action_on_several_is_done_where_one_may_and_the_others_are_named(both, action, is_done):
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    chosen = {"action": action, "_selected_action": [ours.pk, theirs.pk], "post": "yes", "confirmed": "yes"}
    response = both.post(JOBS, chosen, follow=True)
    assert f"your role there does not allow it: {theirs}" in response.content.decode()
    assert [is_done(Job.objects.get(pk=job.pk)) for job in (ours, theirs)] == [True, False]


def test_the_question_before_an_action_on_several_lists_only_those_that_one_may_touch(both):
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    for action in ("run_selected", "archive_selected"):
        chosen = {"action": action, "_selected_action": [ours.pk, theirs.pk]}
        content = both.post(JOBS, chosen).content.decode()
        assert f'name="_selected_action" value="{ours.pk}"' in content
        assert f'name="_selected_action" value="{theirs.pk}"' not in content


@pytest.mark.parametrize("namespace", ["theirs", "classified", "new"])
def test_a_job_in_a_namespace_without_the_role_is_refused_at_the_field(both, namespace):
    values = form_values(both.get(ADD_JOB)) | {"name": "job", "namespace": namespace}
    response = both.post(ADD_JOB, values)
    assert "role in this namespace" in str(response.context["adminform"].form.errors["namespace"])
    assert not Job.objects.exists()


def test_a_job_cannot_be_moved_to_a_namespace_without_the_role(both):
    job = factories.job(namespace="ours")
    response = both.post(page(job), form_values(both.get(page(job))) | {"namespace": "theirs"})
    assert "role in this namespace" in str(response.context["adminform"].form.errors["namespace"])
    job.refresh_from_db()
    assert job.namespace == "ours"


def test_a_refused_form_asks_what_one_may_do_where_the_job_is_and_not_where_it_was_to_go(both):
    job = factories.job(namespace="ours")
    values = form_values(both.get(page(job))) | {"namespace": "theirs", "max_retries": "-1"}
    assert both.post(page(job), values).context["has_change_permission"]


def test_the_form_of_a_job_begins_with_and_suggests_namespaces_where_one_may_write(both):
    fill("theirs")
    response = both.get(ADD_JOB)
    assert response.context["adminform"].form["namespace"].value() == "ours"
    assert response.context["namespaces"] == ["ours"]
    everywhere = browser_with(("editor", "*")).get(ADD_JOB)
    assert everywhere.context["adminform"].form["namespace"].value() == "default"
    assert everywhere.context["namespaces"] == ["theirs"]


def test_a_schedule_for_a_job_without_the_role_is_refused_at_the_field(both):
    theirs, hidden = factories.job(namespace="theirs"), factories.job(namespace="classified")
    rule = {"kind": "interval", "interval_secs": "60"}
    for job, message in ((theirs, "role in this namespace"), (hidden, "not one of the available choices")):
        response = both.post(ADD_SCHEDULE, form_values(both.get(ADD_SCHEDULE)) | rule | {"job": job.pk})
        assert message in str(response.context["adminform"].form.errors["job"])
    assert not Schedule.objects.exists()


def test_the_form_of_a_schedule_finds_only_jobs_that_one_may_give_one(both):
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    widget = both.get(ADD_SCHEDULE).context["adminform"].form.fields["job"].widget.widget
    field = {"app_label": "scheduling", "model_name": "schedule", "field_name": "job"}
    assert widget.get_url() == f"{reverse('admin:autocomplete')}?{SCHEDULABLE}=1"
    found = both.get(reverse("admin:autocomplete"), {**field, SCHEDULABLE: "1"}).json()["results"]
    assert [each["id"] for each in found] == [str(ours.pk)]
    filtered = both.get(reverse("admin:autocomplete"), field).json()["results"]
    assert {each["id"] for each in filtered} == {str(ours.pk), str(theirs.pk)}


def test_a_form_that_names_a_hidden_job_in_its_address_does_not_tell_its_name(both):
    hidden = factories.job(namespace="classified", name="secret")
    assert b"secret" not in both.get(ADD_SCHEDULE, {"job": hidden.pk}).content


# --- agents and servers -------------------------------------------------------------------------------


def test_everybody_with_a_role_looks_at_agents_and_a_role_in_one_namespace_changes_none():
    agent = factories.agent()
    browser = browser_with(("admin", "ours"))
    response = browser.get(page(agent))
    assert response.context["buttons"] == []
    assert not response.context["has_change_permission"]
    for name in ("drain", "resume", "enable", "disable", "issue_token"):
        assert browser.post(page(agent, name)).status_code == 403
    assert browser.post(page(agent), {"name": "mine"}).status_code == 403
    assert browser.get(reverse("admin:agents_agent_add")).status_code == 403


def test_an_editor_of_everything_changes_agents_and_only_an_admin_issues_tokens():
    agent = factories.agent()
    names = {
        "operator": {"drain"},
        "editor": {"drain", "disable"},
        "admin": {"drain", "disable"},
    }
    for role, expected in names.items():
        context = browser_with((role, "*")).get(page(agent)).context
        assert {item["button"].name for item in context["buttons"]} == expected
        assert context["shows_tokens"] == (role == "admin")


def test_the_page_of_an_agent_says_that_it_runs_more_than_what_is_seen():
    hidden = fill("classified")
    agent = hidden[TaskInstance].agent
    response = browser_with(("viewer", "ours")).get(page(agent))
    assert response.context["running"] == response.context["latest"] == []
    assert b"for other namespaces is not shown" in response.content
    assert b"is not shown" not in browser_with(("viewer", "*")).get(page(agent)).content


@pytest.mark.parametrize(
    ("role", "namespace", "sees_log"),
    [("viewer", "*", False), ("operator", "*", True), ("admin", "ours", False)],
)
def test_the_log_of_an_agent_is_for_operators_of_everything(role, namespace, sees_log):
    agent = factories.agent()
    AgentLog.objects.create(agent=agent, at=timezone.now(), level="info", message="said so")
    content = browser_with((role, namespace)).get(page(agent)).content
    assert (b"said so" in content) == sees_log


# --- the first page and the sidebar -------------------------------------------------------------------


def test_the_sidebar_shows_what_one_may_see():
    content = browser_with(("viewer", "ours")).get(reverse("admin:index")).content.decode()
    shown = ("scheduling_job", "scheduling_task", "agents_agent", "gateway_server", "access_apitoken")
    for name in shown:
        assert f'href="{reverse(f"admin:{name}_changelist")}"' in content
    for name in ("auth_user", "auth_group", "access_auditentry"):
        assert f'href="{reverse(f"admin:{name}_changelist")}"' not in content


def test_who_has_no_role_is_told_so():
    assert b"no role in any namespace" in client_of().get(reverse("admin:index")).content
    assert b"no role" not in browser_with(("viewer", "ours")).get(reverse("admin:index")).content


def test_what_to_do_first_is_offered_to_those_who_may():
    content = browser_with(("viewer", "*")).get(reverse("admin:index")).content
    assert ADD_JOB.encode() not in content
    assert reverse("admin:agents_agent_add").encode() not in content


# --- authority is read once a request -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("job", 11), ("schedule", 10), ("task", 9), ("taskinstance", 9)])
def test_a_list_takes_three_queries_more_for_the_roles_however_long_it_is(
    name, count, django_assert_num_queries
):
    url = reverse(f"admin:scheduling_{name}_changelist")
    browser = browser_with(("editor", "ours"), ("viewer", "theirs"))
    for namespace in ("ours", "theirs"):
        fill(namespace)
    browser.get(url)
    with django_assert_num_queries(count):
        browser.get(url)
    for number in range(5):
        job = factories.job(namespace="ours", name=f"more-{number}")
        factories.schedule(job=job, now=timezone.now())
        factories.task(job=job)
    with django_assert_num_queries(count):
        browser.get(url)
