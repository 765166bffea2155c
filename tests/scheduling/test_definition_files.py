"""A file of definitions is read as it is meant, written so that it reads the same, and refused in words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.definition_file import MAX_BYTES, BadFile, read, write
from scheduling.definition_shapes import CALENDAR, JOB, SCHEDULE
from scheduling.services import documents

HEAD = "hetuflow: 1\n"


def problems(text):
    with pytest.raises(BadFile) as refused:
        read(text.encode() if isinstance(text, str) else text)
    return refused.value.problems


def job_of(yaml):
    """Return the job whose parameters are written so."""
    (entry,) = read(f"{HEAD}jobs:\n- name: a\n  config: {yaml}\n".encode())
    return entry.document["config"]


def test_calendars_come_first_and_a_namespace_may_be_left_out():
    found = read(b"hetuflow: 1\njobs: [{name: j, config: {cmd: sh}}]\ncalendars: [{name: c, namespace: n}]")
    assert [(entry.kind, entry.name) for entry in found] == [("calendar", "n/c"), ("job", "default/j")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("18:00", "18:00"),
        ("on", "on"),
        ("no", "no"),
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T03:00:00Z", "2026-12-01T03:00:00Z"),
        ("010", 10),
        ("-3", -3),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("1_000", "1_000"),
        ("true", True),
        ("'true'", "true"),
        ('"10"', "10"),
        ("~", None),
        ("", None),
        ("=", "="),
        ("<<", "<<"),
        ("|\n        a\n        b\n", "a\nb\n"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(written, meant):
    assert job_of(f"\n      it: {written}")["it"] == meant
    assert type(job_of(f"\n      it: {written}")["it"]) is type(meant)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "This is no file of definitions: it begins with “hetuflow: 1”."),
        ("- 1", "This is no file of definitions: it begins with “hetuflow: 1”."),
        ("hetuflow: 2", "The version of the file, 2, is not known here; expected 1."),
        ("hetuflow: 1", "The file defines nothing."),
        ("hetuflow: 1\njob: []", "job is unknown; expected calendars, jobs."),
        ("hetuflow: 1\njobs: {}", "The file defines nothing."),
        ("hetuflow: 1\njobs: {a: 1}", "jobs: expected a list"),
        ("hetuflow: 1\na:\n- *b", "Line 3: references (*name) are not read"),
        ("hetuflow: 1\na: !!set {}", "Line 2: tags (!name) are not read"),
        ("a: !!python/object/apply:os.system [ls]", "Line 1: tags (!name) are not read"),
        ("hetuflow: 1\n--- \nhetuflow: 1", "Line 2: a file has one document"),
        ("hetuflow: 1\nhetuflow: 1", "Line 2: hetuflow is there twice"),
        ("? [a]\n: 1", "Line 1: the name of a field is a text"),
        ("1: 1", "Line 1: the name of a field is a text"),
        ("[" * 40, "Line 1: nested too deep"),
        ("{" * 100_000, "Line 1: Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "Line 1: exceeded maximum nesting depth"),
        ("a: [1", "Line 2: did not find expected ',' or ']'"),
        ("a: 'x", "Line 1: found unexpected end of stream"),
        ('{"a": 1, "a": 2}', "a is there twice"),
        ("hetuflow: 1\njobs: [{name: a, config: {x: .inf, n: 1e999}}]", "Out of range float"),
        ('hetuflow: 1\njobs: [{name: a, config: {x: "\\0"}}]', "jobs[0]: must not hold the character NUL"),
        ('{"hetuflow": 1, "jobs": [{"name": "\\ud800"}]}', "jobs[0]: half of a surrogate pair"),
        (b"\xff\xfe", "Byte 0 is not UTF-8."),
        (b"a: \xff", "Byte 3 is not UTF-8."),
        (b" " * (MAX_BYTES + 1), "The file is larger than 8 MiB."),
        ("hetuflow: 1\njobs: [{config: {}}]", 'jobs[0]: "name" is a required property'),
        ("hetuflow: 1\njobs: [{name: 1, config: {}}]", "jobs[0].name: 1 is not of type"),
        ("hetuflow: 1\njobs: [{name: a, config: {}, x: 1}]", "'x' was unexpected"),
        ("hetuflow: 1\njobs: [{name: a, config: {}, enabled: yes}]", "jobs[0].enabled"),
        (
            "hetuflow: 1\njobs: [{name: a, config: {}, schedules: [{kind: once, start_time: 2026-12-01}]}]",
            "jobs[0].schedules[0].start_time",
        ),
        (
            "hetuflow: 1\njobs: [{name: a, config: {}}, {namespace: default, name: a, config: {}}]",
            "The job default/a is there twice.",
        ),
    ],
)
def test_what_is_no_file_of_definitions_is_refused_with_the_place(text, problem):
    (found, *_others) = problems(text)
    assert problem in found


def test_problems_are_told_together_but_not_without_end():
    many = "\n".join(f"- {{name: {number}, config: {{}}}}" for number in range(100))
    assert len(problems(f"{HEAD}jobs:\n{many}")) == 20


def test_aliases_that_would_blow_up_cost_nothing():
    bomb = "a: &a [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert problems(bomb) == ["Line 2: references (*name) are not read"]


def test_scripts_are_written_as_lines():
    text = "".join(write([], [{"name": "a", "command": "echo 1\necho 二\n", "config": {"cmd": "sh"}}]))
    assert "  command: |\n    echo 1\n    echo 二\n" in text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc=<#: ~-0", min_size=1, max_size=5), VALUES, max_size=5))
def test_what_is_written_reads_the_same(config):
    document = {"name": "a", "config": config}
    (entry,) = read("".join(write([], [document])).encode())
    assert json.dumps(entry.document) == json.dumps(document)
    (entry,) = read(json.dumps({"hetuflow": 1, "jobs": [document]}).encode())
    assert entry.document == document


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_nothing_but_a_refusal_comes_of_nonsense(nonsense):
    with pytest.raises(BadFile):
        read(nonsense.encode("utf-8", "surrogatepass") if isinstance(nonsense, str) else nonsense)


def test_every_field_of_a_job_and_a_schedule_has_a_shape():
    assert set(CALENDAR["properties"]) == set(documents._CALENDAR_FIELDS)
    assert set(JOB["properties"]) == {*documents._JOB_FIELDS, "schedules"}
    assert set(SCHEDULE["properties"]) == {*documents._SCHEDULE_FIELDS, "calendar", "enabled"}
