"""A client that keeps its connection to a server, as programs do."""

import http.client
import json
import time
from typing import Any


class Caller:
    """Sends requests one after the other; a context manager that closes its connection."""

    def __init__(self, port: int, authorization: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": authorization, "Content-Type": "application/json"}

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def timed(self, path: str, body: Any, expected: int) -> float:
        """POST a body, or GET where it is None; return how many seconds the whole answer took."""
        content = None if body is None else json.dumps(body)
        begin = time.perf_counter()
        self._connection.request("GET" if body is None else "POST", path, content, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        seconds = time.perf_counter() - begin
        assert response.status == expected, answer
        return seconds
