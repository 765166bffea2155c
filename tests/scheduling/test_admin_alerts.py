"""Alerts in the admin: open ones first, acknowledged one by one or together, counted in the sidebar."""

import pytest
from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from scheduling.models import Alert
from scheduling.services.alerts import acknowledge
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_alert_changelist")
INDEX = reverse("admin:index")
BADGE = '<span class="hf-count">'


def page(alert, name="change"):
    return reverse(f"admin:scheduling_alert_{name}", args=[alert.pk])


def raise_alert(namespace="ours", **fields):
    job = factories.job(namespace=namespace)
    schedule = factories.schedule(job=job)
    return Alert.objects.create(
        kind="missed", namespace=namespace, job=job, schedule=schedule, text="the first one at noon", **fields
    )


def listed(browser, **query):
    return set(browser.get(LIST, query).context["cl"].result_list)


def test_the_list_shows_open_alerts_and_others_when_asked():
    seen, unseen = raise_alert(acknowledged_at=factories.NOW), raise_alert()
    browser = client_of(superuser=True)
    assert listed(browser) == {unseen}
    assert listed(browser, state="acknowledged") == {seen}
    assert listed(browser, state="all") == {seen, unseen}


def test_an_alert_is_acknowledged_by_a_button_and_says_by_whom():
    alert = raise_alert()
    browser = browser_with(("operator", "ours"))
    browser.post(page(alert, "acknowledge"))
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None
    assert alert.acknowledged_by
    shown = browser.get(page(alert))
    assert shown.context["buttons"] == []
    assert alert.acknowledged_by in shown.content.decode()


def choose(browser, *alerts, **more):
    chosen = {"action": "acknowledge_selected", "_selected_action": [alert.pk for alert in alerts]}
    return browser.post(LIST, chosen | more, follow=True)


def test_several_are_acknowledged_where_one_may_once_that_is_confirmed():
    ours, ours_too, theirs = raise_alert(), raise_alert(), raise_alert("theirs")
    browser = browser_with(("operator", "ours"), ("viewer", "theirs"))
    content = choose(browser, ours, ours_too, theirs).content.decode()
    assert "Acknowledge 2 alerts?" in content
    assert "your role there does not allow it" in content
    assert Alert.objects.filter(acknowledged_at__isnull=True).count() == 3
    assert "2 are done." in choose(browser, ours, ours_too, theirs, confirmed="yes").content.decode()
    assert list(Alert.objects.filter(acknowledged_at__isnull=True)) == [theirs]
    ours.refresh_from_db()
    assert ours.acknowledged_by
    written = AuditEntry.objects.filter(action="alert.acknowledge")
    assert {int(entry.subject_id) for entry in written} == {ours.pk, ours_too.pk}
    assert all(entry.after["acknowledged_at"] and entry.namespace == "ours" for entry in written)


def test_what_is_acknowledged_already_is_not_acknowledged_again():
    first, second = raise_alert(), raise_alert()
    acknowledge(alert_id=first.pk, now=timezone.now(), by=factories.ANN)
    operator = browser_with(("operator", "ours"))
    found = operator.get(f"{LIST}?state=all").context["cl"].result_list
    assert len(found) == 2
    chosen = {"action": "acknowledge_selected", "_selected_action": [first.pk, second.pk]}
    operator.post(f"{LIST}?state=all", chosen | {"confirmed": "yes"})
    first.refresh_from_db()
    assert first.acknowledged_by == factories.ANN.name
    assert AuditEntry.objects.filter(action="alert.acknowledge").count() == 2


def test_a_viewer_sees_and_acknowledges_nothing():
    alert = raise_alert()
    viewer = browser_with(("viewer", "ours"))
    assert listed(viewer) == {alert}
    assert viewer.get(page(alert)).context["buttons"] == []
    assert viewer.post(page(alert, "acknowledge")).status_code == 403
    assert "acknowledge_selected" not in viewer.get(LIST).content.decode()
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


def test_a_stranger_finds_no_alert():
    alert = raise_alert()
    stranger = browser_with(("admin", "theirs"))
    assert listed(stranger) == set()
    assert stranger.get(page(alert)).status_code == 302
    assert stranger.post(page(alert, "acknowledge")).status_code == 302
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


def test_the_page_leads_to_the_schedule_and_its_ledger():
    alert = raise_alert(instants=3)
    content = client_of(superuser=True).get(page(alert)).content.decode()
    assert "3 planned runs were missed" in content
    for name in ("change", "ledger"):
        assert reverse(f"admin:scheduling_schedule_{name}", args=[alert.schedule_id]) in content


def test_the_sidebar_and_the_overview_count_the_open_alerts_that_one_sees():
    raise_alert()
    raise_alert("theirs")
    browser = browser_with(("viewer", "ours"))
    response = browser.get(INDEX)
    assert f"{BADGE}1</span>" in response.content.decode()
    assert response.context["alert_count"] == "1"
    Alert.objects.update(acknowledged_at=factories.NOW)
    response = browser.get(INDEX)
    assert BADGE not in response.content.decode()
    assert "Open alerts" not in response.content.decode()


def test_many_alerts_are_counted_only_so_far():
    job = factories.job(namespace="ours")
    Alert.objects.bulk_create(Alert(kind="missed", namespace="ours", job=job, text="") for _ in range(150))
    assert client_of(superuser=True).get(INDEX).context["alert_count"] == "99+"


def test_the_list_takes_as_many_queries_for_many_as_for_one(django_assert_num_queries):
    raise_alert()
    browser = client_of(superuser=True)
    browser.get(LIST)
    with django_assert_num_queries(7):
        browser.get(LIST)
    for _ in range(10):
        raise_alert()
    with django_assert_num_queries(7):
        assert browser.get(LIST).context["cl"].result_count == 11
