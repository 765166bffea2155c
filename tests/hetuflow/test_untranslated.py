"""On a Chinese page nothing is English but names, codes and what people or programs wrote."""

import re
from html.parser import HTMLParser

from django.contrib.auth.models import User

from access.preferences import choose
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
WRITTEN = {"pre", "code", "kbd", "textarea", "script", "style", "template", "option", "title"}
# Holidays have the names that their country gives them.
CODES = {"hf-month", "material-symbols-outlined", "hf-code", "hf-tag", "hf-preview", "hf-secret", "hf-name"}
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
            is_code = tag in WRITTEN or CODES & set((given.get("class") or "").split())
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
        for phrase in PHRASE.findall(text)
        if phrase not in GIVEN and not {word.lower() for word in phrase.split()} <= NAMES
    }


def test_no_page_of_the_admin_is_partly_english_in_chinese(root):
    choose(user=User.objects.get(), language="zh-hans")
    found, count = {}, 0
    for path in paths_of_the_admin():
        response = root.get(path, headers={"accept": "text/html"})
        if is_page(response) and response.status_code == 200:
            count += 1
            for phrase in english_in(response.content.decode()):
                found.setdefault(phrase, path)
    assert count > 80
    assert found == {}, "\n".join(f"{phrase}: {path}" for phrase, path in found.items())


def test_english_is_found_where_it_stands():
    html = '<p title="Try again">已 <b>Nothing was written.</b></p><pre>Some output here</pre><p>REST API</p>'
    assert english_in(html) == {"Try again", "Nothing was written"}
