"""What attempts printed is searched newest first, across pieces, a bounded step at a time."""

import re

import pytest
from django.urls import reverse
from django.utils.html import escape

from scheduling.models import OutputChunk, TaskInstance
from scheduling.services import output_search
from scheduling.services.output_search import search_outputs
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_taskinstance_changelist")
EVERYTHING = TaskInstance.objects.all()


def found(text, **more):
    return [match.instance_id for match in search_outputs(EVERYTHING, text, **{"limit": 50} | more).matches]


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_text_is_found_across_pieces_in_either_stream_whatever_the_size_of_letters():
    one = factories.attempt(*(("stderr", bytes([byte])) for byte in b"a Dead"), ("stderr", b"Lock!\n"))
    two = factories.attempt(("stdout", b"no dead"), ("stderr", b"lock"))
    assert found("deadLOCK") == [one.pk]
    assert found("dead") == [two.pk, one.pk]
    assert found("303") == []


def test_the_line_of_the_first_match_is_told_of_stdout_before_stderr():
    attempt = factories.attempt(
        ("stderr", b"early error\n"), ("stdout", b"first\nsome er"), ("stdout", b"ror here\nerror\n")
    )
    (match,) = search_outputs(EVERYTHING, "error", limit=50).matches
    assert (match.stream, match.offset) == ("stdout", 11)
    assert (match.before, match.text, match.behind) == (b"some ", b"error", b" here")
    TaskInstance.objects.filter(pk=attempt.pk).update(stdout_bytes=0)
    OutputChunk.objects.filter(stream=1).delete()
    assert [match.stream for match in search_outputs(EVERYTHING, "error", limit=50).matches] == ["stderr"]


def test_bytes_that_are_no_text_are_searched_as_well():
    attempt = factories.attempt(("stdout", b"\x00\xff\xc3 \x00needle\xff"), ("stdout", "größe 大小".encode()))
    assert found("needle") == found("größe 大") == [attempt.pk]


@pytest.mark.parametrize("bound", ["STEP_SECS", "STEP_BYTES"])
def test_a_step_is_bounded_and_the_next_one_goes_on_where_it_ended(monkeypatch, bound):
    monkeypatch.setattr(output_search, bound, 0)
    monkeypatch.setattr(output_search, "_READ_BYTES", 1)
    attempts = [factories.attempt(("stdout", b"needle")) for _ in range(3)]
    step = search_outputs(EVERYTHING, "needle", limit=50)
    assert ([match.instance_id for match in step.matches], step.looked_at) == ([attempts[2].pk], 1)
    ids = [attempts[2].pk]
    while not step.is_over:
        step = search_outputs(EVERYTHING, "needle", before=step.last_id, limit=50)
        ids += [match.instance_id for match in step.matches]
    assert ids == [attempt.pk for attempt in reversed(attempts)]


def test_a_page_full_of_matches_ends_it(django_assert_num_queries):
    attempts = [factories.attempt(("stdout", b"needle")) for _ in range(3)]
    with django_assert_num_queries(2):
        step = search_outputs(EVERYTHING, "needle", limit=2)
    assert (step.looked_at, step.last_id, step.is_over) == (2, attempts[1].pk, False)
    assert found("needle", before=step.last_id, limit=2) == [attempts[0].pk]


def test_of_a_long_output_the_end_is_looked_at_and_that_is_told(monkeypatch):
    monkeypatch.setattr(output_search, "TAIL_BYTES", 10)
    attempt = factories.attempt(("stdout", b"beginning\n"), ("stdout", b"x" * 10), ("stdout", b"the end"))
    factories.attempt(("stdout", b"short"))
    step = search_outputs(EVERYTHING, "beginning", limit=50)
    assert (step.matches, step.shortened, step.looked_at) == ([], 1, 2)
    (match,) = search_outputs(EVERYTHING, "end", limit=50).matches
    assert (match.instance_id, match.offset) == (attempt.pk, 24)


def test_the_list_shows_the_line_with_a_link_to_it_within_the_other_filters(browser):
    hostile = "<b>x</b>\x1b[31m \u202eFAILED\x07 now"
    attempt = factories.attempt(("stdout", f"fine\n{hostile}\nfine".encode()))
    factories.attempt(("stdout", b"all is fine"))
    other = factories.attempt(("stdout", b"failed too"))
    page = browser.get(LIST, {"output": "failed"}).content.decode()
    link = re.search(r'<a class="hf-found-line" href="([^"]+)">(.*?)</a>', page[page.index(f"#{attempt}<") :])
    offset = len(f"fine\n{hostile[: hostile.index('F')]}".encode())
    address = reverse("admin:scheduling_taskinstance_change", args=[attempt.pk])
    assert link.groups() == (
        f"{address}#stdout-{offset}",
        f"{escape('<b>x</b>')} [U+202E]<mark>FAILED</mark>␇ now",
    )
    assert "Looked at the output of 3 attempts" in page
    assert "There are no older ones." in page
    listed = browser.get(LIST, {"output": "failed", "q": f"{other.task_id}"}).context["cl"].result_list
    assert [row.pk for row in listed] == [other.pk]
    assert "hf-found-line" not in browser.get(LIST).content.decode()


def test_the_list_leads_to_older_attempts_and_back(browser, monkeypatch):
    monkeypatch.setattr(output_search, "STEP_SECS", 0)
    monkeypatch.setattr(output_search, "_READ_BYTES", 1)
    older, newer = (factories.attempt(("stdout", b"needle")) for _ in range(2))
    first = browser.get(LIST, {"output": "needle"})
    assert [row.pk for row in first.context["cl"].result_list] == [newer.pk]
    address = first.context["cl"].search_report["older"]
    assert escape(address) in first.content.decode()
    second = browser.get(LIST + address)
    assert [row.pk for row in second.context["cl"].result_list] == [older.pk]
    assert second.context["cl"].search_report["newest"] == "?output=needle"


def test_who_sees_one_namespace_finds_nothing_of_another():
    factories.attempt(("stdout", b"needle"), job=factories.job(namespace="secret"))
    seen = factories.attempt(("stdout", b"needle"))
    response = browser_with(("viewer", "default")).get(LIST, {"output": "needle"})
    assert [row.pk for row in response.context["cl"].result_list] == [seen.pk]
    assert response.context["cl"].searched.looked_at == 1


@pytest.mark.parametrize("query", [{"output": "x" * 257}, {"output": "\x00"}, {"output": "x", "older": "y"}])
def test_what_cannot_be_searched_for_finds_nothing(browser, query):
    factories.attempt(("stdout", b"abc"))
    response = browser.get(LIST, query)
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


def test_it_takes_as_many_queries_for_twenty_matches_as_for_one(browser, django_assert_num_queries):
    factories.attempt(("stdout", b"needle"))
    browser.get(LIST)
    with django_assert_num_queries(10):
        browser.get(LIST, {"output": "needle"})
    for _ in range(9):
        factories.attempt(("stdout", b"needle"))
    with django_assert_num_queries(10):
        assert len(browser.get(LIST, {"output": "needle"}).context["cl"].result_list) == 10
