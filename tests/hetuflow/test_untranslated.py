"""On a Chinese page nothing is English but names, codes and what people or programs wrote."""

import re
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation
from django.views.defaults import page_not_found, permission_denied

from access.preferences import choose
from hetuflow.refusals import bad_request, server_error
from tests.hetuflow.test_pages import is_page, paths_of_the_admin
from tests.hetuflow.test_pages import root as root

# The same in every language.
NAMES = set(
    "hetuflow api csv json utc uuid url http rest id cpu stdout stderr bash sh python uv node npx cargo java "
    "exec cron unix icalendar rrule oncalendar systemd english postgresql django linux schema ctrl".split()
)
# What the objects on these pages say, and an example of a script.
GIVEN = {"one was missed", "missed default", "login root", "root user", "Hello from", "Labour Day"}
# Elements whose text people or programs wrote.
WRITTEN = {"pre", "code", "kbd", "textarea", "script", "style", "template"}
# Holidays have the names that their country gives them.
CODES = {"hf-month", "material-symbols-outlined", "hf-code", "hf-tag", "hf-preview", "hf-secret", "hf-name"}
ZONES = {"timezone", "time_zone"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SPOKEN = (
    "title",
    "aria-label",
    "placeholder",
    "alt",
    "data-confirm",
    "data-copied",
    "data-failed",
    "data-label",
)
PHRASE = re.compile(r"[A-Za-z]{2,}(?:[ ’'][A-Za-z]+)+")
# All that an element says.
WORD = re.compile(r"\A\s*([A-Z][a-z]{2,})[.:…]?\s*\Z")


class Texts(HTMLParser):
    """Collects what one can read on a page, or hear of it."""

    def __init__(self):
        super().__init__()
        self.found, self._open = [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if not any(self._open):
            self.found += [given[name] for name in SPOKEN if given.get(name)]
        if tag not in VOID:
            # Countries are named by the browser, zones have names that are no words.
            is_code = tag in WRITTEN or CODES & set((given.get("class") or "").split())
            is_code = is_code or "data-regions" in given or given.get("name") in ZONES
            self._open.append(bool(is_code or given.get("lang") == "en"))

    def handle_endtag(self, tag):
        if tag not in VOID and self._open:
            self._open.pop()

    def handle_data(self, data):
        if not any(self._open) and data.strip():
            self.found.append(" ".join(data.split()))


def english_in(html):
    """Return the phrases of two and more words that are no names."""
    texts = Texts()
    texts.feed(html)
    return {
        phrase
        for text in texts.found
        for phrase in (*PHRASE.findall(text), *WORD.findall(text))
        if phrase not in GIVEN and not {word.lower() for word in phrase.split()} <= NAMES
    }


def test_no_page_of_the_admin_is_partly_english_in_chinese(root):
    choose(user=User.objects.get(), language="zh-hans")
    found, count = {}, 0
    for path in paths_of_the_admin():
        response = root.get(path, headers={"accept": "text/html"})
        if is_page(response):
            count += 1
            for phrase in english_in(response.content.decode()):
                found.setdefault(phrase, path)
    assert count > 80
    assert found == {}, "\n".join(f"{phrase}: {path}" for phrase, path in found.items())


def test_english_is_found_where_it_stands():
    html = (
        '<title>Two words</title><p title="Try again">已 <b>Nothing was written.</b></p>'
        "<button> Save </button><option>No answer</option><pre>Some output here</pre>"
        "<p>REST API</p><p>Hetuflow</p>"
    )
    assert english_in(html) == {"Two words", "Try again", "Nothing was written", "Save", "No answer"}


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_pages_that_tell_what_went_wrong_speak_the_language_of_the_reader(language, status, client):
    answer = {400: bad_request, 403: permission_denied, 404: page_not_found, 500: server_error}[status]
    request = RequestFactory().get("/admin/nothing")
    with translation.override(language):
        response = answer(request) if status == 500 else answer(request, PermissionDenied())
    page = response.content.decode()
    assert response.status_code == status
    assert f'<html lang="{language}">' in page
    assert (english_in(page.replace('lang="en"', "")) == set()) == (language == "zh-hans")


@pytest.mark.django_db
def test_who_comes_in_and_goes_out_is_spoken_to_in_chinese():
    chinese = {"accept-language": "zh-hans"}
    browser = Client()
    login = reverse("admin:login")
    User.objects.create_user("ann", password="right")
    pages = [
        browser.get(login, headers=chinese),
        browser.post(login, {"username": "ann", "password": "wrong"}, headers=chinese),
        browser.post(login, {"username": "ann", "password": "right"}, headers=chinese),
    ]
    person = User.objects.create_user("bob", password="right", is_staff=True)
    browser.force_login(person)
    pages.append(browser.get(reverse("admin:password_change"), headers=chinese))
    pages.append(browser.post(reverse("admin:password_change"), {"old_password": "x"}, headers=chinese))
    pages.append(browser.post(reverse("admin:logout"), headers=chinese, follow=True))
    for response in pages:
        assert response.status_code == 200
        assert english_in(response.content.decode()) == set()
