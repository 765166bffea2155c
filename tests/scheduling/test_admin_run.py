"""Running a job by hand: the form that its schema makes, and what comes of it."""

import pytest
from django.urls import reverse

from scheduling.admin.job_run import RunForm
from scheduling.models import Job, Task
from tests import factories
from tests.admin_client import client_of, form_values

pytestmark = pytest.mark.django_db
SCHEMA = {
    "type": "object",
    "description": "Exports one day.",
    "properties": {
        "day": {"type": "string", "format": "date", "title": "Day", "description": "Which one."},
        "at": {"type": "string", "format": "date-time"},
        "level": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "ratio": {"type": "number"},
        "note": {"type": "string", "maxLength": 20},
        "dry": {"type": "boolean", "default": True},
        "loud": {"type": "boolean"},
        "kind": {"enum": ["full", "part", 3]},
        "tables": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "parts": {"type": "array", "items": {"enum": ["a", "b"]}},
        "options": {"type": "object"},
        "maybe": {"type": ["string", "null"]},
    },
    "required": ["day"],
    "additionalProperties": False,
}
FULL = {
    "parameters.day": "2026-03-02",
    "parameters.at": "2026-03-02T12:30",
    "parameters.level": "5",
    "parameters.ratio": "0.5",
    "parameters.note": " two words",
    "parameters.dry": "on",
    "parameters.loud": "false",
    "parameters.kind": "3",
    "parameters.tables": "users\r\norders\r\n",
    "parameters.sizes": "1\n2",
    "parameters.parts": ['"a"', '"b"'],
    "parameters.options": '{"a": [1]}',
    "parameters.maybe": "x",
    "priority": "0",
}


@pytest.fixture
def browser():
    return client_of(superuser=True)


def url_of(job):
    return reverse("admin:scheduling_job_run", args=[job.pk])


def errors_of(browser, schema, values):
    job = factories.job(parameters_schema=schema)
    return browser.post(url_of(job), {"priority": "0", **values}).context["form"].errors


def test_every_kind_of_value_arrives_as_the_json_that_the_schema_wants(browser):
    job = factories.job(parameters_schema=SCHEMA)
    response = browser.post(url_of(job), FULL)
    assert response.status_code == 302, response.context["form"].errors
    assert Task.objects.get().parameters == {
        "day": "2026-03-02",
        "at": "2026-03-02T12:30:00Z",
        "level": 5,
        "ratio": 0.5,
        "note": " two words",
        "dry": True,
        "loud": False,
        "kind": 3,
        "tables": ["users", "orders"],
        "sizes": [1, 2],
        "parts": ["a", "b"],
        "options": {"a": [1]},
        "maybe": "x",
    }


def test_what_is_left_empty_is_left_out_or_has_its_default(browser):
    job = factories.job(parameters_schema=SCHEMA)
    browser.post(url_of(job), {"parameters.day": "2026-03-02", "priority": "0"})
    assert Task.objects.get().parameters == {"day": "2026-03-02", "level": 3, "dry": False}


def test_the_form_begins_with_the_defaults_and_says_what_the_schema_says(browser):
    job = factories.job(parameters_schema=SCHEMA)
    response = browser.get(url_of(job))
    content = response.content.decode()
    assert response.context["form"]["parameters.level"].value() == 3
    assert response.context["form"]["parameters.dry"].value() is True
    for said in (
        "Exports one day.",
        "Which one.",
        'type="date"',
        'type="datetime-local"',
        "In your time zone, UTC.",
    ):
        assert said in content
    assert "parameters" not in response.context["form"].fields


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "parameters.day"),
        ({"parameters.day": "tomorrow"}, "parameters.day"),
        ({"parameters.level": "x"}, "parameters.level"),
        ({"parameters.level": "10"}, "parameters.level"),
        ({"parameters.ratio": "nan"}, "parameters.ratio"),
        ({"parameters.note": "x" * 21}, "parameters.note"),
        ({"parameters.kind": '"other"'}, "parameters.kind"),
        ({"parameters.sizes": "1\nx"}, "parameters.sizes"),
        ({"parameters.parts": ['"c"']}, "parameters.parts"),
        ({"parameters.options": "{"}, "parameters.options"),
        ({"parameters.options": "[]"}, "parameters.options"),
        ({"parameters.at": "noon"}, "parameters.at"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(browser, values, field):
    assert field in errors_of(browser, SCHEMA, {"parameters.day": "2026-03-02", **values} if values else {})
    assert not Task.objects.exists()


def test_what_only_the_schema_knows_is_said_at_its_field_too(browser):
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}}
    assert "does not match" in str(errors_of(browser, schema, {"parameters.code": "ab"})["parameters.code"])


def test_what_is_required_is_asked_first_in_the_order_of_the_schema(browser):
    properties = {name: {"type": "string"} for name in ("a", "bb", "ccc")}
    schema = {"type": "object", "properties": properties, "required": ["ccc", "bb"]}
    job = factories.job(parameters_schema=schema)
    asked = list(browser.get(url_of(job)).context["form"].fields)
    assert asked[:3] == ["parameters.ccc", "parameters.bb", "parameters.a"]


def test_a_schema_that_takes_others_has_a_field_for_them(browser):
    job = factories.job(parameters_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    twice = {"parameters.a": "1", "parameters": '{"a": 2}', "priority": "0"}
    assert "field of its own" in str(browser.post(url_of(job), twice).context["form"].errors["parameters"])
    browser.post(url_of(job), twice | {"parameters": '{"b": 2}'})
    assert Task.objects.get().parameters == {"a": 1, "b": 2}


def test_a_refused_form_comes_back_as_it_was_filled_in(browser):
    job = factories.job(parameters_schema=SCHEMA)
    response = browser.post(url_of(job), FULL | {"parameters.level": "99"})
    form = response.context["form"]
    assert form["parameters.kind"].value() == "3"
    content = response.content.decode()
    for shown in ('value="2026-03-02"', "users", '<option value="3" selected', "2026-03-02T12:30"):
        assert shown in content


def test_defaults_of_every_kind_make_a_form_that_can_be_sent_as_it_is(browser):
    defaults = {
        "day": "2026-03-02",
        "at": "2026-03-02T14:30:00+02:00",
        "ratio": 2,
        "kind": "part",
        "tables": ["x", "y"],
        "parts": ["b"],
        "options": {"a": 1},
        "note": "hello",
    }
    properties = {
        name: {**each, **({"default": defaults[name]} if name in defaults else {})}
        for name, each in SCHEMA["properties"].items()
    }
    job = factories.job(parameters_schema={**SCHEMA, "properties": properties})
    form = RunForm(job=job)
    values = {}
    for bound in form:
        value = bound.field.prepare_value(bound.initial) if bound.initial is not None else ""
        values |= {bound.html_name: value} if value is not False else {}
    assert browser.post(url_of(job), values).status_code == 302
    ran = Task.objects.get().parameters
    assert ran == {**defaults, "at": "2026-03-02T12:30:00Z", "level": 3, "dry": True}


def test_an_enabled_job_is_not_asked_about_force(browser):
    assert "force" not in browser.get(url_of(factories.job())).context["form"].fields
    assert "force" in browser.get(url_of(factories.job(enabled=False))).context["form"].fields


def test_the_schema_is_written_in_the_form_of_the_job_and_refused_with_its_place(browser):
    job = factories.job()
    page = reverse("admin:scheduling_job_change", args=[job.pk])
    values = form_values(browser.get(page)) | {"parameters_schema": '{"type": "object", "typo": 1}'}
    errors = browser.post(page, values).context["adminform"].form.errors
    assert "typo" in str(errors["parameters_schema"])
    browser.post(page, values | {"parameters_schema": '{"type": "object"}'})
    assert Job.objects.get().parameters_schema == {"type": "object"}
    values = form_values(browser.get(page))
    browser.post(page, values | {"parameters_schema": ""})
    assert Job.objects.get().parameters_schema is None


def test_a_schedule_that_does_not_fit_says_so_at_its_parameters(browser):
    job = factories.job(parameters_schema=SCHEMA)
    add = reverse("admin:scheduling_schedule_add")
    values = form_values(browser.get(add, {"job": job.pk})) | {"kind": "interval", "interval_secs": "60"}
    errors = browser.post(add, values).context["adminform"].form.errors
    assert str(errors["parameters"][0]) == "day: required"
    preview = browser.post(reverse("admin:scheduling_schedule_preview"), values)
    assert b"day: required" in preview.content


def test_an_instant_is_read_by_the_clocks_of_who_fills_it_in(browser):
    job = factories.job(parameters_schema=SCHEMA)
    browser.post(reverse("admin:preferences"), {"time_zone": "Asia/Shanghai"})
    assert "In your time zone, Asia/Shanghai." in browser.get(url_of(job)).content.decode()
    browser.post(url_of(job), FULL)
    assert Task.objects.get().parameters["at"] == "2026-03-02T04:30:00Z"
