"""Finding things by the keyboard alone."""

import re

from playwright.sync_api import expect

from tests import factories


def test_a_job_is_found_and_opened_by_keys_from_any_page(visitor):
    jobs = [factories.job(name=f"quarterly-report-{number}") for number in (1, 2)]
    viewer = visitor("viewer")
    page = viewer.go("/admin/agents/agent/")
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Find")
    expect(box).to_be_focused()
    page.keyboard.type("quarterly")
    options = page.get_by_role("option")
    expect(options).to_have_count(2)
    expect(page.get_by_text("2 found")).to_be_visible()
    viewer.look()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text(jobs[1].name)
    expect(box).to_have_attribute("aria-activedescendant", "hf-found-2")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/admin/scheduling/job/{jobs[1].pk}/"))


def test_it_goes_away_by_escape_and_says_when_nothing_is_found(visitor):
    page = visitor("viewer").go("/admin/")
    page.get_by_role("button", name="Find").click()
    page.keyboard.type("no such thing")
    expect(page.get_by_text("Nothing that you may see is called so.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox", name="Find")).to_be_hidden()
    expect(page.get_by_role("button", name="Find")).to_be_focused()
