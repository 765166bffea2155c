"""What somebody narrowed a list to is kept under a name, for themselves or for all who see the list."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from access import saved_filters
from access.errors import InvalidFilter
from access.models import AuditEntry, SavedFilter
from tests.admin_client import browser_with, client_of
from tests.factories import ANN
from tests.people import person

pytestmark = pytest.mark.django_db
DOOR = reverse("saved_filters")
TASKS = reverse("admin:scheduling_task_changelist")


def keep(browser, name="night", query="status__exact=failed", of_list="scheduling.task", **values):
    return browser.post(DOOR, {"of_list": of_list, "name": name, "query": query, **values})


def strip(browser, query=""):
    return browser.get(f"{TASKS}?{query}").context["saved_filters"]


def names(browser):
    return [item["filter"].name for item in strip(browser)["kept"]]


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_a_filter_is_kept_shown_and_leads_back_to_what_it_was(browser):
    assert strip(browser)["can_keep"] is False
    assert strip(browser, "status__exact=failed&q=x")["can_keep"] is True
    response = keep(browser, query="q=x&status__exact=failed&p=3")
    assert response.url == f"{TASKS}?q=x&status__exact=failed"
    shown = strip(browser, "status__exact=failed&q=x")
    assert [(item["filter"].name, item["is_current"]) for item in shown["kept"]] == [("night", True)]
    assert shown["can_keep"] is False
    assert 'href="?q=x&amp;status__exact=failed"' in browser.get(TASKS).content.decode()


def test_the_same_name_replaces_and_forgetting_forgets(browser):
    keep(browser)
    keep(browser, query="status__exact=running")
    kept = SavedFilter.objects.get()
    assert kept.query == "status__exact=running"
    assert browser.post(DOOR, {"of_list": "scheduling.task", "forget": kept.pk}).url == TASKS
    assert names(browser) == []
    actions = AuditEntry.objects.filter(action__startswith="saved_filter").order_by("pk")
    verbs = [action.partition(".")[2] for action in actions.values_list("action", flat=True)]
    assert verbs == ["save", "save", "delete"]


def test_others_see_what_is_shared_alone_and_do_not_forget_it(browser):
    keep(browser, name="mine")
    keep(browser, name="ours", is_shared="on")
    other = browser_with(("viewer", "*"))
    assert names(other) == ["ours"]
    shared = SavedFilter.objects.get(name="ours")
    other.post(DOOR, {"of_list": "scheduling.task", "forget": shared.pk})
    assert SavedFilter.objects.count() == 2


def test_a_list_that_one_may_not_see_has_no_door(browser):
    other = browser_with(("viewer", "ours"))
    assert keep(other, of_list="access.auditentry").status_code == 404
    assert keep(other, of_list="nothing.here").status_code == 404
    assert keep(other, of_list="x").status_code == 404
    assert other.get(DOOR).status_code == 405
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 61},
        {"name": "a\x07b"},
        {"query": ""},
        {"query": "p=2"},
        {"query": "q=" + "x" * 2001},
        {"query": "q=%00"},
    ],
)
def test_what_cannot_be_kept_is_refused_with_a_sentence(browser, wrong):
    response = keep(browser, **wrong)
    assert response.status_code == 302
    told = [str(message) for message in browser.get(TASKS).context["messages"]]
    assert told
    assert not SavedFilter.objects.exists()


def test_there_is_an_end_to_how_many_one_keeps(monkeypatch):
    monkeypatch.setattr(saved_filters, "MAX_FILTERS", 1)
    user = person()
    kept = {"user": user, "of_list": "scheduling.task", "query": "q=x", "is_shared": False, "by": ANN}
    saved_filters.save(name="one", **kept)
    saved_filters.save(name="one", **kept)
    with pytest.raises(InvalidFilter, match="delete one first"):
        saved_filters.save(name="two", **kept)


def test_they_go_with_their_user(browser):
    keep(browser)
    User.objects.get().delete()
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize("forget", ["x", "1", str(2**70)])
def test_forgetting_what_is_not_there_says_so(browser, forget):
    browser.post(DOOR, {"of_list": "scheduling.task", "forget": forget})
    assert b"There is no such filter of yours." in browser.get(TASKS).content
