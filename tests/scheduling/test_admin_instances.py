import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from scheduling.admin.output import PAGE_BYTES
from scheduling.models import Task, TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_taskinstance_changelist")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def begin(**fields):
    """Return a live attempt."""
    agent = factories.agent()
    task = factories.task(now=timezone.now(), **fields)
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    return TaskInstance.objects.get(task=task)


def write(attempt, data, *, stream="stdout", offset=0):
    key = AttemptKey(agent_id=attempt.agent_id, instance_id=attempt.pk, token=attempt.token)
    pieces = [data[begin : begin + 65_536] for begin in range(0, len(data), 65_536)]
    chunks = [
        Chunk(key=key, stream=stream, offset=offset + 65_536 * n, data=piece, at=timezone.now())
        for n, piece in enumerate(pieces)
    ]
    store_output(chunks)
    attempt.refresh_from_db()


def end(attempt):
    TaskInstance.objects.filter(pk=attempt.pk).update(status="completed", completed_at=timezone.now())


def page(attempt):
    return reverse("admin:scheduling_taskinstance_change", args=[attempt.pk])


def shown(response, stream="stdout"):
    return next(item for item in response.context["streams"] if item["name"] == stream)


def follow(browser, attempt, **offsets):
    return browser.get(reverse("admin:scheduling_taskinstance_follow", args=[attempt.pk]), offsets).json()


def test_output_is_shown_as_text_and_never_as_markup(browser):
    attempt = begin()
    write(attempt, b"<script>alert(1)</script>\n")
    write(attempt, b"& trouble", stream="stderr")
    content = browser.get(page(attempt)).content
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in content
    assert b"&amp; trouble" in content
    assert b"<script>alert(1)" not in content


HOSTILE = "<script>alert(1)</script>\x1b]0;owned\x07\x1b[2J\u202etxt.exe\n"
AS_TEXT = "&lt;script&gt;alert(1)&lt;/script&gt;␛]0;owned␇␛[2J[U+202E]txt.exe\n"


def test_hostile_output_messages_and_results_are_shown_as_text_on_every_page(browser):
    attempt = begin()
    write(attempt, HOSTILE.encode())
    write(attempt, HOSTILE.encode(), stream="stderr")
    fields = {"error_message": HOSTILE, "result": {HOSTILE: HOSTILE}, "metrics": {"note": HOSTILE}}
    TaskInstance.objects.filter(pk=attempt.pk).update(**fields)
    Task.objects.filter(pk=attempt.task_id).update(status="failed", completed_at=timezone.now())
    paths = [page(attempt), LIST, reverse("admin:scheduling_task_change", args=[attempt.task_id]), "/admin/"]
    pages = {path: browser.get(path).content.decode() for path in paths}
    assert pages[page(attempt)].count(AS_TEXT) == 3
    for path, content in pages.items():
        assert "owned" in content, path
        assert "<script>alert" not in content, path
        assert not set(content) & {"\x1b", "\x07", "\u202e"}, path


def test_followed_output_is_text_with_its_controls_visible(browser):
    attempt = begin()
    write(attempt, HOSTILE.encode())
    piece = follow(browser, attempt, stdout=0)["streams"]["stdout"]
    assert piece["text"] == "<script>alert(1)</script>␛]0;owned␇␛[2J[U+202E]txt.exe\n"
    assert piece["next"] == len(HOSTILE.encode())


def test_nul_and_invalid_utf_8_are_shown_with_the_replacement_character(browser):
    attempt = begin()
    write(attempt, b"a\x00b\xff\xfe caf\xc3\xa9")
    end(attempt)
    assert shown(browser.get(page(attempt)))["text"] == "a\ufffdb\ufffd\ufffd café"


def test_of_long_output_the_end_is_shown_with_a_link_to_what_is_before(browser):
    attempt = begin()
    write(attempt, b"first\n" + b"x" * 3 * PAGE_BYTES + b"last\n")
    end(attempt)
    tail = shown(browser.get(page(attempt)))
    assert tail["text"].endswith("last\n")
    assert len(tail["text"]) == PAGE_BYTES
    before = shown(browser.get(page(attempt), {"stdout_from": tail["before"]}))
    assert before["after"] == tail["start"]
    assert shown(browser.get(page(attempt), {"stdout_from": 0}))["text"].startswith("first\n")


@pytest.mark.parametrize("offset", ["-1", "x", "9" * 40, ""])
def test_a_nonsense_offset_is_no_server_error(browser, offset):
    attempt = begin()
    write(attempt, b"hello")
    assert browser.get(page(attempt), {"stdout_from": offset}).status_code == 200
    assert follow(browser, attempt, stdout=offset)["is_live"]


def test_following_asks_by_byte_offset_and_gets_what_is_new(browser):
    attempt = begin()
    write(attempt, "naïve\n".encode())
    first = follow(browser, attempt, stdout=0, stderr=0)["streams"]["stdout"]
    assert (first["text"], first["next"]) == ("naïve\n", 7)
    write(attempt, b"more\n", offset=7)
    assert follow(browser, attempt, stdout=7)["streams"]["stdout"]["text"] == "more\n"


def test_a_character_that_is_half_there_is_left_for_the_next_time(browser):
    attempt = begin()
    write(attempt, b"\xe4\xb8")
    piece = follow(browser, attempt, stdout=0)["streams"]["stdout"]
    assert (piece["text"], piece["next"]) == ("", 0)
    assert shown(browser.get(page(attempt)))["end"] == 0
    write(attempt, b"\xad", offset=2)
    assert follow(browser, attempt, stdout=0)["streams"]["stdout"]["text"] == "中"


def test_a_character_that_stays_half_is_shown_when_the_attempt_has_ended(browser):
    attempt = begin()
    write(attempt, b"ok\xe4\xb8")
    end(attempt)
    answer = follow(browser, attempt, stdout=0)
    assert answer["streams"]["stdout"]["text"] == "ok\ufffd"
    assert not answer["is_live"]


def test_the_page_follows_by_a_script_of_its_own_only_while_the_attempt_lives(browser):
    attempt = begin()
    assert b"hetuflow/follow.js" in browser.get(page(attempt)).content
    end(attempt)
    assert b"hetuflow/follow.js" not in browser.get(page(attempt)).content


@pytest.mark.django_db(transaction=True)
async def test_the_download_is_the_output_byte_for_byte_as_plain_text():
    data = bytes(range(256)) * 8192
    attempt = await sync_to_async(begin)()
    await sync_to_async(write)(attempt, data)
    browser = AsyncClient()
    await sync_to_async(lambda: setattr(browser, "cookies", client_of(superuser=True).cookies))()
    response = await browser.get(reverse("admin:scheduling_taskinstance_stdout", args=[attempt.pk]))
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment;")
    assert b"".join([piece async for piece in response.streaming_content]) == data
    await sync_to_async(connections.close_all)()


def test_who_may_not_see_attempts_sees_no_output_by_any_address():
    attempt = begin()
    write(attempt, b"secret")
    browser = client_of("scheduling.view_task")
    for name in ("change", "follow", "stdout", "stderr"):
        url = reverse(f"admin:scheduling_taskinstance_{name}", args=[attempt.pk])
        assert browser.get(url).status_code == 403


def test_search_finds_by_id_by_task_and_by_agent(browser):
    attempt = begin()
    begin()
    for term in (str(attempt.pk), f"#{attempt.task_id}", f"{attempt.task_id}.1", attempt.agent.name):
        found = browser.get(LIST, {"q": term}).context["cl"].result_list
        assert [item.pk for item in found] == [attempt.pk]


def test_the_list_takes_as_many_queries_for_twenty_as_for_one(browser, django_assert_num_queries):
    begin()
    browser.get(LIST)
    with django_assert_num_queries(6):
        browser.get(LIST)
    for _ in range(19):
        begin()
    with django_assert_num_queries(6):
        assert browser.get(LIST).context["cl"].result_count == 20
