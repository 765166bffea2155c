"""One installation of real processes and one browser for all tests here; a context for each person."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import chromium, path_of_chromium
from tests.browser.visitor import Visitor
from tests.browser.world import MACHINE, furnish
from tests.e2e.conftest import e2e_folder as e2e_folder
from tests.e2e.installation import Installation
from tests.people import grant, person

# Playwright's loop runs in this thread, and Django would refuse to ask the database beside one.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = path_of_chromium()
    if path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with chromium(path) as started:
        yield started


@pytest.fixture(scope="session")
def address(browser: Browser, e2e_folder: Path) -> Iterator[str]:
    """The address of a server with a scheduler and one agent; this test's queries go to their database."""
    installation = Installation(e2e_folder)
    installation.enter()
    server = installation.server()
    installation.scheduler()
    installation.agent(port=server.port, name=MACHINE, slots=8, labels={"zone": "a"})
    installation.wait_for_planning()
    yield f"http://127.0.0.1:{server.port}"
    installation.close()


@pytest.fixture(scope="session")
def world(address: str) -> None:
    """Let the installation be one that people work with."""
    furnish()


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Callable[..., Visitor]]:
    """Return what opens a browser of a new member of staff with a role, of a superuser, or of nobody."""
    opened: list[Visitor] = []

    def open_browser(role: str | None = "superuser", namespace: str = "*") -> Visitor:
        user = None if role is None else person(superuser=role == "superuser", is_staff=True)
        if user is not None and role not in (None, "superuser"):
            grant(user, role, namespace)
        opened.append(Visitor(browser, address=address, user=user))
        return opened[-1]

    yield open_browser
    for each in opened:
        each.close()
