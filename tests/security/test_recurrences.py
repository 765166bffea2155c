"""Rules that never come true, or take long to read, are refused within 50 ms of work."""

import time

import pytest

from scheduling.recurrence import Recurrence, RecurrenceError, validate
from tests import factories, people

LIMIT_SECS = 0.05
NEVER = (
    "0 0 30 2 *",
    "0 0 31 4,6,9,11 *",
    "*/0 * * * *",
    "*/-1 * * * *",
    "* * * * * * * *",
    "0-0/0 * * * *",
    "1-99999999999999999999 * * * *",
    "@reboot",
    "",
    " ",
    "\u0661 * * * *",
    "* * * * MON-",
    ",".join(["1"] * 2048),
    ",".join(["1"] * 2048) + " * * * *",
    "*/1," * 1000 + "* * * * *",
    "(" * 4000,
    "\x00 * * * *",
)

pytestmark = pytest.mark.django_db


def work_of(do):
    """Return the processor time that something took on this thread, the least of three tries."""
    tries = []
    for _ in range(3):
        begin = time.thread_time()
        do()
        tries.append(time.thread_time() - begin)
    return min(tries)


@pytest.fixture
def root():
    return people.session_of(people.person(superuser=True))


@pytest.mark.parametrize("expression", NEVER, ids=lambda text: repr(text[:24]))
def test_an_expression_that_never_comes_true_is_a_400_at_once(root, expression):
    job = factories.job()
    body = {"kind": "cron", "cron_expression": expression}
    for path, more in (("/api/v1/schedules/preview", {}), ("/api/v1/schedules", {"job_id": job.pk})):
        answer = root.post(path, {**body, **more})
        assert answer.status_code == 400
        assert work_of(lambda path=path, more=more: root.post(path, {**body, **more})) < LIMIT_SECS


@pytest.mark.parametrize("expression", NEVER[:12], ids=lambda text: repr(text[:24]))
def test_the_rule_itself_says_so_at_once(expression):
    def judge():
        with pytest.raises(RecurrenceError):
            validate(Recurrence(kind="cron", cron_expression=expression))

    assert work_of(judge) < LIMIT_SECS


def test_a_preview_is_bounded(root):
    body = {"kind": "cron", "cron_expression": "* * * * *", "count": 101}
    assert root.post("/api/v1/schedules/preview", body).status_code == 400
    leap = {"kind": "cron", "cron_expression": "0 0 29 2 *", "count": 100}
    assert root.post("/api/v1/schedules/preview", leap).status_code == 200
    assert work_of(lambda: root.post("/api/v1/schedules/preview", leap)) < 20 * LIMIT_SECS
