import json

import pytest

from rest.controls import printable, visible
from rest.rendering import JSONRenderer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1b[31mred\x1b[0m\x07\x7f", "␛[31mred␛[0m␇␡"),
        ("\x9b31m", "[U+009B]31m"),
        ("invoice\u202efdp.exe", "invoice[U+202E]fdp.exe"),
        ("\u2066\u2069\u200f\u061c", "[U+2066][U+2069][U+200F][U+061C]"),
        ("naïve 任务 مرحبا 👩‍🚀", "naïve 任务 مرحبا 👩‍🚀"),
        ("", ""),
    ],
)
def test_controls_become_marks_and_scripts_stay(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text", ["plain", "é°", "\x1b[2J", "\x7f", "\x80\x9b", "a\u202eb", "\u2066\u200f\u061c任"]
)
def test_a_json_answer_holds_no_control_and_says_the_same(text):
    body = JSONRenderer().render({text: [text]})
    assert json.loads(body) == {text: [text]}
    assert visible(body.decode()) == body.decode()


def test_json_without_controls_is_left_as_it_is():
    document = '{"name":"任务 é"}'.encode()
    assert printable(document) == document
    assert printable(b'{"a":1}') == b'{"a":1}'
