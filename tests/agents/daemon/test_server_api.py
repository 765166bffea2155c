"""Asking a server by HTTP: whatever it answers, a person is told in one line."""

import contextlib
import http.server
import json
import socket
import threading

import pytest

from agents.daemon import server_api
from agents.daemon.server_api import Refusal, ServerProblem, post


@contextlib.contextmanager
def server(status, body=b"", **headers):
    """Run a server that answers every request so, and give its address and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, dict(self.headers), json.loads(content)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"ws://127.0.0.1:{httpd.server_port}", asked
        finally:
            httpd.shutdown()
            thread.join(10)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def problem(address):
    with pytest.raises((ServerProblem, Refusal)) as caught:
        post(address, "/path", {})
    assert "\n" not in str(caught.value)
    return caught.value


def test_json_is_posted_with_the_token_and_the_object_is_returned():
    with server(201, b'{"a": 1}') as (address, asked):
        assert post(address, "/path", {"b": 2}, token="hfa_x") == {"a": 1}
    ((path, headers, body),) = asked
    assert (path, body) == ("/path", {"b": 2})
    assert headers["Authorization"] == "Bearer hfa_x"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("websocket", "http_address"),
    [
        ("ws://host:8000", "http://host:8000"),
        ("wss://host", "https://host"),
        ("wss://host/below", "https://host/below"),
    ],
)
def test_the_http_address_is_that_of_the_socket(websocket, http_address):
    assert server_api.http_address(websocket) == http_address


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff", b'{"a": NaN}', b"{" * 100_000])
def test_an_answer_that_is_no_object_is_not_hetuflows(body):
    with server(200, body) as (address, _):
        error = problem(address)
    assert isinstance(error, ServerProblem)
    assert "is the address right?" in str(error)


def test_a_refusal_is_told_with_its_status_code_and_words():
    body = {"type": "client_error", "errors": [{"code": "throttled", "detail": "Too\nmany.", "attr": None}]}
    with server(429, json.dumps(body).encode(), Retry_After="7") as (address, _):
        error = problem(address)
    assert (error.status, error.code, str(error), error.retry_after_secs) == (
        429,
        "throttled",
        "Too many.",
        "7",
    )


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"errors": []}', b'{"errors": [1]}', b'{"errors": 1}'])
def test_an_error_of_something_else_is_not_hetuflows_unless_the_server_failed(body):
    with server(404, body) as (address, _):
        error = problem(address)
    assert isinstance(error, ServerProblem)
    assert "HTTP 404" in str(error)
    with server(503, body) as (address, _):
        error = problem(address)
    assert isinstance(error, Refusal)
    assert error.status == 503


def test_a_secret_follows_no_redirect():
    with (
        server(200, b"{}") as (elsewhere, asked),
        server(307, Location=elsewhere.replace("ws", "http")) as (address, _),
    ):
        error = problem(address)
    assert isinstance(error, ServerProblem)
    assert elsewhere.removeprefix("ws") in str(error)
    assert asked == []


def test_a_server_that_is_not_there_or_says_nothing_is_not_reached(monkeypatch):
    monkeypatch.setattr(server_api, "TIMEOUT_SECS", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        assert "refused" in str(problem(address))
        listener.listen()
        assert "timed out" in str(problem(address))


def test_a_server_that_hangs_up_is_not_reached():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up():
            connection, _ = listener.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = problem(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(10)
    assert "cannot reach" in str(error)


def test_an_address_that_cannot_be_one_is_not_reached():
    assert "cannot reach" in str(problem("ws://127.0.0.1:99999"))
