"""Whatever is sent, the server says what is wrong with it in the shape of all errors, and goes on."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_from_bytes

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hetuflow.permission_matrix import Rule, rules
from tests.conformance import hostile
from tests.conformance.client import Answer, Client, errors_of
from tests.conformance.contract import covers
from tests.conformance.installation import Installation, Server
from tests.conformance.objects import make_agent
from tests.conformance.things import things_for

RULES = [rule for rule in rules() if rule.action]
VIEWS = sorted({rule.view for rule in RULES})
WRITERS = sorted({rule.view for rule in RULES if rule.method != "GET"})
SHARE = 3
GROWTH_BYTES = 24 * 2**20
T = TypeVar("T")
chances = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Target:
    """A server with a few things of each kind, and the paths that lead to them."""

    def __init__(self, installation: Installation) -> None:
        self.server: Server = installation.server()
        self.server.first_answer()
        api = installation.client(self.server)
        document = json.loads(api.root.send("GET", "/api/schema?format=json").text)
        agents = [make_agent(api)["id"] for _ in range(2)]
        self.client: Client = api.root
        self._values = things_for(document, installation, api, agents)["paths"]
        self._operations = {
            (method.upper(), path): operation["operationId"]
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    def path(self, rule: Rule) -> str:
        """Return a path of the rule that leads to what is there."""
        values = self._values.get(self._operations.get((rule.method, rule.path)), [{}])[0]
        path = rule.path
        for name in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{name}}}", quote(str(values.get(name, 1)), safe=""))
        return path

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return self.client.send(method, path, body, **more)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server of this module's own; a traceback in its log is an error when it ends."""
    installation = Installation(tmp_path_factory.mktemp("hostile"))
    try:
        yield Target(installation)
    finally:
        installation.close()


def assert_sound(answer: Answer, what: object, *, allowed: range = range(200, 500)) -> None:
    """An answer is none of a server that fell, and a refusal has the shape of all errors.

    What never comes to the API, because it is hardly HTTP, is refused in a line of text.
    """
    assert answer.status in allowed, (what, answer.status, answer.body[:1000])
    assert b"Traceback" not in answer.body, what
    if answer.media_type == "text/plain" and answer.status == 400:
        assert answer.text.startswith("400 Bad Request"), what
    elif "sec-websocket-version" in answer.headers:
        assert (answer.status, answer.body) == (400, b""), what
    elif answer.status >= 400:
        errors_of(answer)


def some_of(kinds: Mapping[str, T], number: int) -> list[tuple[str, T]]:
    """Return every third one; the paths of a resource, which share their code, get them all between them."""
    return list(kinds.items())[number % SHARE :: SHARE]


@covers("errors", "no-trace", "bad-input")
@pytest.mark.parametrize("view", WRITERS)
def test_no_body_that_is_none_is_taken(target: Target, view: str) -> None:
    for number, rule in enumerate(RULES):
        if rule.view != view or rule.method not in ("POST", "PATCH"):
            continue
        path = target.path(rule)
        for name, (media_type, body) in some_of(hostile.BODIES, number):
            answer = target.send(rule.method, path, raw=body, headers={"Content-Type": media_type})
            assert_sound(answer, (rule.method, path, name), allowed=range(400, 500))
            if name in hostile.OTHER_TYPES and answer.status != 404:
                assert answer.status in (400, 401, 415, 429), (rule.path, name, answer)


@covers("errors", "no-trace")
@pytest.mark.parametrize("view", VIEWS)
def test_no_header_and_no_query_makes_a_path_fall(target: Target, view: str) -> None:
    for number, rule in enumerate(RULES):
        if rule.view != view or rule.method != "GET":
            continue
        path = target.path(rule)
        for name, headers in some_of(hostile.HEADERS, number):
            assert_sound(target.send("GET", path, headers=headers), (path, name))
        for name, query in some_of(hostile.QUERIES, number):
            assert_sound(target.send("GET", f"{path}?{query}"), (path, name))


@covers("errors", "no-trace")
@pytest.mark.parametrize("path", hostile.PATHS)
def test_no_path_makes_the_server_fall(target: Target, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = target.send(method, path, {} if method == "POST" else None)
        assert_sound(answer, (method, path))


@covers("unauthenticated", "no-trace")
@pytest.mark.parametrize("header", hostile.CREDENTIALS.values(), ids=hostile.CREDENTIALS)
def test_credentials_of_any_kind_are_refused(target: Target, header: str) -> None:
    answer = target.client.anonymous.send("GET", "/api/v1/jobs", headers={"Authorization": header})
    assert_sound(answer, header, allowed=range(400, 402))


@covers("no-trace")
@pytest.mark.parametrize("request_of", hostile.REQUESTS.values(), ids=hostile.REQUESTS)
def test_what_is_hardly_http_is_refused_or_hung_up_on(target: Target, request_of: bytes) -> None:
    answer = hostile.first_answer(target.server.port, request_of)
    assert not answer or re.match(rb"HTTP/1\.[01] [1-4]\d\d", answer), answer[:500]
    assert b"Traceback" not in answer
    assert target.send("GET", "/api/v1/health").status == 200


# --- what chance makes up -------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    *("name", "namespace", "description", "config", "environment", "tags", "job_id", "task_id", "kind"),
    *("cron_expression", "interval_secs", "timezone", "start_time", "scheduled_at", "priority", "parameters"),
    *("filter", "page", "status", "labels", "capabilities", "metrics", "result", "exit_code", "output"),
    *("command", "timeout_secs", "windows", "dates", "ics", "until", "scope", "expires_at", "count", "after"),
)
# Orders to all agents, and things that many would be made of, are for other tests.
MEANT = [rule for rule in RULES if rule.method in ("POST", "PATCH") and rule.view != "ConnectionViewSet"]


@covers("errors", "no-trace", "bad-input")
@given(data=st.data())
@chances
def test_no_value_of_a_field_makes_the_server_fall(target: Target, data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
    raw = json.dumps(fields).encode()
    for rule in data.draw(st.lists(st.sampled_from(MEANT), min_size=5, max_size=5, unique=True)):
        assert_sound(target.send(rule.method, target.path(rule), raw=raw), (rule, raw))


@covers("errors", "no-trace")
@given(
    rule=st.sampled_from([rule for rule in RULES if rule.method == "GET"]),
    names=st.dictionaries(
        st.sampled_from([*FIELDS, "id", "limit", "offset", "order_by", "format"]) | st.text(max_size=8),
        st.binary(max_size=12),
        max_size=4,
    ),
)
@chances
def test_no_query_of_bytes_makes_the_server_fall(target: Target, rule: Rule, names: dict[str, bytes]) -> None:
    query = "&".join(
        f"{quote(name.encode(errors='surrogatepass'))}={quote_from_bytes(value)}"
        for name, value in names.items()
    )
    assert_sound(target.send("GET", f"{target.path(rule)}?{query}"), (rule, query))


@covers("errors", "no-trace")
@given(
    prefix=st.sampled_from(
        ("/", "/api/", "/api/v1/", "/api/v1/jobs/", "/api/v1/agents/", "/admin/", "/static/")
    ),
    rest=st.binary(max_size=20),
)
@chances
def test_no_path_of_bytes_makes_the_server_fall(target: Target, prefix: str, rest: bytes) -> None:
    answer = target.send("GET", prefix + quote_from_bytes(rest, safe="/?&=;%"))
    assert 200 <= answer.status < 500, answer
    assert b"Traceback" not in answer.body


@covers("no-trace")
def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(target: Target) -> None:
    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", target.server.port, timeout=30)
        connection.putrequest("POST", "/api/v1/jobs")
        connection.putheader("Content-Length", "100000")
        connection.endheaders(b'{"name": "')
        connection.close()
    assert target.send("GET", "/api/v1/health").status == 200


@covers("no-trace")
def test_memory_does_not_grow_with_what_is_refused(target: Target) -> None:
    process = psutil.Process(target.server.pid)

    def send_everything(times: int) -> int:
        for _ in range(times):
            for media_type, body in hostile.BODIES.values():
                headers = {"Content-Type": media_type}
                target.send("POST", "/api/v1/jobs", raw=body, headers=headers)
        return int(process.memory_info().rss)

    before = send_everything(3)
    assert send_everything(9) - before < GROWTH_BYTES
