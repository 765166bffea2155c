"""Output on the sockets of browsers: all of it, in order, for those who may see it, in bounded memory."""

import asyncio
import contextlib
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.models import AgentLog, Server
from gateway.viewers import MAX_SOCKETS_OF_A_USER
from gateway.watching import PAGE_BYTES, WINDOW_BYTES
from scheduling.models import Task, TaskInstance
from tests import factories, people, processes
from tests.admin_client import browser_with, client_of
from tests.gateway.peer import Peer, in_thread, run, until
from tests.gateway.viewer import ViewerOfTests

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def port(django_db_setup):
    """The port of a server that runs for all tests here: it need not know what is gone with each."""
    with processes.server() as port:
        yield port


@pytest.fixture
def browser():
    return client_of(superuser=True)


async def registered(port, credentials):
    """Register an agent, once the server of all tests here has put its row where a test before took it."""
    await until(Server.objects.exists)
    return await Peer.registered(port, **credentials)


def end(attempt, *, secs_ago=60):
    """Let an attempt have ended some time ago."""
    ended_at = timezone.now() - timedelta(seconds=secs_ago)
    TaskInstance.objects.filter(pk=attempt.pk).update(status="completed", completed_at=ended_at)


async def refusal(port, instance_id, browser, **more):
    """Return the HTTP status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        await ViewerOfTests.connect(port, instance_id, browser, **more)
    return refused.value.response.status_code


def test_a_viewer_is_shown_both_streams_in_order_and_then_what_comes(port, credentials, browser):
    async def conversation():
        task = await in_thread(lambda: factories.task(now=timezone.now()))
        peer = await registered(port, credentials)
        given = await peer.take()
        await peer.output(given, b"one\n")
        viewer = await ViewerOfTests.connect(port, given["instance_id"], browser)
        await viewer.follow()
        await viewer.until_shown(b"one\n")
        await peer.output(given, b"two\n", offset=4)
        await viewer.until_shown(b"one\ntwo\n")
        assert viewer.states[0]["status"] == "dispatched"
        await peer.report(given, "running")
        while viewer.states[-1]["status"] != "running":
            await viewer.hear()
        return task

    run(conversation())


def test_output_comes_merged_and_an_attempt_that_is_over_ends_the_socket(port, browser):
    written = [("stdout", b"a"), ("stderr", b"b"), ("stdout", b"c"), ("stderr", b"d")]
    attempt = factories.attempt(*written)
    end(attempt)

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.follow()
        assert await viewer.until_closed() == 1000
        assert viewer.order == written
        assert viewer.states[-1]["is_settled"]

    run(conversation())


def test_nothing_is_missing_or_there_twice_after_a_reconnect(port, browser):
    data = os.urandom(700_000)
    pieces = [data[begin : begin + 50_000] for begin in range(0, len(data), 50_000)]
    attempt = factories.attempt(*(("stderr", piece) for piece in pieces))

    async def conversation():
        shown = b""
        while len(shown) < len(data):
            viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
            viewer.output["stderr"] = shown
            await viewer.follow(stderr=len(shown))
            while viewer.output["stderr"] == shown:
                await viewer.hear()
            shown = viewer.output["stderr"]
            await viewer.socket.close()
        assert shown == data

    run(conversation())


def test_who_pauses_hears_of_the_state_alone(port, credentials, browser):
    async def conversation():
        await in_thread(lambda: factories.task(now=timezone.now()))
        peer = await registered(port, credentials)
        given = await peer.take()
        viewer = await ViewerOfTests.connect(port, given["instance_id"], browser)
        await viewer.follow()
        await peer.output(given, b"one\n")
        await viewer.until_shown(b"one\n")
        await viewer.say(follow=None)
        await peer.output(given, b"two\n", offset=4)
        while viewer.states[-1]["end"] != {"stdout": 8, "stderr": 0}:
            await viewer.hear()
        assert viewer.output["stdout"] == b"one\n"
        await viewer.follow(stdout=4)
        await viewer.until_shown(b"one\ntwo\n")

    run(conversation())


def test_lines_of_the_agents_log_and_a_cancel_are_told(port, browser):
    attempt = factories.attempt()

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.hear()
        await in_thread(
            lambda: AgentLog.objects.create(
                agent=attempt.agent, at=timezone.now(), level="info", message="x", instance_id=attempt.pk
            )
        )
        await viewer.hear()
        await in_thread(
            lambda: TaskInstance.objects.filter(pk=attempt.pk).update(cancel_requested_at=timezone.now())
        )
        await viewer.hear()
        return [(state["log"] is not None, state["is_cancelled"]) for state in viewer.states]

    assert run(conversation()) == [(False, False), (True, False), (True, True)]


def test_a_deleted_attempt_ends_the_socket(port, browser):
    attempt = factories.attempt(("stdout", b"x"))

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.hear()
        await in_thread(lambda: Task.objects.filter(pk=attempt.task_id).delete())
        return await viewer.until_closed()

    assert run(conversation()) == 1000


# --- who may ----------------------------------------------------------------------------------------------


def test_a_socket_is_for_staff_who_may_see_the_attempt_and_from_our_own_pages(port, browser):
    attempt = factories.attempt()
    nobody = people.person("no-staff", superuser=True)
    outside = client_of()
    outside.force_login(nobody)
    elsewhere = browser_with(("admin", "elsewhere"))

    async def conversation():
        for who in (None, outside, elsewhere):
            assert await refusal(port, attempt.pk, who) == 403
        assert await refusal(port, "00000000-0000-0000-0000-000000000000", browser) == 403
        assert await refusal(port, "nonsense", browser) == 403
        for origin in ("https://evil.example", None):
            assert await refusal(port, attempt.pk, browser, origin=origin) == 403

    run(conversation())


def test_a_role_in_the_namespace_of_the_attempt_is_enough(port):
    attempt = factories.attempt(("stdout", b"ours"))
    browser = browser_with(("viewer", attempt.namespace))

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.follow()
        await viewer.until_shown(b"ours")

    run(conversation())


def log_out(browser):
    browser.post(reverse("admin:logout"))


def change_password(browser):
    user = User.objects.get(pk=browser.session["_auth_user_id"])
    user.set_password("another")
    user.save()


def take_role_away(browser):
    Group.objects.all().delete()


@pytest.mark.parametrize("ending", [log_out, change_password, take_role_away])
def test_the_socket_ends_with_the_session_and_with_the_role(port, ending):
    attempt = factories.attempt()
    browser = browser_with(("viewer", attempt.namespace))

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.hear()
        began = time.monotonic()
        await in_thread(lambda: ending(browser))
        assert await viewer.until_closed() == 1008
        assert time.monotonic() - began < 10
        assert await refusal(port, attempt.pk, browser) == 403

    run(conversation())


# --- bounds -----------------------------------------------------------------------------------------------


NONSENSE = {
    "not json": 1007,
    '{"follow": {"stdout": -1, "stderr": 0}}': 1007,
    '{"follow": {"stdout": 1e30, "stderr": 0}}': 1007,
    '{"follow": {"stdout": 9007199254740993, "stderr": 0}}': 1007,
    '{"unknown": 1}': 1007,
    '{"taken": 9}': 1008,
    json.dumps({"follow": None, "pad": "x" * 2000}): 1009,
    b"\x00": 1007,
}


def test_what_no_page_says_closes_the_socket(port, browser):
    attempt = factories.attempt()

    async def conversation():
        codes = {}
        for text in NONSENSE:
            viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
            await viewer.hear()
            await viewer.socket.send(text)
            codes[text] = await viewer.until_closed()
        assert codes == NONSENSE

    run(conversation())


def test_a_viewer_that_takes_nothing_gets_a_window_and_costs_no_more(port, browser):
    pieces = [("stdout", os.urandom(100_000)) for _ in range(60)]
    attempt = factories.attempt(*pieces)

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.follow()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while True:
                    await viewer.hear(takes=False)
        shown = len(viewer.output["stdout"])
        assert WINDOW_BYTES - PAGE_BYTES < shown <= WINDOW_BYTES
        # It goes on for whoever takes something after all.
        await viewer.say(taken=3)
        await viewer.hear()

    run(conversation())


def server_memory_kib(port):
    """Return the resident memory of the process that listens on the port."""
    listening = {
        fields[9]
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if int(fields[1].split(":")[1], 16) == port and fields[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
            if held & {f"socket:[{inode}]" for inode in listening}:
                status = (process / "status").read_text()
                return int(status.split("VmRSS:")[1].split()[0])
        except OSError:
            continue
    raise AssertionError("no such process")


def test_forty_viewers_that_never_read_cost_a_server_little(port, browser):
    attempt = factories.attempt(*(("stdout", os.urandom(100_000)) for _ in range(60)))

    async def conversation():
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.follow()
        await viewer.hear()
        before = server_memory_kib(port)
        for _ in range(40):
            # A page whose script hangs: the kernel takes what it can, nobody takes it from there.
            deaf = await ViewerOfTests.connect(port, attempt.pk, browser, max_queue=1)
            await deaf.follow()
        await asyncio.sleep(2)
        # A window each, once in base64, with what a socket costs anyway.
        assert server_memory_kib(port) - before < 40 * 1024
        # Nobody else waits for them.
        await viewer.until_shown(viewer.output["stdout"])
        await viewer.hear()

    run(conversation())


def test_a_user_has_at_most_a_hundred_sockets(port, browser):
    attempt = factories.attempt()

    async def conversation():
        for _ in range(MAX_SOCKETS_OF_A_USER):
            await ViewerOfTests.connect(port, attempt.pk, browser)
        assert await refusal(port, attempt.pk, browser) == 503

    run(conversation())


def test_the_server_says_goodbye_to_browsers_as_well(browser, credentials):
    attempt = factories.attempt()

    async def conversation(port, program):
        viewer = await ViewerOfTests.connect(port, attempt.pk, browser)
        await viewer.hear()
        await in_thread(program.stop)
        with pytest.raises(ConnectionClosed):
            await viewer.hear()
        return viewer.socket.close_code

    port = processes.free_port()
    with processes.manage("server", "--port", str(port)) as program:
        processes.wait_for_http(port, still=lambda: program.is_running)
        assert run(conversation(port, program)) == 1012
