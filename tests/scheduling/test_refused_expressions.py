"""Whatever expression is refused, the refusal says at which position and gives an example that works."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.recurrence import Recurrence, RecurrenceError, validate

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
REFUSED = {
    "0 0 30 2 *": 5,
    "0 0 31W 2 *": 5,
    "0 0 31 2,4,6,9,11 ?": 5,
    "*/0 * * * *": 3,
    "61 * * * *": 1,
    "0,61 * * * *": 3,
    "* * * * FOO": 9,
    "0 9 * * FRI#6": 13,
    "0 9 * * FRI#0": 13,
    "* * *": 6,
    "0 0 0 * * * *": 13,
    "0 0 L-3 * *": 5,
    "0 0 32W * *": 5,
    "50~10 * * * *": 1,
    "@evry 5m": 1,
    "@every 0s": 8,
    "Mon..Xyz *-*-* 09:00": 1,
    "Mon *-*-* 25:00": 11,
    "Mon *-13-01 09:00": 7,
    "Mon *-*-* 09:00 UTC": 17,
    "*-02-30 09:00": 1,
    "RRULE:FREQ=SECONDLY": 7,
    "RRULE:FREQ=HOURLY;BYMONTH=1": 19,
    "RRULE:FREQ=DAILY;INTERVAL=1001": 18,
    "RRULE:FREQ=DAILY;COUNT=1001": 18,
    "RRULE:FREQ=WEEKLY;BYDAY=XX": 19,
    "RRULE:FREQ=FORTNIGHTLY": 7,
    "RRULE:INTERVAL=2": 1,
    "": 1,
}


def refusal(expression, start=START):
    with pytest.raises(RecurrenceError) as refused:
        validate(Recurrence(kind="cron", cron_expression=expression, start_time=start))
    return refused.value


@pytest.mark.parametrize(("expression", "position"), REFUSED.items())
def test_a_refusal_names_the_field_and_the_position_and_an_example_that_works(expression, position):
    error = refusal(expression)
    assert error.field == "cron_expression"
    told = re.search(r", at position (\d+); an example that works: ([^()]+?)(?: \([^()]*\))?\Z", str(error))
    assert told is not None, str(error)
    assert int(told.group(1)) == position, str(error)
    validate(Recurrence(kind="cron", cron_expression=told.group(2), start_time=START))


def test_a_rule_without_a_start_is_told_where_to_put_one():
    error = refusal("RRULE:FREQ=DAILY", start=None)
    example = str(error).partition("an example that works: ")[2]
    validate(Recurrence(kind="cron", cron_expression=example))


def test_of_several_lines_the_one_at_fault_is_named():
    assert str(refusal("0 9 * * *\n0 25 * * *")).startswith("line 2: '25' does not fit hours")


@given(
    st.text(alphabet="0123456789*/,-~?LW#@. :abMONFRQ=;\n", min_size=0, max_size=30)
    | st.builds(
        " ".join, st.lists(st.sampled_from(["*", "0", "L", "5#2", "~", "1-2", "x", "*/9"]), max_size=7)
    )
)
def test_whatever_is_refused_is_refused_so(expression):
    try:
        validate(Recurrence(kind="cron", cron_expression=expression, start_time=START))
    except RecurrenceError as error:
        assert re.search(r", at position \d+; an example that works: ", str(error)), str(error)  # noqa: PT017
