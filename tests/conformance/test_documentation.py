"""The OpenAPI document, its pages, and the browsable API."""

import json
import re
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.conformance import shapes
from tests.conformance.browser import Browser
from tests.conformance.client import Client, errors_of
from tests.conformance.contract import ROUTES, covers
from tests.conformance.objects import (
    config,
    fresh,
    make_agent,
    make_attempt,
    make_job,
    make_schedule,
    make_task,
)

RESOURCES = ("agents", "jobs", "schedules", "tasks", "task-instances", "connections", "servers")
ELSEWHERE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\s(?:src|href)=["'](?:https?:)?//""")
LOADED = re.compile(r"""<(?:script|link)[^>]+(?:src|href)=["']([^"']+)["']""")


@pytest.fixture(scope="module")
def browser(api: Client) -> Browser:
    browser = Browser(api.anonymous.root)
    browser.log_in()
    return browser


@pytest.fixture(scope="module")
def schema(api: Client) -> Any:
    answer = api.root.send("GET", "/api/schema", headers={"Accept": "application/json"})
    assert answer.status == 200
    return json.loads(answer.body)


@covers("schema")
def test_the_document_is_openapi_3_1_and_knows_every_path_and_verb_of_the_page(schema: Any) -> None:
    assert schema["openapi"].startswith("3.1")
    documented = {
        re.sub(r"\{\w+\}", "{}", path): {
            verb.upper() for verb in operations if verb in ("get", "post", "put", "patch", "delete")
        }
        for path, operations in schema["paths"].items()
    }
    for path, methods in ROUTES.items():
        named = re.sub(r"\{\w+\}", "{}", f"/api/v1{path.removeprefix('/system')}")
        assert methods <= documented.get(named, set()), path


@covers("schema", "errors")
def test_the_document_names_fields_as_answers_do(schema: Any) -> None:
    components = schema["components"]["schemas"]
    for name, shape in (
        ("Agent", shapes.AGENT),
        ("Job", shapes.JOB),
        ("Schedule", shapes.SCHEDULE),
        ("Task", shapes.TASK),
        ("TaskInstance", shapes.INSTANCE),
        ("Server", shapes.SERVER),
        ("SystemInfo", {**shapes.INFO, "environment": None, "config": None}),
        ("SystemMetrics", shapes.METRICS_WITH_DETAILS),
        ("ErrorResponse", {"type": None, "errors": None}),
    ):
        assert set(components[name]["properties"]) == set(shape), name


@covers("docs")
@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc"])
def test_the_pages_of_the_document_need_nothing_from_elsewhere(
    api: Client, browser: Browser, path: str
) -> None:
    page = browser.page(path)
    assert not ELSEWHERE.search(page.text), ELSEWHERE.search(page.text)
    loaded = [urljoin(path, found) for found in LOADED.findall(page.text) if not found.startswith("data:")]
    assert loaded
    for file in loaded:
        answer = browser.send("GET", file)
        assert answer.status == 200, file
        assert answer.body


# --- the browsable API ----------------------------------------------------------------------------------


@covers("browsable")
@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_can_be_browsed(browser: Browser, resource: str) -> None:
    page = browser.page(f"/api/v1/{resource}")
    assert "<html" in page.text.lower()
    assert not ELSEWHERE.search(page.text)
    assert browser.page(f"/api/v1/{resource}?limit=1").text


@covers("browsable")
def test_every_entity_can_be_browsed(api: Client, browser: Browser) -> None:
    job, agent = make_job(api), make_agent(api)
    attempt = make_attempt(api, make_task(api, job))
    server = api.get("/servers")["data"][0]
    for path, text in (
        (f"jobs/{job['id']}", job["name"]),
        (f"agents/{agent['id']}", agent["name"]),
        (f"schedules/{make_schedule(api, job)['id']}", "0 0 1 1 *"),
        (f"tasks/{attempt['task_id']}", job["namespace"]),
        (f"task-instances/{attempt['id']}", attempt["id"]),
        (f"servers/{server['id']}", server["name"]),
        (f"jobs/namespace/{job['namespace']}", job["name"]),
        (f"tasks/job/{job['id']}", str(attempt["task_id"])),
        ("agents/offline", agent["name"]),
    ):
        assert text in browser.page(f"/api/v1/{path}").text, path


@covers("browsable", "forbidden", "errors")
def test_a_session_writes_with_its_csrf_token_only(browser: Browser) -> None:
    body = json.dumps({"name": fresh("job"), "config": config()}).encode()
    refused = browser.send("POST", "/api/v1/jobs", raw=body)
    assert refused.status == 403
    assert errors_of(refused)[None][0] == "permission_denied"
    answer = browser.send(
        "POST", "/api/v1/jobs", raw=body, headers={"X-CSRFToken": browser.cookies["csrftoken"]}
    )
    assert answer.status == 201, answer
    shapes.check(shapes.JOB, answer.json())


@covers("browsable")
def test_a_browser_that_nobody_logged_in_sees_nothing(api: Client) -> None:
    page = api.anonymous.send("GET", "/jobs", headers={"Accept": "text/html"})
    assert page.status in (302, 401, 403)
