"""The admin without a mouse."""

import pytest
from playwright.sync_api import expect

_OUTLINE = "() => getComputedStyle(document.activeElement).outlineStyle"


@pytest.fixture
def page(visitor, world):
    return visitor().go("/admin/scheduling/job/")


def test_the_first_key_leads_past_the_navigation(page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_one_sees_where_one_is(page):
    hidden = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(_OUTLINE) == "none":
            hidden.append(page.evaluate("document.activeElement.outerHTML.slice(0, 120)"))
    assert hidden == []


def test_menus_open_and_close_with_keys(page, visitor):
    user = page.get_by_role("navigation").get_by_role("button", expanded=False)
    user.focus()
    page.keyboard.press("Enter")
    dark = page.get_by_role("button", name="Dark")
    dark.focus()
    page.keyboard.press(" ")
    expect(page.locator("html")).to_have_class("dark")
    page.keyboard.press("Escape")
    expect(dark).to_be_hidden()


def test_the_sidebar_goes_and_comes_with_a_key(page):
    toggle = page.get_by_role("main").get_by_role("button", name="Toggle sidebar")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.keyboard.press(" ")
    expect(page.get_by_role("navigation")).to_be_visible()
