import contextlib
import http.client
import json
import socket

import pytest

from tests import processes

pytestmark = pytest.mark.django_db(transaction=True)
MIB = 1024 * 1024
LIMIT_SECS = 60


@pytest.fixture(scope="module")
def port(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), processes.server() as port:
        yield port


def test_a_body_without_end_ends_with_its_connection(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECS)
    connection.putrequest("POST", "/api/v1/jobs")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    with contextlib.closing(connection), pytest.raises(OSError, match=r"reset|[Bb]roken"):
        send(connection, megabytes=64)


def send(connection, *, megabytes):
    for _ in range(megabytes):
        connection.send(b"100000\r\n" + b"x" * MIB + b"\r\n")


def test_a_body_that_is_too_large_to_store_is_refused_in_the_shape_of_all_errors(port):
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECS) as raw:
        raw.sendall(b"PUT /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        raw.sendall(b"x" * (16 * MIB + 1))
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.getheader("Content-Type")) == (413, "application/json")
        assert json.loads(answer.read())["errors"][0]["code"] == "payload_too_large"


def test_what_becomes_a_websocket_has_no_body(port):
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECS) as raw:
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        raw.sendall(b"GET /ws/agent HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: 9\r\n\r\nx" % upgrade)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert answer.status == 413


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 413),
        ("multipart/form-data; boundary=x", 415),
        ("multipart/form-data", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_a_body_that_is_stored_is_judged_by_the_view(port, content_type, status):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECS)
    with contextlib.closing(connection):
        body = b'{"status": "' + b"x" * 3 * MIB + b'"}'
        connection.request("POST", "/api/v1/agents/enroll", body=body, headers={"Content-Type": content_type})
        answer = connection.getresponse()
        assert answer.status == status
        assert set(json.loads(answer.read())) == {"type", "errors"}


@pytest.mark.parametrize(
    ("chunks", "status", "detail"),
    [
        ([b'{"token": "t", ', b'"colour": 1}'], 400, "Unknown field."),
        ([b'{"token": "t"}'], 401, "token"),
        ([], 400, "required"),
        ([b" " * MIB] * 3, 413, "too large"),
    ],
)
def test_a_body_in_chunks_is_read_like_any_other(port, chunks, status, detail):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECS)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        connection.request(
            "POST", "/api/v1/agents/enroll", body=iter(chunks), headers=headers, encode_chunked=True
        )
        answer = connection.getresponse()
        assert answer.status == status
        assert detail in answer.read().decode()
