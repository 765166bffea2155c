"""`make screenshots`: makes docs/screenshots anew, of an installation that people work with."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page

from agents.models import Agent
from scheduling.clock import database_now
from scheduling.models import Job, Task
from scheduling.services.definitions import archive_job
from scheduling.services.manual import delete_task
from tests.browser.pages import newest
from tests.browser.visitor import DESK, PHONE, Visitor
from tests.browser.world import MACHINE, furnish
from tests.e2e.oracle import quiesce
from tests.people import person

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
ALL: Final = ("dark", "phone", "zh")
# A page that is longer goes on below the picture.
_MOST_PX: Final = 1400


class Picture(NamedTuple):
    """A page, what is done there first, and how it is shown besides at a desk in the light."""

    path: str
    looks: tuple[str, ...] = ()
    of: Callable[[], Any] | None = None
    steps: Callable[[Page], None] | None = None


def _job(name: str) -> Callable[[], Any]:
    return lambda: Job.objects.get(name=name)


def _last(**which: Any) -> Callable[[], Any]:
    return lambda: newest(Task, **which)


def _attempt(name: str) -> Callable[[], Any]:
    return lambda: newest(Task, job__name=name).instances.latest("attempt")


def _of(label: str, **which: Any) -> Callable[[], Any]:
    def found() -> Any:
        return newest(apps.get_model(label), **which)

    return found


def _fill_in_wrongly(page: Page) -> None:
    page.locator("input[name=namespace]").fill("shop")
    page.locator("input[name=name]").fill("nightly-backup")
    page.get_by_role("button", name="Save", exact=True).click()


def _ask_for_many(page: Page) -> None:
    for box in page.locator("input.action-select").all():
        box.check()
    page.locator("select[name=action]").select_option("disable_selected")
    page.get_by_role("button", name="Run", exact=True).click()


def _enrol(page: Page) -> None:
    page.get_by_role("button", name="Enrol a machine").click()
    page.get_by_text("Waiting for the machine").wait_for()


def _find(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("re")
    page.get_by_role("option").first.wait_for()


PICTURES: Final = {
    "overview": Picture("/admin/", ALL),
    "login": Picture("/admin/login/", ("dark",)),
    "find": Picture("/admin/", (), None, _find),
    "jobs": Picture("/admin/scheduling/job/", ALL),
    "job": Picture("/admin/scheduling/job/{pk}/change/", ALL, _job("nightly-backup")),
    "job-definition": Picture(
        "/admin/scheduling/job/{pk}/change/?tab=definition", (), _job("nightly-backup")
    ),
    "job-wrong": Picture("/admin/scheduling/job/add/", ("dark", "phone"), None, _fill_in_wrongly),
    "job-run": Picture("/admin/scheduling/job/{pk}/run/", (), _job("monthly-report")),
    "job-changes": Picture("/admin/scheduling/job/{pk}/history/", ("dark", "phone"), _job("nightly-backup")),
    "jobs-many": Picture("/admin/scheduling/job/", (), None, _ask_for_many),
    "import": Picture("/admin/scheduling/job/import/"),
    "schedules": Picture("/admin/scheduling/schedule/", ("phone",)),
    "schedule": Picture(
        "/admin/scheduling/schedule/{pk}/change/", (), _of("scheduling.Schedule", job__name="nightly-backup")
    ),
    "schedule-add": Picture("/admin/scheduling/schedule/add/", ("phone",)),
    "ledger": Picture(
        "/admin/scheduling/schedule/{pk}/ledger/",
        ("dark", "phone"),
        _of("scheduling.Schedule", job__name="sync-stock"),
    ),
    "backfill-add": Picture(
        "/admin/scheduling/schedule/{pk}/backfill/",
        (),
        _of("scheduling.Schedule", job__name="nightly-backup"),
    ),
    "forecast": Picture("/admin/scheduling/schedule/forecast/", ("dark", "phone")),
    "tasks": Picture("/admin/scheduling/task/", ("phone",)),
    "task": Picture(
        "/admin/scheduling/task/{pk}/change/", ("dark", "phone"), _last(job__name="send-invoices")
    ),
    "task-waiting": Picture("/admin/scheduling/task/{pk}/change/", (), _last(job__name="train-model")),
    "attempts": Picture("/admin/scheduling/taskinstance/"),
    "attempt": Picture("/admin/scheduling/taskinstance/{pk}/change/", ALL, _attempt("import-archive")),
    "attempt-failed": Picture("/admin/scheduling/taskinstance/{pk}/change/", (), _attempt("send-invoices")),
    "timeline": Picture("/admin/scheduling/taskinstance/timeline/?by=job&hours=24", ALL),
    "backfills": Picture("/admin/scheduling/backfill/"),
    "backfill": Picture("/admin/scheduling/backfill/{pk}/change/", (), _of("scheduling.Backfill")),
    "bulk-actions": Picture("/admin/scheduling/bulkaction/"),
    "bulk-action": Picture("/admin/scheduling/bulkaction/{pk}/change/", (), _of("scheduling.BulkAction")),
    "alerts": Picture("/admin/scheduling/alert/"),
    "alert": Picture("/admin/scheduling/alert/{pk}/change/", (), _of("scheduling.Alert")),
    "calendars": Picture("/admin/scheduling/calendar/"),
    "calendar": Picture(
        "/admin/scheduling/calendar/{pk}/change/", ("dark", "phone"), _of("scheduling.Calendar")
    ),
    "freezes": Picture("/admin/scheduling/freeze/"),
    "freeze-add": Picture("/admin/scheduling/freeze/add/"),
    "retention-rules": Picture("/admin/scheduling/retentionrule/"),
    "retention-rule": Picture(
        "/admin/scheduling/retentionrule/{pk}/change/", (), _of("scheduling.RetentionRule")
    ),
    "agents": Picture("/admin/agents/agent/", ALL),
    "agent": Picture("/admin/agents/agent/{pk}/change/", ALL, lambda: Agent.objects.get(name=MACHINE)),
    "agent-log": Picture("/admin/agents/agent/{pk}/log/", (), lambda: Agent.objects.get(name=MACHINE)),
    "enrolled": Picture("/admin/agents/agent/", ("dark", "phone"), None, _enrol),
    "enrol": Picture("/admin/agents/agent/enrol/", ("phone",)),
    "servers": Picture("/admin/gateway/server/"),
    "server": Picture("/admin/gateway/server/{pk}/change/", (), _of("gateway.Server")),
    "users": Picture("/admin/auth/user/"),
    "user": Picture("/admin/auth/user/{pk}/change/", (), _of("auth.User", username="ada")),
    "groups": Picture("/admin/auth/group/"),
    "group": Picture("/admin/auth/group/{pk}/change/", (), _of("auth.Group", name="night shift")),
    "api-tokens": Picture("/admin/access/apitoken/"),
    "api-token-add": Picture("/admin/access/apitoken/add/"),
    "audit-log": Picture("/admin/access/auditentry/", ("phone",)),
    "audit-entry": Picture(
        "/admin/access/auditentry/{pk}/change/", (), _of("access.AuditEntry", action="job.update")
    ),
    "preferences": Picture("/admin/preferences/"),
    "password": Picture("/admin/password_change/"),
    "api": Picture("/api/v1/jobs"),
    "api-swagger": Picture("/api/docs"),
    "api-redoc": Picture("/api/redoc"),
}


@pytest.fixture(scope="module")
def grace(address: str) -> User:
    """Return who looks, at what people would have made and nothing else."""
    quiesce(Task.objects.values_list("pk", flat=True))
    for task in Task.objects.all():
        delete_task(task_id=task.pk)
    for job in Job.objects.all():
        archive_job(job_id=job.pk, now=database_now())
    furnish()
    return person("grace", superuser=True, is_staff=True)


@pytest.mark.parametrize("name", PICTURES)
def test_a_page_has_its_pictures(browser: Browser, address: str, grace: User, name: str) -> None:
    picture = PICTURES[name]
    path = picture.path.format(pk=picture.of().pk) if picture.of else picture.path
    for look in ("", *picture.looks):
        locale = "zh-CN" if look == "zh" else "en-GB"
        user = None if name == "login" else grace
        visitor = Visitor(browser, address=address, user=user, locale=locale)
        page = visitor.page
        page.emulate_media(color_scheme="dark" if look == "dark" else "light")
        page.set_viewport_size(PHONE if look == "phone" else DESK)
        # The first page tells the server the time zone of the browser.
        visitor.go("/admin/login/")
        visitor.go(path)
        if picture.steps:
            picture.steps(page)
        page.wait_for_load_state("networkidle")
        visitor.settle()
        _take(page, FOLDER / _file(name, look))
        visitor.close()


def test_one_page_shows_them_all() -> None:
    shown = ["# Every page of Hetuflow\n\n`make screenshots` takes these pictures of the real thing.\n"]
    for name, picture in PICTURES.items():
        images = "\n".join(f"![{name} {look}]({_file(name, look)})" for look in ("", *picture.looks))
        shown.append(f"## {name}\n\n{images}\n")
    (FOLDER / "README.md").write_text("\n".join(shown))
    for file in FOLDER.iterdir():
        if file.name not in {*_files(), "README.md"}:
            file.unlink()


def _files() -> list[str]:
    return [_file(name, look) for name, picture in PICTURES.items() for look in ("", *picture.looks)]


def _file(name: str, look: str) -> str:
    return f"{'-'.join(filter(None, (name, look)))}.webp"


def _take(page: Page, file: Path) -> None:
    size = page.viewport_size
    assert size is not None
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(max(height, size["height"]), _MOST_PX)})
    page.wait_for_load_state("networkidle")
    page.evaluate("document.documentElement.scrollTop = 0")
    # Playwright itself makes no WebP, which takes a quarter of a PNG.
    session = page.context.new_cdp_session(page)
    answer = session.send("Page.captureScreenshot", {"format": "webp", "quality": 70})
    session.detach()
    file.write_bytes(base64.b64decode(answer["data"]))
