"""Freezing a namespace in the admin, and seeing everywhere that it is frozen."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import overview
from scheduling.models import Freeze
from scheduling.services.calendars import freeze
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_freeze_changelist")
ADD = reverse("admin:scheduling_freeze_add")
INDEX = reverse("admin:index")
FROZEN = "The namespace ours is frozen."


def page(obj, name="change"):
    return reverse(f"admin:scheduling_{obj._meta.model_name}_{name}", args=[obj.pk])


def test_an_operator_freezes_with_reason_and_end_and_unfreezes():
    browser = browser_with(("operator", "ours"))
    values = form_values(browser.get(ADD)) | {
        "namespace": "ours",
        "reason": "release",
        "until_0": "2099-01-01",
        "until_1": "00:00:00",
    }
    assert browser.post(ADD, values).status_code == 302
    frozen = Freeze.objects.get()
    assert (frozen.namespace, frozen.reason, frozen.until.year) == ("ours", "release", 2099)
    response = browser.post(page(frozen, "thaw"), {"next": INDEX})
    assert (response.status_code, response["Location"]) == (302, INDEX)
    assert not Freeze.objects.exists()


def test_unfreezing_asks_first_and_goes_nowhere_else_afterwards():
    frozen = freeze(namespace="ours", now=timezone.now())
    browser = browser_with(("operator", "ours"))
    assert 'data-confirm="Unfreeze this namespace?' in browser.get(page(frozen)).content.decode()
    assert "what was skipped meanwhile" in browser.get(page(frozen, "delete")).content.decode()
    response = browser.post(page(frozen, "thaw"), {"next": "https://evil.example/"})
    assert response["Location"] == LIST


def test_end_and_reason_can_be_changed_and_the_beginning_stays():
    frozen = freeze(namespace="ours", now=timezone.now(), reason="release")
    browser = browser_with(("operator", "ours"))
    browser.post(page(frozen), form_values(browser.get(page(frozen))) | {"reason": "another release"})
    changed = Freeze.objects.get()
    assert (changed.reason, changed.since, changed.namespace) == ("another release", frozen.since, "ours")


def test_an_end_in_the_past_is_refused_at_its_field():
    browser = client_of(superuser=True)
    values = form_values(browser.get(ADD)) | {
        "namespace": "ours",
        "until_0": "2020-01-01",
        "until_1": "00:00:00",
    }
    assert "future" in str(browser.post(ADD, values).context["adminform"].form.errors["until"])
    assert not Freeze.objects.exists()


def test_what_is_frozen_says_so_on_the_overview_in_lists_and_on_its_pages():
    job = factories.job(namespace="ours")
    schedule = factories.schedule(job=job, now=timezone.now())
    lists = [reverse(f"admin:scheduling_{name}_changelist") for name in ("job", "schedule")]
    urls = [INDEX, *lists, page(job), page(schedule)]
    browser = browser_with(("operator", "ours"))
    assert [url for url in urls if FROZEN in browser.get(url).content.decode()] == []
    freeze(namespace="ours", now=timezone.now(), reason="release of Friday")
    for url in urls:
        content = browser.get(url).content.decode()
        assert FROZEN in content, url
        assert "release of Friday" in content
        assert reverse("admin:scheduling_freeze_thaw", args=[Freeze.objects.get().pk]) in content


def test_a_page_in_another_namespace_says_nothing_of_it():
    job = factories.job(namespace="theirs")
    freeze(namespace="ours", now=timezone.now())
    browser = browser_with(("viewer", "theirs"), ("viewer", "ours"))
    assert FROZEN not in browser.get(page(job)).content.decode()
    assert FROZEN in browser.get(INDEX).content.decode()
    assert FROZEN not in browser_with(("viewer", "theirs")).get(INDEX).content.decode()


def test_a_freeze_that_is_over_is_no_banner():
    now = timezone.now()
    freeze(namespace="ours", now=now - timedelta(days=2), until=now - timedelta(days=1))
    browser = client_of(superuser=True)
    assert FROZEN not in browser.get(INDEX).content.decode()
    assert "is over" in browser.get(LIST).content.decode()


def test_the_overview_does_not_announce_runs_of_a_frozen_namespace():
    factories.schedule(job=factories.job(namespace="ours"), now=timezone.now())
    browser = client_of(superuser=True)
    assert len(browser.get(INDEX).context["next_runs"]) == 1
    freeze(namespace="ours", now=timezone.now())
    # What all viewers share is a moment old at most.
    overview.forget()
    assert browser.get(INDEX).context["next_runs"] == []


def test_a_viewer_sees_freezes_and_lifts_none():
    frozen = freeze(namespace="ours", now=timezone.now())
    viewer = browser_with(("viewer", "ours"))
    assert viewer.get(page(frozen)).context["buttons"] == []
    assert viewer.post(page(frozen, "thaw")).status_code == 403
    assert viewer.post(page(frozen, "delete"), {"post": "yes"}).status_code == 403
    assert viewer.get(ADD).status_code == 403
    assert page(frozen, "thaw") not in viewer.get(INDEX).content.decode()
    assert Freeze.objects.exists()


def test_who_operates_one_namespace_freezes_no_other():
    browser = browser_with(("operator", "ours"), ("viewer", "theirs"))
    values = form_values(browser.get(ADD)) | {"namespace": "theirs"}
    assert "role in this namespace" in str(
        browser.post(ADD, values).context["adminform"].form.errors["namespace"]
    )
    hidden = freeze(namespace="classified", now=timezone.now())
    assert browser.post(page(hidden, "thaw")).status_code == 302
    assert Freeze.objects.filter(namespace="classified").exists()
