"""What members of staff see and may do in the admin, by the roles that they have (I14)."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field
from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from gateway.models import AgentLog
from scheduling.admin.jobs import SCHEDULABLE
from scheduling.admin.pages import Admin
from scheduling.admin.permissions import PermittedAdmin, SeenAutocompleteFilter, SeenDropdownFilter
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
JOBS = reverse("admin:scheduling_job_changelist")
ADD_JOB = reverse("admin:scheduling_job_add")
ADD_SCHEDULE = reverse("admin:scheduling_schedule_add")
MODEL_ADMINS = sorted(admin.site._registry.values(), key=str)


def page(obj, name="change"):
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_{name}", args=[obj.pk])


def fill(namespace):
    """Make one of each kind in a namespace, whose name stands in everything that one could read."""
    job = factories.job(name=f"job-{namespace}", namespace=namespace, description=f"about {namespace}")
    schedule = factories.schedule(job=job, now=timezone.now(), name=f"schedule-{namespace}")
    task = factories.task(job=job, now=timezone.now(), parameters={"where": namespace})
    agent = factories.agent()
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    attempt = TaskInstance.objects.get(task=task)
    key = AttemptKey(agent_id=agent.pk, instance_id=attempt.pk, token=attempt.token)
    output = f"written in {namespace}".encode()
    store_output([Chunk(key=key, stream="stdout", offset=0, data=output, at=timezone.now())])
    AgentLog.objects.create(agent=agent, at=timezone.now(), level="info", message=f"runs {namespace}")
    failed = factories.task(job=job)
    at = timezone.now()
    Task.objects.filter(pk=failed.pk).update(status="failed", completed_at=at, scheduled_at=at)
    return {
        Job: job,
        Schedule: schedule,
        Task: task,
        TaskInstance: attempt,
        AuditEntry: AuditEntry.objects.filter(namespace=namespace).first(),
    }


def urls_of(model_admin, obj):
    """Yield the address of every view of an admin class; those of one object are those of `obj`."""
    for pattern in model_admin.get_urls():
        if pattern.name and (obj is not None or not pattern.pattern.converters):
            arguments = [obj.pk] if pattern.pattern.converters else []
            yield reverse(f"admin:{pattern.name}", args=arguments)


def every_url(objects):
    for model, model_admin in admin.site._registry.items():
        yield from urls_of(model_admin, objects.get(model))


def contents():
    """Return everything that work is made of, to compare with later."""
    models = (Job, Schedule, Task, TaskInstance)
    return {model: list(model.objects.order_by("pk").values()) for model in models}


# --- one mechanism for all ----------------------------------------------------------------------------


@pytest.mark.parametrize("model_admin", MODEL_ADMINS, ids=str)
def test_every_admin_class_shows_rows_by_the_one_mechanism(model_admin):
    assert isinstance(model_admin, Admin)
    assert type(model_admin).get_queryset is PermittedAdmin.get_queryset
    assert model_admin.namespace_path is None or model_admin.view_permission.startswith(
        ("scheduling.", "access.")
    )


def test_an_admin_class_that_says_no_namespace_path_is_refused_at_the_start():
    class Forgetful(Admin):
        pass

    with pytest.raises(ImproperlyConfigured, match="namespace_path"):
        Forgetful(Job, admin.site)


@pytest.mark.parametrize("model_admin", MODEL_ADMINS, ids=str)
def test_filters_by_related_objects_offer_only_what_is_seen(model_admin):
    for each in model_admin.list_filter:
        name, kind = each if isinstance(each, tuple) else (each, None)
        field = model_admin.opts.get_field(name) if isinstance(name, str) else None
        if isinstance(field, Field) and field.is_relation:
            assert issubclass(kind, SeenDropdownFilter | SeenAutocompleteFilter), name


def test_models_with_a_namespace_say_so():
    for model in apps.get_models():
        if hasattr(model, "namespace") and admin.site.is_registered(model):
            model_admin = admin.site.get_model_admin(model)
            is_token = model._meta.label == "access.ApiToken"  # its namespace limits it, it is in none
            assert (model_admin.namespace_path is None) == is_token, model


# --- what is of another namespace is nowhere ----------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_no_page_at_all_tells_of_another_namespace(role):
    ours, hidden = fill("ours"), fill("classified")
    browser = browser_with((role, "ours"))
    pages_of_ours = 0
    for url in {*every_url(ours), *every_url(hidden), reverse("admin:index")}:
        response = browser.get(url, follow=True)
        content = b"" if response.streaming else response.content
        assert b"classified" not in content, url
        pages_of_ours += b"ours" in content
    assert pages_of_ours > 10


def test_an_object_of_another_namespace_answers_as_one_that_does_not_exist():
    hidden = fill("classified")
    browser = browser_with(("admin", "ours"))
    for model in (Job, Schedule, Task, TaskInstance, AuditEntry):
        response = browser.get(page(hidden[model]), follow=True)
        assert response.redirect_chain == [(reverse("admin:index"), 302)]
        assert "Perhaps it was deleted?" in response.content.decode()


def test_nothing_of_another_namespace_can_be_changed_by_any_address():
    hidden = fill("classified")
    browser = browser_with(("admin", "ours"))
    before = contents()
    for url in every_url(hidden):
        browser.post(url, {"post": "yes"})
        browser.post(url, {"name": "mine", "namespace": "ours", "parameters": "{}", "priority": "0"})
    assert contents() == before


@pytest.mark.parametrize("action", ["delete_selected", "run_selected", "enable_selected", "disable_selected"])
@pytest.mark.parametrize("across", ["0", "1"])
def test_no_action_on_several_reaches_another_namespace(action, across):
    hidden = fill("classified")
    browser = browser_with(("admin", "ours"))
    before = contents()
    chosen = {"action": action, "_selected_action": [hidden[Job].pk], "select_across": across}
    browser.post(JOBS, chosen | {"post": "yes", "confirmed": "yes"})
    assert contents() == before


def test_a_filter_by_an_object_of_another_namespace_finds_nothing_and_does_not_name_it():
    hidden = fill("classified")
    browser = browser_with(("viewer", "ours"))
    for name in ("task", "schedule"):
        url = reverse(f"admin:scheduling_{name}_changelist")
        response = browser.get(url, {"job__id__exact": hidden[Job].pk})
        assert response.context["cl"].result_count == 0
        assert b"classified" not in response.content


def test_search_and_autocomplete_find_only_what_is_seen():
    fill("ours")
    fill("classified")
    browser = browser_with(("viewer", "ours"))
    field = {"app_label": "scheduling", "model_name": "task", "field_name": "job"}
    found = browser.get(reverse("admin:autocomplete"), {**field, "term": "job-"}).json()["results"]
    assert [each["text"] for each in found] == ["ours/job-ours"]
    for name in ("job", "task", "schedule", "taskinstance"):
        url = reverse(f"admin:scheduling_{name}_changelist")
        assert browser.get(url, {"q": "classified"}).context["cl"].result_count == 0


def test_a_search_for_tasks_is_not_crowded_out_by_jobs_that_are_not_seen(monkeypatch):
    monkeypatch.setattr("scheduling.admin.tasks._MATCHING_JOBS", 1)
    factories.task(job=factories.job(name="same", namespace="classified"))
    ours = factories.task(job=factories.job(name="same", namespace="ours"))
    url = reverse("admin:scheduling_task_changelist")
    found = browser_with(("viewer", "ours")).get(url, {"q": "same"}).context["cl"].result_list
    assert [task.pk for task in found] == [ours.pk]


def test_the_filter_by_namespace_offers_only_those_that_are_seen():
    fill("ours")
    fill("theirs")
    fill("classified")
    browser = browser_with(("viewer", "ours"), ("viewer", "theirs"))
    content = browser.get(JOBS).content
    assert b"?namespace=ours" in content
    assert b"?namespace=theirs" in content
    assert b"classified" not in content


def test_figures_and_charts_count_what_is_seen():
    fill("ours")
    fill("classified")
    context = browser_with(("viewer", "ours")).get(reverse("admin:index")).context
    assert (context["failed_count"], context["waiting_count"], len(context["failures"])) == (1, "0", 1)
    assert sum(hour["failed_percent"] > 0 for hour in context["hours"]) == 1
    assert len(context["next_runs"]) == 1
    context = browser_with(("viewer", "*")).get(reverse("admin:index")).context
    assert (context["failed_count"], len(context["failures"]), len(context["next_runs"])) == (2, 2, 2)


def test_history_stays_with_its_namespace_when_its_job_moves_away():
    ours = fill("ours")
    Job.objects.filter(pk=ours[Job].pk).update(namespace="classified", name="secret")
    browser = browser_with(("viewer", "ours"))
    for obj in (ours[Task], ours[TaskInstance]):
        response = browser.get(page(obj))
        assert response.status_code == 200
        assert b"secret" not in response.content
        listed = browser.get(reverse(f"admin:scheduling_{obj._meta.model_name}_changelist"))
        assert listed.context["cl"].result_count > 0
        assert b"secret" not in listed.content
    assert b"secret" not in browser.get(reverse("admin:index")).content


def test_who_came_with_a_job_to_its_new_namespace_does_not_see_what_it_did_before():
    hidden = fill("classified")
    Job.objects.filter(pk=hidden[Job].pk).update(namespace="ours", description="")
    browser = browser_with(("viewer", "ours"))
    assert browser.get(page(hidden[Job])).context["tasks"] == []
    failed = Task.objects.get(status="failed")
    assert page(failed).encode() in browser_with(("viewer", "*")).get(JOBS).content
    assert page(failed).encode() not in browser.get(JOBS).content


# --- what one may do, where ---------------------------------------------------------------------------


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
    assert not shown.context["can_run"]
    assert not shown.context["can_add_schedule"]
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
        ("delete_selected", lambda job: job.archived_at is not None),
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
    for action in ("run_selected", "delete_selected"):
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


@pytest.mark.parametrize(("name", "count"), [("job", 9), ("schedule", 7), ("task", 7), ("taskinstance", 8)])
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
