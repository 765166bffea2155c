"""What members of staff see in the admin, by the roles that they have (I14)."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field
from django.urls import reverse

from scheduling.admin.pages import Admin
from scheduling.admin.permissions import PermittedAdmin, SeenAutocompleteFilter, SeenDropdownFilter
from scheduling.models import (
    Alert,
    Backfill,
    Calendar,
    Freeze,
    Job,
    RetentionRule,
    Schedule,
    Task,
    TaskInstance,
)
from tests import factories
from tests.admin_client import browser_with
from tests.hetuflow.admin_pages import JOBS, fill, page

pytestmark = pytest.mark.django_db
MODEL_ADMINS = sorted(admin.site._registry.values(), key=str)


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
    """Return everything that work is made of, to compare with later; of `ours` only what is about work."""
    models = (Job, Schedule, Task, TaskInstance, Alert, Backfill)
    rows = {model: list(model.objects.order_by("pk").values()) for model in models}
    others = {
        model: model.objects.exclude(namespace="ours").order_by("pk")
        for model in (Calendar, Freeze, RetentionRule)
    }
    return rows | {model: list(found.values()) for model, found in others.items()}


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
    for model in hidden:
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


@pytest.mark.parametrize(
    "action", ["archive_selected", "run_selected", "enable_selected", "disable_selected"]
)
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
    monkeypatch.setattr("scheduling.admin.searching._MATCHING", 1)
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
    assert b'<option value="ours">' in content
    assert b'<option value="theirs">' in content
    assert b"classified" not in content


def test_figures_and_charts_count_what_is_seen():
    fill("ours")
    fill("classified")
    Freeze.objects.all().delete()
    context = browser_with(("viewer", "ours")).get(reverse("admin:index")).context
    assert (context["failed_count"], context["waiting_count"], len(context["failures"])) == ("1", "0", 1)
    assert [part["kind"] for hour in context["hours"] for part in hour["parts"]].count("failed") == 1
    assert len(context["next_runs"]) == 1
    context = browser_with(("viewer", "*")).get(reverse("admin:index")).context
    assert (context["failed_count"], len(context["failures"]), len(context["next_runs"])) == ("2", 2, 2)


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
    assert browser.get(page(hidden[Job])).context["runs"]["bars"] == []
    failed = Task.objects.get(status="failed")
    assert page(failed).encode() in browser_with(("viewer", "*")).get(JOBS).content
    assert page(failed).encode() not in browser.get(JOBS).content
