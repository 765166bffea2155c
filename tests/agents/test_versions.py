"""Servers are upgraded before agents: what each side does with what it does not know."""

import copy
import json
import re
from pathlib import Path

import pytest

from agents.protocol import messages, version
from agents.protocol.codec import MessageError, decode_frame

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
EXAMPLES = {
    frame["kind"]: frame
    for text in re.findall(r"^```json\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for frame in [json.loads(text)]
}
# Objects with whatever names people give: nothing in them is unknown.
FREE = {"environment", "labels", "metadata", "parameters", "resource_limits", "result"}


def structures(value, path=()):
    """Return the path to each object in `value` whose fields the protocol names."""
    if isinstance(value, dict):
        inner = [found for key in value if key not in FREE for found in structures(value[key], (*path, key))]
        return [path, *inner]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in structures(item, (*path, index))]
    return []


def at(frame, path):
    for key in path:
        frame = frame[key]
    return frame


def spots(kinds):
    return [
        pytest.param(kind, path, id="-".join(map(str, (kind, *path))))
        for kind in kinds
        for path in structures(EXAMPLES[kind])
    ]


def fields(kinds):
    return [
        pytest.param(kind, (*path, name), id="-".join(map(str, (kind, *path, name))))
        for kind in kinds
        for path in structures(EXAMPLES[kind])
        for name in at(EXAMPLES[kind], path)
    ]


@pytest.mark.parametrize(("kind", "path"), spots(sorted(messages.SERVER_MESSAGES)))
def test_an_agent_passes_over_a_field_that_a_later_server_sends(kind, path):
    later = copy.deepcopy(EXAMPLES[kind])
    at(later, path)["of_a_later_server"] = {"any": [1, None]}
    expected = decode_frame(json.dumps(EXAMPLES[kind]), messages.SERVER_MESSAGES)
    assert decode_frame(json.dumps(later), messages.SERVER_MESSAGES) == expected


@pytest.mark.parametrize(("kind", "path"), fields(sorted(messages.SERVER_MESSAGES)))
def test_an_agent_refuses_a_known_field_of_a_wrong_type(kind, path):
    wrong = copy.deepcopy(EXAMPLES[kind])
    at(wrong, path[:-1])[path[-1]] = [[0]]
    with pytest.raises(MessageError) as refusal:
        decode_frame(json.dumps(wrong), messages.SERVER_MESSAGES)
    assert refusal.value.code == "invalid"


@pytest.mark.parametrize(("kind", "path"), spots(sorted(messages.AGENT_MESSAGES)))
def test_a_server_refuses_a_field_that_it_does_not_know(kind, path):
    misspelt = copy.deepcopy(EXAMPLES[kind])
    at(misspelt, path)["of_nobody"] = 1
    with pytest.raises(MessageError, match="of_nobody") as refusal:
        decode_frame(json.dumps(misspelt), messages.AGENT_MESSAGES)
    assert (refusal.value.code, refusal.value.frame_id) == ("invalid", misspelt["id"])


def test_a_server_takes_the_current_version_and_the_one_before():
    assert {version.PROTOCOL_VERSION, version.PROTOCOL_VERSION - 1} - {0} == version.SUPPORTED_VERSIONS
