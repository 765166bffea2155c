"""A machine becomes an agent by one press and one command, while others watch, and is put to work."""

import os
import re
import socket

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.services.manual import cancel
from tests import factories
from tests.e2e import oracle
from tests.processes import Program

LIST = "/admin/agents/agent/"
# A machine takes its time to start a Python, and pages renew themselves every few seconds.
LIMIT_MS = 30_000


@pytest.fixture
def machine(e2e_folder, tmp_path):
    """Return what types a command on a machine of its own, in the folder of Hetuflow."""
    environment = {
        "PATH": f"{e2e_folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "HETUFLOW_AGENT_DIR": str(tmp_path / "agent"),
    }
    typed = []

    def enter(command):
        program = Program(["sh", "-c", f"exec {command}"], environment=environment, log=tmp_path / "log")
        typed.append(program)
        program.start()
        return program

    yield enter
    for program in typed:
        if program.is_running:
            program.kill()
    oracle.kill(oracle.processes_of(tmp_path / "agent"))


def copied(page):
    """Press the button that copies, and return what the clipboard has then."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Copied")).to_be_visible()
    return page.evaluate("navigator.clipboard.readText()")


def test_a_machine_is_enrolled_by_one_press_works_drains_and_goes_on(visitor, machine):
    name = socket.gethostname()
    watcher = visitor("viewer").go(LIST)
    link = re.compile(rf"^{re.escape(name)}\b")
    row = watcher.get_by_role("row").filter(has=watcher.get_by_role("link", name=link))
    expect(row).to_have_count(0)
    admin = visitor("admin")
    page = admin.go(LIST)
    page.get_by_role("button", name="Enrol a machine").click()
    expect(page.get_by_text("Waiting for the machine")).to_be_visible()
    admin.settle()
    admin.look()
    daemon = machine(copied(page))
    expect(page.get_by_text(f"{name} is there and takes work.")).to_be_visible(timeout=LIMIT_MS)
    expect(row).to_contain_text("idle", timeout=LIMIT_MS)

    page.get_by_role("link", name="Open its page").click()
    page.get_by_label("Labels", exact=True).fill("mill=3")
    page.get_by_role("button", name="Save", exact=True).click()
    job = factories.job(args=["-c", "echo grinding; sleep 300"], config={"labels": {"mill": "3"}})
    task = factories.task(job=job, now=database_now())
    expect(row).to_contain_text("mill=3", timeout=LIMIT_MS)
    expect(row).to_contain_text("busy", timeout=LIMIT_MS)

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name=link).first.click()
    page.get_by_role("link", name=f"#{task.pk}.1").first.wait_for()
    page.get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("draining", timeout=LIMIT_MS)
    page.get_by_role("button", name="Resume").click(timeout=LIMIT_MS)
    expect(row).to_contain_text("busy", timeout=LIMIT_MS)
    cancel(task_id=task.pk, now=database_now())
    expect(row).to_contain_text("idle", timeout=LIMIT_MS)
    assert daemon.stop() == 0
    expect(row).to_contain_text("offline", timeout=LIMIT_MS)
