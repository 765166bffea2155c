"""What no honest client sends: bodies, headers, queries and whole requests."""

import gzip
import json
import socket
from typing import Final

JSON: Final = "application/json"
HUGE: Final = b"9" * 5_000
READ_SECS: Final = 30

# By name: the content type, and the body.
BODIES: Final[dict[str, tuple[str, bytes]]] = {
    "broken": (JSON, b'{"name": '),
    "two values": (JSON, b"{} {}"),
    "a comment": (JSON, b"{} // done"),
    "a list": (JSON, b"[{}]"),
    "null": (JSON, b"null"),
    "a number": (JSON, b"-0.0e-99999"),
    "NaN": (JSON, b'{"name": NaN, "priority": -Infinity}'),
    "NUL in a name": (JSON, b'{"name": "a\\u0000b", "description": "\\u0000"}'),
    "NUL in a key": (JSON, b'{"na\\u0000me": 1}'),
    "NUL itself": (JSON, b'{"name": "\x00"}'),
    "a lone surrogate": (JSON, b'{"name": "\\ud800", "description": "\\udfff\\ud800"}'),
    "a surrogate in a key": (JSON, b'{"\\ud800": {"\\udc00": 1}}'),
    "surrogates in UTF-8": (JSON, b'{"name": "\xed\xa0\x80"}'),
    "no UTF-8": (JSON, b'{"name": "\xff\xfe\xc0\x80"}'),
    "UTF-16": (JSON, '{"name": "x"}'.encode("utf-16")),
    "UTF-32": (JSON, '{"name": "x"}'.encode("utf-32-be")),
    "a byte order mark": (JSON, b"\xef\xbb\xbf[]"),
    "a huge number": (JSON, b'{"priority": ' + HUGE + b', "id": -' + HUGE + b"}"),
    "a huge fraction": (JSON, b'{"priority": 0.' + HUGE + b', "timeout_secs": 1e' + HUGE + b"}"),
    "a number beyond 64 bits": (JSON, b'{"job_id": 9223372036854775808, "task_id": 1e308}'),
    "numbers for everything": (JSON, b'{"name": 1, "config": 2, "filter": 3, "page": 4, "token": 5}'),
    "lists for everything": (JSON, b'{"name": [], "config": [], "filter": [], "page": [], "command": []}'),
    "a key twice": (JSON, b'{"name": "a", "name": "b", "filter": {"id": 1, "id": 2}}'),
    "deep lists": (JSON, b'{"filter": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "deep objects": (JSON, b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "never closed": (JSON, b"[" * 100_000),
    "many keys": (JSON, json.dumps({f"key {number}": number for number in range(3_000)}).encode()),
    "a long string": (JSON, b'{"name": "' + b"x" * 200_000 + b'", "status": "' + b"y" * 70_000 + b'"}'),
    "a long key": (JSON, b'{"' + b"k" * 200_000 + b'": 1}'),
    "dunder keys": (JSON, b'{"__class__": {}, "constructor": {"prototype": 1}, "pk": 1, "filter__id": 1}'),
    "a form": ("application/x-www-form-urlencoded", b"name=a&name=b&%ff=%00"),
    "a form that says JSON": (JSON, b"name=a&name=b"),
    "JSON in another charset": ("application/json; charset=utf-7", b"+AHsAfQ-"),
    "a charset that nobody knows": ("application/json; charset=\xff\xfe", b"\xff{}"),
    "XML": ("application/xml", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
    "YAML": ("application/yaml", b"!!python/object/apply:os.system ['true']"),
    "a pickle": ("application/python-pickle", b"cos\nsystem\n(S'true'\ntR."),
    "gzip": (JSON, gzip.compress(b"{}" * 1_000)),
    "no content type": ("", b"{}"),
    "a content type that is none": ("/;=\x01;;q=", b"{}"),
    "multipart": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--",
    ),
    "multipart without boundary": ("multipart/form-data", b"--x\r\n\r\n--x--\r\n"),
    "multipart that never ends": ("multipart/form-data; boundary=x", b"--x\r\n" * 2_000),
    "multipart in base 64": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n\xff=\r\n--x--\r\n",
    ),
    "multipart with a file": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="../../etc/passwd\x00"\r\n'
        b"Content-Type: text/plain; charset=\xff\r\n\r\nv\r\n--x--\r\n",
    ),
}
# What these bring is a body of a type that is not taken.
OTHER_TYPES: Final = {name for name, (media_type, _) in BODIES.items() if JSON not in media_type}

HEADERS: Final[dict[str, dict[str, str]]] = {
    "Accept of nothing": {"Accept": ""},
    "Accept of nonsense": {"Accept": ";;q=,/,*"},
    "Accept with a wrong weight": {"Accept": "application/json;q=NaN, text/html;q=1e999"},
    "a thousand Accepts": {"Accept": ", ".join(f"a/{number};q=0.{number}" for number in range(1_000))},
    "Accept of a dangerous type": {"Accept": "text/html\x0b, application/json; indent=999999999"},
    "indentation": {"Accept": "application/json; indent=-1"},
    "Range": {"Range": "bytes=0-18446744073709551616,-1,5-2"},
    "Range of nonsense": {"Range": "lines=\xff", "If-Range": "\x80"},
    "conditions": {"If-None-Match": '"' * 500, "If-Modified-Since": "never", "If-Match": "*"},
    "a language": {"Accept-Language": "zz-" * 300 + ";q=2"},
    "an encoding": {"Accept-Encoding": "br;q=NaN, \xff, gzip;q=-1"},
    "a method instead": {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "PUT"},
    "proxies": {"X-Forwarded-For": "\xff, 999.1.1.1, ::::1, " * 50, "X-Forwarded-Proto": "\x01"},
    "another host": {"Host": "evil.example:99999"},
    "a host that is none": {"Host": "]["},
    "an origin": {"Origin": "null", "Referer": "\xff://\x01"},
    "a cookie": {"Cookie": "sessionid=\xff; csrftoken=" + "x" * 4_000 + "; =; ;;"},
    "an old key": {"Idempotency-Key": "\x7f" * 300},
    "expectations": {"Expect": "the moon"},
    "an upgrade": {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "99"},
}
CREDENTIALS: Final = {
    "a name without a secret": "Bearer",
    "two secrets": "Bearer a b",
    "not ASCII": "Bearer \xff\xe9",
    "long": "Bearer " + "x" * 8_000,
    "control characters": "Bearer \x01\x02\t",
    "an agent's that is none": "Bearer hfa_zzzz_",
    "Basic": "Basic \xff===",
    "nothing": " ",
}
QUERIES: Final = {
    "bytes that are no text": "%ff=%fe&name=%C0%80",
    "NUL": "name=%00&id=%00&status=%00&namespace__contains=%00",
    "a surrogate": "name=%ED%A0%80",
    "percent signs": "%=%&%zz=%1&&&==&;",
    "keys twice": "limit=1&limit=2&page=1&page=2&id=1&id=2",
    "huge numbers": f"limit={'9' * 4_000}&page={'9' * 4_000}&offset=-{'9' * 40}&id={'9' * 400}",
    "odd numbers": "limit=1e3&page=%D9%A1&offset=0x10&id=1_000",
    "negative numbers": "limit=-1&page=0&offset=-1",
    "far pages": "page=9223372036854775807&limit=500",
    "many parameters": "&".join(f"a{number}=1" for number in range(1_500)),
    "another format": "format=api&format=../../etc/passwd",
    "dunders": "job__route__key=1&id__in=&id__in=,,,&created_at__gte=now()&order_by=-__class__,?",
    "long": "name__contains=" + "x" * 12_000,
    "dates": "created_at__gte=9999-12-31T23:59:59.9999999Z&at__lte=0000-00-00T00:00:00%2B99:99",
}
PATHS: Final = (
    *(
        "/api//v1//jobs",
        "/api/v1/jobs//",
        "/api/v1/jobs/.",
        "/api/v1/../v1/jobs",
        "/api/v1/jobs/%2e%2e/tasks",
    ),
    *("/api/v1/jobs/%00", "/api/v1/jobs/%0d%0aSet-Cookie:%20a=b", "/api/v1/jobs/%ff", "/api/v1/%F0%9F%92%A9"),
    *(
        "/api/v1/jobs/1%2F2",
        "/api/v1/jobs/%D9%A1",
        "/api/v1/jobs/1;v=2",
        "/api/v1/jobs/+1",
        "/api/v1/jobs/1.0",
    ),
    *("/api/v1/jobs/99999999999999999999", "/api/v1/jobs/" + "9" * 5_000, "/api/v1/jobs/namespace/%00"),
    *(
        "/api/v1/jobs/namespace/" + "x" * 5_000,
        "/api/v1/jobs/namespace/%ED%A0%80",
        "/api/v1/tasks/status/%00",
    ),
    *("/api/v1/agents/{}", "/api/v1/agents/%7B%7D/tokens/%00", "/api/v1/task-instances/0/logs?follow=%00"),
    *("/api/v1/task-instances/00000000-0000-0000-0000-00000000000g", "/api/v1?%00", "/api/v2", "/api/%00"),
)
# Whole requests, of which a server may answer what HTTP wants, or close.
REQUESTS: Final[dict[str, bytes]] = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /api/v1/health\r\n\r\n",
    "a version of the future": b"GET /api/v1/health HTTP/9.9\r\nHost: a\r\n\r\n",
    "a method that is none": b"G\x00T /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long method": b"A" * 9_000 + b" /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the path": b"GET /api/v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute address": b"GET http://evil.example/api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long path": b"GET /api/v1/" + b"x" * 15_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path without end": b"GET /" + b"x" * 200_000,
    "a header without colon": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
    "a header of bytes": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nA\x00: \x00\xff\r\n\r\n",
    "a long header": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 200_000 + b"\r\n\r\n",
    "a thousand headers": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n"
    + b"A: b\r\n" * 1_000
    + b"\r\n",
    "a folded header": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n",
    "two hosts": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET /api/v1/health HTTP/1.1\r\n\r\n",
    "a negative length": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "a length in words": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n",
    "a huge length": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    + HUGE
    + b"\r\n\r\n",
    "two lengths": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    "a length and chunks": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of nonsense": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "another encoding": b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: gzip, identity\r\n\r\n{}",
    "a request in another": b"POST /api/v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\r\n\r\n"
    b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def first_answer(port: int, request: bytes) -> bytes:
    """Return what a server says first to bytes, up to the end of the headers; nothing where it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=READ_SECS) as connection:
        received = b""
        try:
            connection.sendall(request)
            while b"\r\n\r\n" not in received and (more := connection.recv(65_536)):
                received += more
        except ConnectionError:
            pass
        return received
