"""Usages as lines: gaps stay gaps, and the numbers can be read, too."""

from datetime import timedelta

import pytest
from django.utils import translation

from agents.samples import Usage
from gateway.usage_picture import spark, usage_chart
from tests.factories import NOW

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _in_english():
    with translation.override("en"):
        yield


def chart(*usage, slots=4):
    return usage_chart(usage, begin=NOW, end=NOW + len(usage) * HOUR, slots=slots)


def test_a_line_goes_from_full_at_the_top_to_nothing_at_the_bottom():
    made = chart(Usage(0, 100, 0), Usage(50, 75, 2), Usage(100, 50, 4))
    assert made["cpu"] == ["0.0,100.0 10.0,50.0 20.0,0.0"]
    assert made["memory"] == ["0.0,0.0 10.0,25.0 20.0,50.0"]
    assert [(column["y"], column["height"]) for column in made["columns"]] == [
        ("100.00", "0.00"),
        ("50.00", "50.00"),
        ("0.00", "100.00"),
    ]


def test_where_nothing_is_known_a_line_has_a_gap_and_one_value_alone_is_seen():
    made = chart(Usage(10, None, 1), Usage(10, None, 1), None, Usage(20, None, 1), Usage(None, None, 1))
    assert made["cpu"] == ["0.0,90.0 10.0,90.0", "30.0,80.0 35.0,80.0"]
    assert made["memory"] == []
    assert made["columns"][2]["title"] == "14:00: nothing known"
    assert made["rows"][2] == "15:00: CPU 20 %, RAM –, at most 1 at once"
    assert len(made["rows"]) == 4


def test_more_than_its_slots_does_not_leave_the_picture():
    made = chart(Usage(None, None, 8), Usage(None, None, 4))
    assert [column["height"] for column in made["columns"]] == ["100.00", "50.00"]
    assert made["most_running"] == 8


def test_nothing_at_all_is_said():
    assert not chart(None, None)["is_known"]
    assert not usage_chart([None], begin=NOW, end=NOW + HOUR, slots=0)["is_known"]


def test_a_small_line_says_its_numbers():
    html = spark("CPU", [10.0, None, 90.0, 20.0], now=20.4)
    assert 'aria-label="CPU: now 20 %, at most 90 %"' in html
    assert html.count("<polyline") == 2
    assert 'aria-label="RAM: now –"' in spark("RAM", [None, None], now=None)
