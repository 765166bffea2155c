"""Coming in and going out, through the form as people do."""

from django.contrib.auth.models import User
from playwright.sync_api import expect


def test_a_person_logs_in_by_the_form_and_out_again(visitor):
    someone = visitor(role=None)
    User.objects.create_user("grace", password="Xk2-lovelace", is_staff=True, is_superuser=True)
    page = someone.go("/admin/")
    someone.look()
    page.get_by_label("Username").fill("grace")
    page.locator("input[name=password]").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    page.locator("input[name=password]").fill("Xk2-lovelace")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Agents online")).to_be_visible()
    page.get_by_text("grace", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("successfully logged out")).to_be_visible()
