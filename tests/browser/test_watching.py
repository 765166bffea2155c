"""The eyes of these tests see: each thing that no page may do is found when one does it."""

import pytest

_HEAD = "<html lang='en'><head><title>t</title></head><body><main><h1>t</h1>"


@pytest.fixture
def watched(visitor):
    """Return what shows a page of the server's and says what the browser complained of."""
    root = visitor()

    def show(html, policy="default-src 'self'"):
        headers = {"Content-Security-Policy": policy}
        answer = {"body": html, "content_type": "text/html", "headers": headers}
        root.page.route("**/shown", lambda route: route.fulfill(**answer))
        root.page.goto("/shown")
        root.page.wait_for_load_state("networkidle")
        found = root.watch.findings()
        root.watch.expect("")
        return root, found

    return show


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<script>console.error('oh')</script>", "oh"),
        ("<script>console.warn('hm')</script>", "hm"),
        ("<script>gone()</script>", "gone is not defined"),
        ("<img alt='' src='/static/nothing.png'>", "404"),
        ("<img alt='' src='http://192.0.2.1/x.png'>", "request to http://192.0.2.1/x.png"),
    ],
)
def test_a_complaint_of_the_browser_is_found(watched, html, said):
    _root, found = watched(_HEAD + html, policy="default-src * 'unsafe-inline'")
    assert any(said in line for line in found), found


def test_a_script_that_the_policy_stops_is_found(watched):
    _root, found = watched(_HEAD + "<script>1</script>")
    assert any("Content Security Policy" in line for line in found), found


def test_a_page_that_does_nothing_wrong_is_no_finding(watched):
    root, found = watched(_HEAD + "<p>All is well.</p>")
    assert found == []
    root.look()


@pytest.mark.parametrize(
    ("html", "look", "rule"),
    [
        ("<p style='color: #aaa'>pale</p>", "light", "color-contrast"),
        ("<img src='data:,'>", "light", "image-alt"),
        ("<input>", "light", "label"),
        ("<div style='cursor: pointer'>press me</div>", "light", "no key reaches"),
        ("<h4>too deep</h4>", "light", "heading-order"),
        (
            "<style>@media (prefers-color-scheme: dark) { body { background: #222 } }</style><p>dark</p>",
            "dark",
            "color-contrast",
        ),
        (
            "<style>a { display: inline-block; width: 9px; height: 9px; overflow: hidden }</style>"
            "<a href='/a'>a</a><a href='/b'>b</a>",
            "light",
            "target-size",
        ),
        ("<p style='width: 500px'>wide</p>", "phone", "the page is"),
    ],
)
def test_what_someone_could_not_read_or_reach_is_found(watched, html, look, rule):
    root, _found = watched(
        "<meta name='viewport' content='width=device-width'>" + _HEAD + html,
        policy="default-src 'self' data: 'unsafe-inline'",
    )
    with pytest.raises(AssertionError, match=rf"{look}: {rule}"):
        root.look()
