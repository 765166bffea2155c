"""How a database on another machine is waited for, where the network swallows what is sent."""

import os
import socket
import time

from django.conf import settings
from psycopg import pq
from psycopg.conninfo import make_conninfo

# What libpq is told, of all that Django and its pool are told.
_OF_THE_NETWORK = ("tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count")
BOUND_SECS = 30


def test_a_database_that_a_network_swallows_is_given_up_within_half_a_minute() -> None:
    options = settings.DATABASES["default"]["OPTIONS"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = make_conninfo(
            host="127.0.0.1",
            port=silent.getsockname()[1],
            sslmode="disable",
            gssencmode="disable",
            **{name: options[name] for name in _OF_THE_NETWORK},
        )
        session = pq.PGconn.connect_start(told.encode())
        deadline = time.monotonic() + 5
        while session.connect_poll() != pq.PollingStatus.READING:
            assert time.monotonic() < deadline
        with socket.socket(fileno=os.dup(session.socket)) as connected:
            read = connected.getsockopt
            assert read(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            until_lost_secs = read(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + read(
                socket.IPPROTO_TCP, socket.TCP_KEEPINTVL
            ) * read(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert until_lost_secs <= BOUND_SECS
            assert 0 < read(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= BOUND_SECS * 1000
        session.finish()
