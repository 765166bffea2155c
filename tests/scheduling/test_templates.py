"""Templates in parameters: what they may say, and that nothing hostile in them costs anything."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from scheduling.calendars import CalendarRules
from scheduling.templates import BadTemplate, Moment, render_parameters

# 1 October 2026, 09:00 in Shanghai: National Day.
MOMENT = Moment(
    scheduled_at=datetime(2026, 10, 1, 1, 0, tzinfo=UTC),
    zone=ZoneInfo("Asia/Shanghai"),
    calendar=CalendarRules(name="china", country="CN"),
)


def rendered(template, moment=MOMENT):
    return render_parameters({"p": template}, moment)["p"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ business_date }}", "2026-09-30"),
        ("{{ date }}", "2026-10-01"),
        ("{{ scheduled_at | format }}", "2026-10-01T09:00:00+0800"),
        ("{{ scheduled_at | format('%Y%m%d') }}", "20261001"),
        ("day-{{ (scheduled_at - days(1)) | format('%F') }}.csv", "day-2026-09-30.csv"),
        ("{{ business_day(date, 2) }}", "2026-10-09"),
        ("{{ 'yes' if is_business_day(date) else 'no' }}", "no"),
        ("{{ previous_scheduled_at | default('none', true) }}", "none"),
        ("{{ scheduled_at.year }}", "2026"),
        ("no template", "no template"),
    ],
)
def test_a_template_speaks_of_its_instant(template, expected):
    assert rendered(template) == expected


def test_templates_are_rendered_inside_lists_and_objects_and_nothing_else_changes():
    parameters = {"a": ["{{ date }}", 1, None], "b": {"c": "{{ date }}", "d": True}}
    assert render_parameters(parameters, MOMENT) == {
        "a": ["2026-10-01", 1, None],
        "b": {"c": "2026-10-01", "d": True},
    }


@pytest.mark.parametrize(
    "template",
    [
        "{{ date.__class__.__mro__ }}",
        "{{ days.__globals__ }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a' * 999999999 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ 'a'.center(999999999) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ scheduled_at | format('%0999999999d') }}",
        "{{ 'x' | replace('', 'y') }}",
        "{% for i in [1] %}{{ i }}{% endfor %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{{ days(10000000) }}",
        "{{ business_day('2026-01-01') }}",
        "{{ nobody }}",
        "{{ date",
        "{{ date + 1 }}",
        "{{ scheduled_at - days(3660) - days(3660) - days(" + "1) - days(" * 200 + "1) }}",
        "{{ '" + "x" * 3000 + "' }}",
    ],
)
def test_a_hostile_or_wrong_template_is_refused_at_once_with_an_example(template):
    begin = time.thread_time()
    with pytest.raises(BadTemplate, match=r"an example that works"):
        rendered(template)
    assert time.thread_time() - begin < 0.5
