"""Output in a real browser: while it is written, and when there is very much of it."""

import re
import time

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Task, TaskInstance
from scheduling.services.manual import cancel
from tests import factories
from tests.e2e.oracle import until

HOSTILE = r"<img src=x onerror=alert(1)> \x1b]0;owned\x07 \xe2\x80\xaetxt.exe"
TALKS = rf"""
printf 'hello \033[31mred\033[0m \033[38;5;208morange\033[0m\n'
printf '{HOSTILE}\n' >&2
for number in $(seq 1 400); do echo "line $number at $(date +%s%3N)"; sleep 0.2; done
"""
STUBBORN = "trap '' TERM; (trap '' TERM; sleep 60) & echo ready; while :; do sleep 0.2; done"
LINES = 60_000
expect.set_options(timeout=30_000)
NO_SOCKETS = """
window.WebSocket = class extends EventTarget {
  static OPEN = 1;
  constructor() {
    super();
    setTimeout(() => this.dispatchEvent(new CloseEvent("close", { code: 1006 })));
  }
};
"""


def page_of(attempt):
    return reverse("admin:scheduling_taskinstance_change", args=[attempt.pk])


@pytest.fixture
def talking(address):
    """Return an attempt that prints a line five times a second."""
    task = factories.task(job=factories.job(args=["-c", TALKS]), now=database_now())
    until(lambda: TaskInstance.objects.filter(task=task, status="running").exists(), "the command runs")
    yield TaskInstance.objects.get(task=task)
    cancel(task_id=task.pk, now=database_now())


@pytest.fixture
def stubborn(address):
    """Return an attempt whose processes pay no heed to being asked to end."""
    job = factories.job(args=["-c", STUBBORN], config={"kill_grace_secs": 2})
    task = factories.task(job=job, now=database_now())
    until(lambda: TaskInstance.objects.filter(task=task, status="running").exists(), "the command runs")
    return TaskInstance.objects.get(task=task)


@pytest.fixture
def long(address):
    """Return an attempt that has ended and printed many lines, some to stderr."""
    attempt = factories.attempt()
    for begin in range(0, LINES, 1500):
        lines = range(begin, min(begin + 1500, LINES))
        factories.print_more(attempt, "".join(f"line {n:06} of many\n" for n in lines).encode())
        factories.print_more(attempt, f"{begin} are done\n".encode(), stream="stderr")
    for rows in (TaskInstance.objects.filter(pk=attempt.pk), Task.objects.filter(pk=attempt.task_id)):
        rows.update(status="completed", completed_at=timezone.now())
    return attempt


def test_output_is_followed_as_it_is_written_and_hostile_text_stays_text(visitor, talking):
    root = visitor("viewer")
    page = root.go(page_of(talking))
    log = page.get_by_role("log")
    expect(log).to_contain_text("hello red orange")
    expect(log).to_contain_text("<img src=x onerror=alert(1)> ␛]0;owned␇ [U+202E]txt.exe")
    expect(log.locator(".hf-row-stderr")).to_have_count(1)
    assert log.get_by_text("orange", exact=True).evaluate("each => each.style.color") == "rgb(255, 135, 0)"
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    expect(follow).to_have_attribute("aria-pressed", "false")
    expect(follow).to_contain_text("+")
    page.keyboard.press("f")
    expect(follow).to_have_attribute("aria-pressed", "true")
    root.look()


def test_a_cancel_is_followed_down_to_the_last_process(visitor, stubborn):
    page = visitor("operator").go(page_of(stubborn))
    expect(page.get_by_role("log")).to_contain_text("ready")
    page.once("dialog", lambda dialog: dialog.accept())
    began = time.monotonic()
    page.get_by_role("button", name="Cancel").click()
    log = page.locator("#log")
    expect(log).to_contain_text("asked to stop: cancelled by")
    answered_after = time.monotonic() - began
    expect(log).to_contain_text(re.compile(r"SIGTERM to \d processes, SIGKILL in 2 s"))
    expect(log).to_contain_text(re.compile(r"SIGKILL to \d process"))
    expect(log).to_contain_text("all processes have ended")
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    assert answered_after < 5, answered_after


def newest_age_ms(page):
    """Return how old the newest line is when it is first seen, by what the command itself said."""
    said = page.evaluate("""() => new Promise((resolve) => {
        const log = document.querySelector(".hf-log");
        new MutationObserver(() => resolve([log.lastChild.textContent, Date.now()]))
            .observe(log, { childList: true });
    })""")
    written = re.search(r"at (\d{13})", said[0])
    return None if written is None else said[1] - int(written[1])


def test_a_line_is_seen_a_fraction_of_a_second_after_it_was_written(visitor, talking):
    page = visitor("viewer").go(page_of(talking))
    expect(page.get_by_role("log")).to_contain_text("line 3 ")
    ages = sorted(age for age in (newest_age_ms(page) for _ in range(15)) if age is not None)
    # It is about 0.1 s; this machine may have other tests to run.
    assert ages[len(ages) // 2] < 500, ages


def rows_of(page):
    return page.locator(".hf-row").count()


def test_a_long_output_is_read_from_anywhere_with_few_rows_in_the_page(visitor, long):
    root = visitor("viewer")
    page = root.go(page_of(long))
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"line {LINES - 1:06} of many")
    log.focus()
    page.keyboard.press("Home")
    expect(log).to_contain_text("line 000000 of many")
    seen = rows_of(page)
    for _ in range(40):
        log.evaluate("each => { each.scrollTop += 6000; }")
        page.wait_for_timeout(30)
        seen = max(seen, rows_of(page))
    assert seen <= 4000
    slider = page.get_by_role("slider", name="Position in the output")
    slider.evaluate(
        "each => { each.value = each.max / 2; for (const name of ['input', 'change'])"
        " each.dispatchEvent(new Event(name)); }"
    )
    expect(log).to_contain_text(re.compile(r"line 0(29|30)\d{3} of many"))
    page.get_by_role("button", name="stderr", exact=True).click()
    expect(log).to_contain_text("58500 are done")
    expect(page.locator(".hf-row:not(.hf-row-stderr)")).to_have_count(0)
    root.look()


def test_text_is_found_in_all_of_it_and_a_line_has_an_address(visitor, long):
    root = visitor("viewer")
    page = root.go(page_of(long))
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"line {LINES - 1:06} of many")
    page.keyboard.press("/")
    page.keyboard.type("LINE 0123")
    page.keyboard.press("Enter")
    target = page.locator(".hf-row-target")
    expect(target).to_contain_text("line 012300 of many")
    log.focus()
    page.keyboard.press("n")
    expect(target).to_contain_text("line 012301 of many")
    page.keyboard.press("N")
    expect(target).to_contain_text("line 012300 of many")
    expect(target.get_by_role("link")).to_have_attribute("title", re.compile(r" UTC · stdout \d+$"))
    target.get_by_role("link").click()
    assert page.url.endswith(f"#stdout-{12300 * 20}")
    page.goto("about:blank")
    page.goto(f"{root.address}{page_of(long)}#stdout-{45_000 * 20 + 3}")
    expect(target).to_contain_text("line 045000 of many")
    page.get_by_role("searchbox").fill("nowhere to be found")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Not found.")


def test_without_a_socket_output_comes_by_pages(visitor, talking):
    root = visitor("viewer")
    root.watch.expect("WebSocket")
    root.page.add_init_script(NO_SOCKETS)
    page = root.go(page_of(talking))
    log = page.get_by_role("log")
    expect(log).to_contain_text("hello")
    began = time.time() * 1000
    until(lambda: str(int(began / 10_000) + 1) in log.inner_text(), "later lines are there")
    expect(page.get_by_text("The connection is lost and made again.")).to_be_visible()
