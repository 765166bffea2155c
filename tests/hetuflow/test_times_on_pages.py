"""Pages tell every time in the zone of their reader, and UTC when it is pointed at."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from access.preferences import choose
from scheduling.admin import words
from tests import factories
from tests.admin_client import browser_with
from tests.hetuflow.test_pages import is_page, paths_of_the_admin
from tests.hetuflow.test_pages import root as root

DAY = r"\d{4}-\d\d-\d\d|\w{3,9}\.? \d{1,2}, \d{4}"
INSTANT = re.compile(rf"(?:{DAY})(?:[T ,]+| at )\d{{1,2}}(?::\d\d| [ap]\.m\.)")
# Examples of what can be entered.
GIVEN = {"2026-12-24 00:00..2026-12-27 00:00"}
# Elements whose text people or programs wrote.
WRITTEN = {"pre", "code", "textarea", "script", "style", "template"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
ENTERED = ("datetime-local", "vTimeField")


class Times(HTMLParser):
    """Collects the instants that stand alone, without UTC to be pointed at, and whether any is asked for."""

    def __init__(self):
        super().__init__()
        self.alone, self.asks, self.count = [], False, 0
        self._open = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "time":
            self.count += 1
            if not (given.get("title") or "").endswith(" UTC"):
                self.alone.append(f"title={given.get('title')}")
        else:
            self._look(" ".join(given.get(name) or "" for name in ("title", "aria-label", "placeholder")))
        if tag == "input":
            looks = f"{given.get('type')} {given.get('class')}"
            self.asks |= given.get("type") != "hidden" and any(name in looks for name in ENTERED)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID and self._open:
            self._open.pop()

    def handle_data(self, data):
        if not {"time", *WRITTEN} & set(self._open):
            self._look(data)

    def _look(self, text):
        if INSTANT.search(text) and " UTC" not in text and text.strip() not in GIVEN:
            self.alone.append(" ".join(text.split()))


def times_of(html):
    times = Times()
    times.feed(html)
    return times


def test_every_time_on_a_page_says_utc_when_pointed_at(root):
    choose(user=User.objects.get(), language="en", time_zone="Asia/Shanghai")
    alone, unsaid, count = {}, [], 0
    for path in paths_of_the_admin():
        response = root.get(path, headers={"accept": "text/html"})
        if is_page(response) and response.status_code == 200:
            html = response.content.decode()
            times = times_of(html)
            count += times.count
            alone |= dict.fromkeys(times.alone, path)
            if times.asks and "Asia/Shanghai" not in html:
                unsaid.append(path)
    assert count > 100
    assert alone == {}, "\n".join(f"{text}: {path}" for text, path in alone.items())
    assert unsaid == [], "pages that ask for a time and do not say of which zone"


def test_a_time_that_stands_alone_is_found():
    html = (
        "<p>at 2026-03-02 12:00</p><p>2026-03-02T12:00:00Z</p><p>March 2, 2026, 3 p.m.</p>"
        '<time title="2026-03-02 12:00:00">2 days ago</time><i title="2026-03-02 12:00: failed"></i>'
        '<time title="2026-03-02 12:00:00.000 UTC">2026-03-02 12:00:00</time><pre>2026-03-02 12:00</pre>'
        '<i title="2026-03-02 20:00 Asia/Shanghai, 2026-03-02 12:00 UTC"></i>'
    )
    assert len(times_of(html).alone) == 5


@pytest.mark.django_db
def test_who_may_only_look_is_told_the_same():
    schedule = factories.schedule(start_time=datetime(2026, 3, 2, 23, 30, tzinfo=UTC))
    browser = browser_with(("viewer", "default"))
    browser.post(reverse("admin:preferences"), {"time_zone": "Asia/Shanghai"})
    page = browser.get(reverse("admin:scheduling_schedule_change", args=[schedule.pk])).content.decode()
    assert 'title="2026-03-02 23:30:00.000 UTC">2026-03-03 07:30:00</time>' in page
    assert "Start" in page
    assert times_of(page).alone == []


@pytest.mark.django_db
@pytest.mark.parametrize(("reader", "told"), [("UTC", ""), ("Asia/Shanghai", " (UTC)")])
def test_a_rule_names_its_zone_where_that_is_not_the_readers(reader, told):
    schedule = factories.schedule(kind="cron", cron_expression="0 3 * * *", timezone="UTC")
    with timezone.override(reader):
        assert words.rule(schedule) == f"every day at 03:00{told}"
