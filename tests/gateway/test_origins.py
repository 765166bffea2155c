"""Whose pages may open a socket, and what a browser gets on the socket of agents."""

import asyncio

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import routing
from hetuflow.asgi import application
from tests.gateway.peer import run

FOREIGN = ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
MALFORMED = ["http://[", "", "localhost"]


async def handshake(url, *, origin=None, **headers):
    """Return the HTTP status that a handshake gets; 101 is a socket."""
    try:
        socket = await connect(
            url, origin=origin, additional_headers=headers, subprotocols=["hetuflow.agent.v1"]
        )
    except InvalidStatus as refused:
        return refused.response.status_code
    await socket.close()
    return 101


@pytest.mark.django_db(transaction=True)
def test_a_foreign_page_gets_no_agents_socket_even_with_a_token(port, credentials):
    bearer = {"Authorization": f"Bearer {credentials['token']}"}
    url = f"ws://127.0.0.1:{port}/ws/agent"

    async def conversation():
        refused = {origin: await handshake(url, origin=origin, **bearer) for origin in FOREIGN}
        assert refused == dict.fromkeys(refused, 403)
        assert await handshake(url, origin=f"http://127.0.0.1:{port}", **bearer) == 101
        assert await handshake(url, **bearer) == 101

    run(conversation())


@pytest.mark.django_db(transaction=True)
def test_a_logged_in_browser_gets_nothing_on_the_agents_socket(port):
    browser = Client()
    browser.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    cookie = {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}

    async def conversation():
        for origin in (f"http://127.0.0.1:{port}", None):
            assert await handshake(f"ws://127.0.0.1:{port}/ws/agent", origin=origin, **cookie) == 403

    run(conversation())


@pytest.fixture
def probe(monkeypatch):
    """A socket for browsers at /ws/probe that accepts whoever reaches it."""

    async def accept(scope, receive, send):
        await send({"type": "websocket.accept"})

    routes = [path("ws/probe", accept), *routing.browser_sockets.routes]
    monkeypatch.setattr(routing.browser_sockets, "routes", routes)


def first_answer(*origins):
    """Return the type of the message that answers a handshake at /ws/probe, as the ASGI server sees it."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    headers = [(b"host", b"localhost:8000"), *((b"origin", origin.encode()) for origin in origins)]
    scope = {"type": "websocket", "path": "/ws/probe", "headers": headers}
    asyncio.run(application(scope, receive, send))
    return sent[0]


@pytest.mark.usefixtures("probe")
def test_a_socket_for_browsers_is_for_our_own_pages():
    assert first_answer("http://localhost:8000") == "websocket.accept"
    assert first_answer("http://[::1]:8000") == "websocket.accept"
    for origin in FOREIGN + MALFORMED:
        assert first_answer(origin) == "websocket.close"


@pytest.mark.usefixtures("probe")
def test_a_socket_for_browsers_wants_one_origin():
    assert first_answer() == "websocket.close"
    assert first_answer("https://evil.example", "http://localhost:8000") == "websocket.close"
