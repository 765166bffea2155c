"""What a look at the database for all who watch costs, and how it is shared; without sockets."""

import contextlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway import watching
from gateway.browsers import Visit
from gateway.watching import WINDOW_MESSAGES, Viewer, Watch
from scheduling.models import TaskInstance
from scheduling.services.viewing import Place
from tests import factories

pytestmark = pytest.mark.django_db


class Watching:
    """Viewers without sockets, who take all that they are sent, or nothing."""

    def __init__(self, *attempts, count, takes=True):
        self.watch, self.sent, self.takes = Watch(), [], takes
        for attempt in attempts:
            for number in range(count):
                visit = Visit(cookie="", user_id=number, instance_id=attempt.pk, namespace="")
                viewer = Viewer(visit=visit, send_text=self.send_text, close=self.close, place=Place())
                self.watch.join(viewer)

    async def send_text(self, text):
        self.sent.append(text)

    async def close(self, code):
        raise AssertionError(code)

    def look(self):
        """Look once, here and now, and return how many statements that took."""
        with CaptureQueriesContext(connection) as queries, contextlib.suppress(StopIteration):
            # Without an event loop, in whose tasks Django would open connections of their own.
            self.watch.look().send(None)
        for viewer in self.watch.all_viewers() if self.takes else ():
            viewer.note_taken(viewer_backlog(viewer))
        return len(queries)


def viewer_backlog(viewer):
    return len(viewer._on_its_way)


@pytest.fixture
def here_and_now(monkeypatch):
    """Let the watch ask the database on this very thread."""

    async def call(work):
        return work()

    monkeypatch.setattr(watching, "in_viewing_thread", call)


@pytest.mark.usefixtures("here_and_now")
def test_a_look_costs_two_statements_for_a_thousand_viewers_and_one_where_nothing_is_new():
    attempt = factories.attempt(("stdout", b"hello"))
    audience = Watching(attempt, count=1000)
    assert audience.look() == 2
    assert sum('"output"' in text for text in audience.sent) == 1000
    assert audience.look() == 1
    assert len(audience.sent) == 2000


@pytest.mark.usefixtures("here_and_now")
def test_attempts_share_a_look_and_take_turns(monkeypatch):
    monkeypatch.setattr(watching, "MAX_PAGES", 2)
    attempts = [factories.attempt(("stdout", b"%d" % number)) for number in range(5)]
    audience = Watching(*attempts, count=1)
    assert [audience.look() for _ in range(4)] == [2, 2, 2, 1]
    assert sum('"output"' in text for text in audience.sent) == 5


@pytest.mark.usefixtures("here_and_now")
def test_output_that_was_deleted_is_not_looked_for_again():
    attempt = factories.attempt(("stdout", b"gone"))
    attempt.chunks.all().delete()
    audience = Watching(attempt, count=1)
    assert [audience.look() for _ in range(2)] == [2, 1]


@pytest.mark.usefixtures("here_and_now")
def test_messages_without_output_are_bounded_as_well():
    attempt = factories.attempt()
    audience = Watching(attempt, count=1, takes=False)
    for number in range(3 * WINDOW_MESSAGES):
        status = ("running", "dispatched")[number % 2]
        TaskInstance.objects.filter(pk=attempt.pk).update(status=status)
        audience.look()
    assert len(audience.sent) == WINDOW_MESSAGES
