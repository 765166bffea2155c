import base64

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from scheduling.admin.output import PAGE_BYTES
from scheduling.models import Task, TaskInstance
from scheduling.services.viewing import BOTH
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_taskinstance_changelist")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def end(attempt):
    TaskInstance.objects.filter(pk=attempt.pk).update(status="completed", completed_at=timezone.now())


def page(attempt):
    return reverse("admin:scheduling_taskinstance_change", args=[attempt.pk])


def output(browser, attempt, **query):
    """Return the page of output that is asked for."""
    response = browser.get(reverse("admin:scheduling_taskinstance_output", args=[attempt.pk]), query)
    assert response.status_code == 200, response.content
    return response.json()


def text_of(answer, *streams):
    parts = [part for part in answer["parts"] if part["stream"] in (streams or BOTH)]
    return b"".join(base64.b64decode(part["data"]) for part in parts)


def found(browser, attempt, **query):
    return browser.get(reverse("admin:scheduling_taskinstance_find", args=[attempt.pk]), query)


HOSTILE = "<script>alert(1)</script>\x1b]0;owned\x07\x1b[2J\u202etxt.exe\n"
AS_TEXT = "&lt;script&gt;alert(1)&lt;/script&gt;␛]0;owned␇␛[2J[U+202E]txt.exe\n"


def test_hostile_messages_and_results_are_shown_as_text_on_every_page(browser):
    attempt = factories.attempt(("stdout", HOSTILE.encode()), ("stderr", HOSTILE.encode()))
    fields = {"error_message": HOSTILE, "result": {HOSTILE: HOSTILE}, "metrics": {"note": HOSTILE}}
    TaskInstance.objects.filter(pk=attempt.pk).update(**fields)
    Task.objects.filter(pk=attempt.task_id).update(status="failed", completed_at=timezone.now())
    paths = [page(attempt), LIST, reverse("admin:scheduling_task_change", args=[attempt.task_id]), "/admin/"]
    pages = {path: browser.get(path).content.decode() for path in paths}
    assert AS_TEXT in pages[page(attempt)]
    for path, content in pages.items():
        assert "owned" in content, path
        assert "<script>alert" not in content, path
        assert not set(content) & {"\x1b", "\x07", "\u202e"}, path


def test_the_page_names_where_output_is_and_whether_more_will_come(browser):
    attempt = factories.attempt(("stdout", b"hello"))
    content = browser.get(page(attempt)).content.decode()
    assert f'data-socket="/ws/admin/attempts/{attempt.pk}"' in content
    assert 'data-live-output="1"' in content
    end(attempt)
    assert 'data-live-output=""' in browser.get(page(attempt)).content.decode()


def test_the_end_of_output_is_what_one_is_shown_at_first(browser):
    attempt = factories.attempt(("stdout", b"first\n" + b"x\n" * PAGE_BYTES), ("stderr", b"last\n"))
    tail = output(browser, attempt)
    assert text_of(tail).endswith(b"x\nlast\n")
    assert len(text_of(tail)) <= PAGE_BYTES
    assert tail["end"] == tail["size"] == {"stdout": 6 + 2 * PAGE_BYTES, "stderr": 5}
    assert (tail["begin"]["stdout"], tail["target"]) == (6 + PAGE_BYTES + 6, None)


def test_pages_before_and_after_a_place_lie_next_to_each_other(browser):
    attempt = factories.attempt(*(("stdout", b"%06d\n" % n * 1000) for n in range(30)))
    tail = output(browser, attempt)
    before = output(browser, attempt, before=f"{tail['begin']['stdout']}.0")
    assert before["end"] == tail["begin"]
    again = output(browser, attempt, after=f"{before['begin']['stdout']}.0")
    assert text_of(again) == (text_of(before) + text_of(tail))[: len(text_of(again))]
    assert text_of(output(browser, attempt, after="0.0")).startswith(b"000000\n")


def test_a_jump_shows_what_is_around_a_position(browser):
    attempt = factories.attempt(*(("stdout", b"%06d\n" % n * 1000) for n in range(100)), ("stderr", b"!\n"))
    around = output(browser, attempt, at=350_000)
    assert around["target"] == {"stdout": 350_000, "stderr": 0}
    assert around["begin"]["stdout"] < 350_000 < around["end"]["stdout"]
    assert text_of(around).startswith(b"0000")
    assert around["begin"]["stdout"] % 7 == 0
    only = output(browser, attempt, at=1, stream="stderr")
    assert text_of(only) == b"!\n"
    assert output(browser, attempt, at=10**14)["end"] == around["size"]


def test_a_line_is_found_by_any_of_its_bytes(browser):
    attempt = factories.attempt(
        ("stdout", b"one\ntwo\nthree\n"), ("stderr", b"oops\n"), ("stdout", b"four\n")
    )
    assert output(browser, attempt, line="stdout.6")["target"] == {"stdout": 4, "stderr": 0}
    assert output(browser, attempt, line="stdout.15")["target"] == {"stdout": 14, "stderr": 5}
    assert output(browser, attempt, line="stderr.0")["target"] == {"stdout": 14, "stderr": 0}
    assert output(browser, attempt, line="stderr.99")["target"] == {"stdout": 19, "stderr": 5}


def test_a_line_with_nothing_of_its_stream_before_it_is_not_cut(browser):
    attempt = factories.attempt(("stdout", b"a\n"), ("stderr", b"e\n" * PAGE_BYTES), ("stdout", b"b\nc\n"))
    around = output(browser, attempt, line="stdout.2")
    assert text_of(around, "stdout") == b"b\nc\n"


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "-1.0"},
        {"before": "1"},
        {"before": "9" * 40 + ".0"},
        {"at": ""},
        {"at": "1e3"},
        {"line": "stdin.0"},
        {"line": "stdout"},
        {"stream": "both"},
    ],
)
def test_nonsense_is_refused_in_words(browser, query):
    attempt = factories.attempt(("stdout", b"hello"))
    response = browser.get(reverse("admin:scheduling_taskinstance_output", args=[attempt.pk]), query)
    assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert response.content.startswith(b"expected")


def test_text_is_found_on_and_back_and_in_one_stream(browser):
    attempt = factories.attempt(("stdout", b"an Error\n"), ("stderr", b"error\n"), ("stdout", b"ERRORS\n"))
    begin, over = "0.0", "16.6"
    assert found(browser, attempt, q="error", after=begin).json()["found"] == {
        "stream": "stdout",
        "offset": 3,
    }
    assert found(browser, attempt, q="error", after="4.0").json()["found"] == {
        "stream": "stderr",
        "offset": 0,
    }
    assert found(browser, attempt, q="error", after="4.1").json()["found"] == {
        "stream": "stdout",
        "offset": 9,
    }
    assert found(browser, attempt, q="error", before=over).json()["found"] == {
        "stream": "stdout",
        "offset": 9,
    }
    assert found(browser, attempt, q="error", before="9.0", stream="stderr").json()["found"] is None
    assert found(browser, attempt, q="nothing", after=begin).json()["is_over"] is True
    assert found(browser, attempt, q="Ä", after=begin).json()["found"] is None


@pytest.mark.parametrize("query", [{"q": ""}, {"q": "x" * 300}, {"q": "x", "after": "y"}, {"q": "x"}])
def test_a_search_that_makes_no_sense_is_refused(browser, query):
    assert found(browser, factories.attempt(), **query).status_code == 400


@pytest.mark.django_db(transaction=True)
async def test_the_download_is_the_output_byte_for_byte_as_plain_text():
    data = bytes(range(256)) * 8192
    pieces = [("stdout", data[begin : begin + 65_536]) for begin in range(0, len(data), 65_536)]
    attempt = await sync_to_async(factories.attempt)(*pieces)
    browser = AsyncClient()
    await sync_to_async(lambda: setattr(browser, "cookies", client_of(superuser=True).cookies))()
    response = await browser.get(reverse("admin:scheduling_taskinstance_stdout", args=[attempt.pk]))
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment;")
    assert b"".join([piece async for piece in response.streaming_content]) == data
    await sync_to_async(connections.close_all)()


def test_who_may_not_see_attempts_sees_no_output_by_any_address():
    attempt = factories.attempt(("stdout", b"secret"))
    browser = client_of("scheduling.view_task")
    for name in ("change", "output", "find", "stdout", "stderr"):
        url = reverse(f"admin:scheduling_taskinstance_{name}", args=[attempt.pk])
        assert browser.get(url).status_code == 403


def test_search_finds_by_id_by_task_and_by_agent(browser):
    attempt = factories.attempt()
    factories.attempt()
    for term in (str(attempt.pk), f"#{attempt.task_id}", f"{attempt.task_id}.1", attempt.agent.name):
        found = browser.get(LIST, {"q": term}).context["cl"].result_list
        assert [item.pk for item in found] == [attempt.pk]


def test_the_list_takes_as_many_queries_for_twenty_as_for_one(browser, django_assert_num_queries):
    factories.attempt()
    browser.get(LIST)
    with django_assert_num_queries(7):
        browser.get(LIST)
    for _ in range(19):
        factories.attempt()
    with django_assert_num_queries(7):
        assert browser.get(LIST).context["cl"].result_count == 20
