"""Bodies that other parsers take: refused by every path that reads one, and on the agents' socket."""

import json

import pytest

from hetuflow.permission_matrix import rules
from tests.access.world import HERE, build, ids
from tests.database import fingerprint

BODIES = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "deep and never closed": '{"a":[' * 50_000,
    "NaN": '{"name": NaN}',
    "infinite": '{"priority": -Infinity}',
    "too large a number": '{"priority": 1e999}',
    "too many digits": '{"priority": ' + "9" * 5000 + "}",
    "duplicate keys": '{"name": "a", "name": "b"}',
    "duplicate keys within": '{"config": {"cmd": "bash", "cmd": "sh"}}',
    "NUL": '{"name": "a\\u0000b"}',
    "NUL as a key": '{"\\u0000": 1}',
    "a NUL as it is": '{"name": "\x00"}',
    "a lone surrogate": '{"name": "\\ud800"}',
    "surrogates the other way round": '{"name": "\\udc00\\ud800"}',
    "no UTF-8": b'{"name": "\xff"}',
    "an overlong NUL": b'{"name": "\xc0\x80"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a comment": '{"name": "a" /* b */}',
    "two values": '{"name": "a"}{"name": "b"}',
    "single quotes": "{'name': 'a'}",
}
READERS = [rule for rule in rules() if rule.method in ("POST", "PATCH") and rule.action]
TOO_MUCH = json.dumps({"name": "x" * 10_000_000})


@pytest.mark.django_db
@pytest.mark.parametrize("name", BODIES)
def test_every_path_refuses_it(name):
    for status, answer in _answers(BODIES[name]):
        assert status == 400, answer


@pytest.mark.django_db
def test_every_path_refuses_ten_megabytes():
    for status, answer in _answers(TOO_MUCH):
        assert status == 413, answer


def _answers(body):
    world = build()
    place = world.places[HERE]
    client = next(caller.client for caller in world.callers if caller.name == "a superuser")
    before = fingerprint(but_for=["access_throttle"])
    for rule in READERS:
        path = rule.path.format(**ids(rule, place, world))
        REMOTE = f"10.0.{len(path) % 250}.{hash(path) % 250}"
        answer = client.generic(rule.method, path, body, content_type="application/json", REMOTE_ADDR=REMOTE)
        yield answer.status_code, (rule.method, rule.path, answer.content[:200])
    assert fingerprint(but_for=["access_throttle"]) == before
