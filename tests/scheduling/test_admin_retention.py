"""Saying in the admin how long history is kept."""

import pytest
from django.urls import reverse

from scheduling.models import RetentionRule
from scheduling.services.retention_rules import create_rule
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_retentionrule_changelist")
ADD = reverse("admin:scheduling_retentionrule_add")


def page(rule, name="change"):
    return reverse(f"admin:scheduling_retentionrule_{name}", args=[rule.pk])


def test_an_admin_makes_changes_and_deletes_rules_of_a_namespace_and_of_a_job():
    browser = browser_with(("admin", "ours"))
    job = factories.job(namespace="ours")
    for fields in ({"namespace": "ours", "keep_days": 30}, {"job": job.pk, "keep_last": 5}):
        assert browser.post(ADD, form_values(browser.get(ADD)) | fields).status_code == 302
    of_namespace, of_job = RetentionRule.objects.order_by("pk")
    assert (of_namespace.job, of_namespace.keep_days) == (None, 30)
    assert (of_job.job, of_job.namespace, of_job.keep_last) == (job, "ours", 5)
    browser.post(page(of_job), form_values(browser.get(page(of_job))) | {"keep_last": "", "keep_days": 0})
    of_job.refresh_from_db()
    assert (of_job.keep_last, of_job.keep_days) == (None, 0)
    assert browser.post(page(of_job, "delete"), {"post": "yes"}).status_code == 302
    assert list(RetentionRule.objects.all()) == [of_namespace]


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"namespace": "ours"}, "keep_days"),
        ({"keep_days": 5}, "namespace"),
        ({"namespace": "*", "keep_days": 5}, "namespace"),
        ({"namespace": "theirs", "keep_days": 5}, "namespace"),
        ({"namespace": "ours", "keep_days": 99_999}, "keep_days"),
    ],
)
def test_what_makes_no_sense_or_is_not_permitted_is_refused_at_its_field(fields, at):
    browser = browser_with(("admin", "ours"))
    response = browser.post(ADD, form_values(browser.get(ADD)) | fields)
    assert at in response.context["adminform"].form.errors
    assert not RetentionRule.objects.exists()


def test_a_second_rule_for_the_same_is_refused_and_says_so():
    create_rule(namespace="ours", keep_days=1)
    browser = browser_with(("admin", "ours"))
    response = browser.post(ADD, form_values(browser.get(ADD)) | {"namespace": "ours", "keep_days": 5})
    assert "There is a rule for ours already" in str(response.context["adminform"].form.non_field_errors())


def test_viewers_look_and_change_nothing():
    rule = create_rule(namespace="ours", keep_days=30)
    browser = browser_with(("viewer", "ours"))
    assert "ours" in browser.get(LIST).content.decode()
    assert browser.post(page(rule), {"keep_days": 1}).status_code == 403
    assert browser.get(ADD).status_code == 403


def test_the_list_says_what_holds_without_a_rule_and_costs_the_same_for_many(
    settings, django_assert_max_num_queries
):
    settings.HETUFLOW_KEEP_DAYS = 45
    for _ in range(5):
        create_rule(namespace="default", job=factories.job(), keep_days=0)
    create_rule(namespace="*", keep_last=0, keep_days=7)
    browser = client_of(superuser=True)
    with django_assert_max_num_queries(8):
        content = browser.get(LIST).content.decode()
    said = "Where no rule says otherwise, ended tasks are kept for 45 days."
    assert f'<p class="hf-note">{said}</p>' in content
    assert "for ever" in content
    assert "every namespace" in content
