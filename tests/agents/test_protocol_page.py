"""`docs/protocol.md` against the classes of `agents/protocol`, in both directions."""

import inspect
import json
import re
from pathlib import Path

import msgspec
import pytest

from agents.protocol import messages, version
from agents.protocol.codec import decode_frame, encode_frame

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
MESSAGES = messages.AGENT_MESSAGES | messages.SERVER_MESSAGES
STRUCTURES = {
    name: item
    for name, item in inspect.getmembers(messages, inspect.isclass)
    if issubclass(item, messages.Item) and item not in {messages.Item, messages.AgentItem}
}


def sections():
    """Return the text below each `### name` heading of the page."""
    parts = re.split(r"^### `(\w+)`$", PAGE, flags=re.MULTILINE)
    return {
        name: re.split(r"^#", text, flags=re.MULTILINE)[0]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def examples():
    return re.findall(r"^```json\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def fields_on_the_page(section):
    return dict(re.findall(r"^\| `(\w+)` \| (required|optional) \|", section, flags=re.MULTILINE))


def fields_of(item):
    return {
        field.encode_name: "required" if field.required else "optional"
        for field in msgspec.structs.fields(item)
    }


def test_every_message_and_structure_has_its_section_and_no_other_has():
    assert sections().keys() == MESSAGES.keys() | STRUCTURES.keys()


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() | STRUCTURES.keys()))
def test_every_field_is_on_the_page_and_no_other_is(name):
    assert fields_on_the_page(sections()[name]) == fields_of((MESSAGES | STRUCTURES)[name])


@pytest.mark.parametrize("text", examples(), ids=lambda text: json.loads(text)["kind"])
def test_every_example_decodes(text):
    frame = decode_frame(text, MESSAGES)
    assert json.loads(text)["kind"] == frame.payload.KIND


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_has_an_example_that_shows_all_of_its_fields(name):
    (text,) = re.findall(r"^```json\n(.*?)^```$", sections()[name], flags=re.MULTILINE | re.DOTALL)
    shown = json.loads(text)
    assert shown["kind"] == name
    assert shown["payload"].keys() == fields_of(MESSAGES[name]).keys()


@pytest.mark.parametrize("name", sorted(messages.SERVER_MESSAGES))
def test_the_server_sends_every_field_also_where_it_holds_its_default(name):
    (text,) = re.findall(r"^```json\n(.*?)^```$", sections()[name], flags=re.MULTILINE | re.DOTALL)
    payload = decode_frame(text, MESSAGES).payload
    for field in msgspec.structs.fields(type(payload)):
        if not field.required and field.default_factory is not msgspec.NODEFAULT:
            payload = msgspec.structs.replace(payload, **{field.name: field.default_factory()})
    assert json.loads(encode_frame(payload))["payload"].keys() == fields_of(MESSAGES[name]).keys()


@pytest.mark.parametrize(
    "item",
    [
        messages.OutputOffsets(),
        messages.StaleReport(instance_id="0193a1c2-aaaa-7000-8000-000000000007", token=1),
        messages.RegisteredAttempt(instance_id="0193a1c2-aaaa-7000-8000-000000000007", action="continue"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_the_server_sends_inside_a_message_is_whole_too(item):
    assert msgspec.to_builtins(item).keys() == fields_of(type(item)).keys()


def test_every_close_code_is_on_the_page():
    on_the_page = {int(code) for code in re.findall(r"^\| (\d{4}) \|", PAGE, flags=re.MULTILINE)}
    assert on_the_page == {value for name, value in vars(version).items() if name.startswith("CLOSE_")}


@pytest.mark.parametrize("value", [version.SUBPROTOCOL, version.SOCKET_PATH, "256 KiB", "1,000", "32 levels"])
def test_the_numbers_both_ends_must_agree_on_are_on_the_page(value):
    assert value in PAGE
    assert (version.MAX_FRAME_BYTES, version.MAX_UNACKED_MESSAGES, version.MAX_DEPTH) == (262_144, 1000, 32)


def test_every_word_of_a_choice_is_on_the_page():
    for choices in (
        messages.CommandKind,
        messages.Stream,
        messages.AttemptStatus,
        messages.HeldStatus,
        messages.AgentActivity,
        messages.LeaseLostAction,
        messages.RegisteredAction,
        messages.LogLevel,
    ):
        assert [word for word in choices.__args__ if f"`{word}`" not in PAGE] == []
