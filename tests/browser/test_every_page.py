"""Each page that the server has, as it opens: readable and reachable in light, dark and on a phone."""

import pytest

from scheduling.models import Job, TaskInstance
from tests.browser.accessibility import violations_of
from tests.browser.pages import models, newest, other_routes, paths_of

# Of no kind of object: routes, and where to look at each.
OTHERS = {
    "admin/": "/admin/",
    "admin/preferences/": "/admin/preferences/",
    "admin/password_change/": "/admin/password_change/",
    "admin/password_change/done/": "/admin/password_change/done/",
    "admin/^(?P<app_label>scheduling|access|auth|agents|gateway)/$": "/admin/scheduling/",
    "api/v1": "/api/v1",
}
NO_PAGES = {
    *("", "admin/r/<path:content_type_id>/<path:object_id>/", "admin/(?P<url>.*)$"),  # they lead elsewhere
    *("admin/login/", "admin/logout/"),  # for nobody: test_signing_in.py
    *("admin/overview/", "admin/find/", "admin/search/"),  # parts of pages
    *("admin/saved-filters/", "admin/autocomplete/", "admin/jsi18n/", "favicon.ico"),
    *("metrics", "api/schema", "^api(?:/|$)"),  # for programs
}
# Others made these two; they are shipped as they are, and for people who write programs. What axe finds there
# cannot be mended from outside: each says in its own styles and scripts how it looks and what it listens to.
NOT_OURS = {
    "api/docs": {
        "color-contrast",  # white on the light green and blue of its methods
        "heading-order",  # h3 below h1
        "region",  # what it says above its own main
        "nested-interactive",  # a link in each button that unfolds an operation
        "select-name",  # its choice of servers
        "target-size",  # its arrows
    },
    "api/redoc": {
        "heading-order",  # h5 below h2
        "target-size",  # the signs that unfold a part of an example
    },
}


def pages_among(root, paths):
    """Yield the addresses of whole pages that a superuser may see."""
    for path in paths:
        answer = root.context.request.get(path, headers={"Accept": "text/html"})
        if answer.status != 405 and "<html" in answer.text():
            assert answer.status in (200, 403), f"{answer.status} {path}"
            if answer.ok:
                yield path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("label", models())
def test_anybody_can_read_and_reach_what_is_on_a_page(visitor, world, label):
    root = visitor()
    found, count = {}, 0
    for path in pages_among(root, paths_of(label)):
        count += 1
        root.go(path)
        try:
            root.look()
        except AssertionError as error:
            found[path] = str(error)
    assert count >= 3, "a kind of object has a list, a page of each and its history"
    assert found == {}, "\n".join(f"{path}\n{lines}" for path, lines in found.items())


@pytest.mark.parametrize("path", OTHERS.values())
def test_anybody_can_read_and_reach_what_is_on_a_page_of_no_kind(visitor, world, path):
    root = visitor()
    root.go(path)
    root.look()


@pytest.mark.parametrize("route", NOT_OURS)
def test_what_others_made_complains_of_nothing_and_has_no_other_faults_than_we_know(visitor, world, route):
    page = visitor().go(f"/{route}")
    page.wait_for_load_state("networkidle")
    found = violations_of(page)
    assert {line.partition(":")[0] for line in found} <= NOT_OURS[route], found


def test_no_page_is_left_out():
    api = {route for route in other_routes() if route.startswith("api/v1/")}
    assert {*other_routes()} - api == {*OTHERS, *NOT_OURS, *NO_PAGES}


@pytest.mark.timeout(600)
def test_anybody_can_read_and_reach_what_is_on_the_pages_of_the_api(visitor, world):
    root = visitor()
    lists = [f"/{route}" for route in other_routes() if route.startswith("api/v1/") and "<" not in route]
    found = {}
    for path in [*pages_among(root, lists), *(f"/api/v1/{one}" for one in some_objects())]:
        root.go(path)
        try:
            root.look()
        except AssertionError as error:
            found[path] = str(error)
    assert found == {}, "\n".join(f"{path}\n{lines}" for path, lines in found.items())


def some_objects():
    return [f"jobs/{newest(Job).pk}", f"task-instances/{newest(TaskInstance).pk}"]
