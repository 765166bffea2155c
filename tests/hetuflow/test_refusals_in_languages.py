"""What services refuse is said in the language of who asked; REST says it in English, whoever asks."""

import ast
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from django.urls import reverse
from django.utils import translation

from access.sentences import in_each_language, recognised, said
from scheduling.errors import InvalidState
from scheduling.kinds import BulkVerb
from scheduling.library_words import library_words
from scheduling.recurrence import Recurrence, RecurrenceError, validate
from scheduling.services import bulk, manual
from scheduling.states import TASK_RETRYABLE
from scheduling.task_config import ResourceLimits
from tests import factories, people
from tests.admin_client import client_of, form_values
from tests.factories import ANN, NOW
from tests.processes import ROOT

CHINESE = {"accept-language": "zh-hans"}
REFUSALS = set(
    "InvalidField BadRange InvalidState AlreadyExists InUse ExpressionError RecurrenceError BadEntry "
    "BadTemplate TaskConfigError InvalidFilter NameTaken AgentTimeout".split()
)
SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer", "maximum": 9}},
    "required": ["level"],
}


def in_chinese(sentence):
    with translation.override("zh-hans"):
        return str(sentence)


def refusal_of(expression):
    with pytest.raises(RecurrenceError) as caught:
        validate(Recurrence(kind="cron", cron_expression=expression))
    return caught.value


@pytest.mark.parametrize(
    ("expression", "english", "chinese"),
    [
        ("0 25 * * *", "'25' does not fit hours: expected 0 to 23, at position 3", "'25' 不适用于字段“小时”"),
        ("0 25 * * *", "an example that works", "位于第 3 个字符；可用的例子"),
        ("0 3 * * *\n* * * * 9", "line 2: '9' does not fit day of week", "第 2 行：'9' 不适用于字段“星期”"),
        ("Mon 25:00", "'25' does not fit hour: expected 0 to 23", "'25' 不适用于字段“小时”：应为 0 到 23"),
        ("RRULE:FREQ=SECONDLY", "a rule counts from a start", "规则需要起点"),
    ],
)
def test_an_expression_is_refused_in_the_language_of_the_reader(expression, english, chinese):
    refusal = refusal_of(expression)
    assert english in str(refusal)
    assert chinese in in_chinese(refusal)


def test_a_state_is_told_by_its_code_in_english_and_by_its_name_in_chinese():
    refusal = InvalidState(action=said("retry this task"), current="running", allowed=TASK_RETRYABLE)
    assert (
        str(refusal)
        == "Cannot retry this task: the current state is running; allowed from failed, cancelled."
    )
    assert in_chinese(refusal) == "无法重试此任务：当前状态为“运行中”；允许的状态：失败, 已取消。"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "x"),
        ({"type": ["integer", "null"]}, "x"),
        ({"enum": ["a", "b"]}, "x"),
        ({"const": 5}, 4),
        ({"format": "date"}, "x"),
        ({"pattern": "^a"}, "x"),
        ({"minLength": 3}, "x"),
        ({"minLength": 1}, ""),
        ({"maxLength": 1}, "xx"),
        ({"minimum": 3}, 1),
        ({"maximum": 3}, 9),
        ({"exclusiveMinimum": 3}, 3),
        ({"exclusiveMaximum": 3}, 3),
        ({"multipleOf": 3}, 4),
        ({"required": ["a"]}, {}),
        ({"minProperties": 2}, {}),
        ({"maxProperties": 1}, {"a": 1, "b": 2}),
        ({"minItems": 1}, []),
        ({"maxItems": 2}, [1, 2, 3]),
        ({"uniqueItems": True}, [1, 1]),
        ({"anyOf": [{"type": "string"}]}, 1),
        ({"oneOf": [{"type": "string"}, {"maxLength": 4}]}, "x"),
        ({"not": {"type": "string"}}, "x"),
        (False, 5),
    ],
)
def test_what_a_schema_does_not_take_is_said_in_chinese(schema, value):
    errors = [*jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(value)]
    assert errors
    for error in errors:
        assert str(library_words(error.message)) == error.message
        assert any("一" <= character <= "鿿" for character in in_chinese(library_words(error.message)))


def test_what_no_library_is_known_to_say_stays_as_it_is():
    assert in_chinese(library_words("Something new")) == "Something new"


@pytest.mark.parametrize("value", [{"max_memory_mb": 0}, {"max_memory_mb": "x"}, {"max_memory_gb": 1}])
def test_a_value_of_the_wrong_type_is_refused_in_chinese(value):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, ResourceLimits)
    assert str(library_words(str(caught.value))) == str(caught.value)
    assert in_chinese(library_words(str(caught.value))) != str(caught.value)


def test_a_text_with_a_percent_sign_is_recognised_as_it_was():
    text = str(said("%(problem)s; %(example)s", problem="100 % of it", example="%(problem)s"))
    assert str(recognised(text, ["%(problem)s; %(example)s"])) == text == "100 % of it; %(problem)s"


@pytest.mark.django_db
def test_a_form_says_what_is_wrong_with_it_in_the_language_of_its_reader():
    schedule = factories.schedule(kind="cron", cron_expression="0 3 * * *")
    browser = client_of(superuser=True)
    url = reverse("admin:scheduling_schedule_change", args=[schedule.pk])
    values = form_values(browser.get(url)) | {"cron_expression": "0 25 * * *"}
    assert "&#x27;25&#x27; does not fit hours" in browser.post(url, values).content.decode()
    chinese = browser.post(url, values, headers=CHINESE).content.decode()
    assert "&#x27;25&#x27; 不适用于字段“小时”：应为 0 到 23，位于第 3 个字符" in chinese
    assert "does not fit" not in chinese


@pytest.mark.django_db
def test_a_button_that_is_refused_says_so_in_the_language_of_who_pressed_it():
    task = factories.task()
    browser = client_of(superuser=True)
    url = reverse("admin:scheduling_task_change", args=[task.pk]).replace("change", "retry")
    response = browser.post(url, follow=True, headers=CHINESE)
    assert "无法重试此任务：当前状态为“等待中”" in response.content.decode()


@pytest.mark.django_db
def test_rest_refuses_in_english_whatever_a_browser_asks_for():
    browser = client_of(superuser=True)
    browser.post(reverse("admin:preferences"), {"language": "zh-hans"})
    body = {"name": "a", "namespace": "*", "config": {"cmd": "bash"}}
    answer = browser.post("/api/v1/jobs", body, content_type="application/json", headers=CHINESE)
    assert answer.status_code == 400
    assert answer["Content-Language"] == "en"
    told = {error["attr"]: error["detail"] for error in answer.json()["errors"]}
    assert told["namespace"] == "* means every namespace"
    assert all(text.isascii() for text in told.values())
    lacking = browser.post("/api/v1/jobs", {}, content_type="application/json", headers=CHINESE)
    assert "This field is required." in lacking.content.decode()


@pytest.mark.django_db
def test_what_is_refused_of_a_bulk_action_waits_for_readers_of_each_language():
    job, task = factories.job(parameters_schema=SCHEMA), factories.task()
    manual.cancel(task_id=task.pk, now=NOW)
    user = people.person(superuser=True, is_staff=True)
    actions = [
        bulk.begin(verb=verb, target_ids=[obj.pk], user=user, by=ANN)
        for verb, obj in ((BulkVerb.RUN_JOBS, job), (BulkVerb.CANCEL_TASKS, task))
    ]
    with translation.override("zh-hans"):  # whoever does it
        for action in actions:
            bulk.work(action, for_secs=60)
    first, second = (action.targets.get() for action in actions)
    assert first.problem == "parameters.level: required"
    assert second.problem.startswith(
        "Cannot cancel this task: the current state is cancelled; allowed from pend"
    )
    browser = client_of(superuser=True)
    for action, english, chinese in zip(
        actions,
        ["parameters.level: required", "Cannot cancel this task"],
        ["parameters.level: 必填", "无法取消此任务"],
        strict=True,
    ):
        page = reverse("admin:scheduling_bulkaction_change", args=[action.pk])
        assert english in browser.get(page).content.decode()
        assert chinese in browser.get(page, headers=CHINESE).content.decode()


def test_each_language_has_its_own():
    assert in_each_language(said("required")) == {"en": "required", "zh-hans": "必填"}


def bare_texts(source):
    """Yield the lines on which a refusal is raised with a text that no language but English has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = getattr(node.exc.func, "id", "")
            if name in REFUSALS:
                given = [*node.exc.args, *(keyword.value for keyword in node.exc.keywords)]
                yield from (each.lineno for argument in given for each in _bare(argument))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("errors["):
            yield from (each.lineno for each in _bare(node.value))


def _bare(node):
    match node:
        case ast.JoinedStr():
            yield node
        case ast.Constant(value=str(text)) if " " in text:
            yield node
        case ast.Dict(values=values):
            for value in values:
                yield from _bare(value)


def test_no_refusal_is_english_alone():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("access", "agents", "gateway", "scheduling")
        for path in (Path(ROOT) / package).rglob("*.py")
        if "api" not in path.parts and "daemon" not in path.parts
        for line in bare_texts(path.read_text())
    ]
    assert found == []


def test_a_refusal_in_english_alone_is_found():
    assert [*bare_texts('raise InvalidField({"a": f"more than {x}"})\nerrors["b"] = "not this"')] == [1, 2]
