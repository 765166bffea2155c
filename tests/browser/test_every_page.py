"""Each page of the admin, as it opens: readable and reachable in light, dark and on a phone."""

import pytest

from tests.browser.pages import models, paths_of

OTHERS = ["/admin/", "/admin/password_change/", "/admin/scheduling/"]


def pages_among(root, paths):
    """Yield the addresses of whole pages that a superuser may see."""
    for path in paths:
        answer = root.context.request.get(path)
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


@pytest.mark.parametrize("path", OTHERS)
def test_anybody_can_read_and_reach_what_is_on_a_page_of_no_kind(visitor, world, path):
    root = visitor()
    root.go(path)
    root.look()
