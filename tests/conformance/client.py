"""A plain HTTP client: it knows nothing of the product, and checks what every answer must keep."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECS = 60
VERSION = "/api/v1"
# The least that any code needs to be one: a lower-case name.
CODE = re.compile(r"[a-z][a-z0-9_]*\Z")
ERROR_TYPES = {400: {"validation_error", "client_error"}, 4: {"client_error"}, 5: {"server_error"}}


@dataclass(frozen=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    def json(self) -> Any:
        assert self.media_type == "application/json", (self.status, self.headers, self.body[:300])
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """A client of one server. Paths are below `/api/v1`; those of `root` are not."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    below: str = VERSION

    @property
    def root(self) -> "Client":
        return Client(self.port, self.headers, below="")

    @property
    def anonymous(self) -> "Client":
        return Client(self.port, below=self.below)

    def bearing(self, token: str) -> "Client":
        return Client(self.port, {"Authorization": f"Bearer {token}"}, self.below)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT_SECS,
    ) -> Answer:
        """Send `body` as JSON, or `raw` as it is, and return whatever is answered."""
        sent = {**self.headers, **({"Content-Type": "application/json"} if body is not None or raw else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(
                method,
                self.below + path,
                body=raw if body is None else json.dumps(body).encode(),
                headers={**sent, **(headers or {})},
            )
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            cookies = tuple(response.headers.get_all("Set-Cookie") or ())
            return Answer(response.status, named, response.read(), cookies)
        finally:
            connection.close()

    @contextlib.contextmanager
    def opened(self, method: str, path: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Give the answer while it is still coming."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECS)
        try:
            connection.request(method, self.below + path, headers={**self.headers, **headers})
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Any:
        """Return what a successful GET answers."""
        return self.expect(200, "GET", path, **more)

    def post(self, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """Return what a successful POST answers, 200 unless said otherwise."""
        return self.expect(status, "POST", path, body, **more)

    def create(self, path: str, body: Any = None, **more: Any) -> Any:
        """Return the entity that a POST created."""
        return self.expect(201, "POST", path, body, **more)

    def patch(self, path: str, body: Any) -> Any:
        return self.expect(200, "PATCH", path, body)

    def delete(self, path: str) -> None:
        answer = self.send("DELETE", path)
        assert (answer.status, answer.body) == (204, b""), answer

    def expect(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return the JSON of an answer with this status."""
        answer = self.send(method, path, body, **more)
        assert answer.status == status, (method, path, body, answer.status, answer.body[:1000])
        return answer.json()

    def refuse(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> dict[Any, str]:
        """Return the codes of a refusal by the field at fault; its shape is checked."""
        return {attr: code for attr, (code, _) in self.refusal(status, method, path, body, **more).items()}

    def why(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> tuple[str, str]:
        """Return code and text of a refusal that concerns no field."""
        errors = self.refusal(status, method, path, body, **more)
        assert list(errors) == [None], errors
        return errors[None]

    def refusal(
        self, status: int, method: str, path: str, body: Any = None, **more: Any
    ) -> dict[Any, tuple[str, str]]:
        """Return code and text of a refusal by the field at fault; its shape is checked."""
        answer = self.send(method, path, body, **more)
        assert answer.status == status, (method, path, body, answer.status, answer.body[:1000])
        return errors_of(answer)


def errors_of(answer: Answer) -> dict[Any, tuple[str, str]]:
    """Return code and text by field of an answer that must have the shape of all errors."""
    said = answer.json()
    assert set(said) == {"type", "errors"}, said
    expected = ERROR_TYPES.get(answer.status) or ERROR_TYPES[answer.status // 100]
    assert said["type"] in expected, (answer.status, said)
    assert isinstance(said["errors"], list), said
    assert said["errors"], said
    for error in said["errors"]:
        assert set(error) == {"code", "detail", "attr"}, error
        assert CODE.match(error["code"]), error
        assert isinstance(error["detail"], str), error
        assert error["detail"], error
        assert error["attr"] is None or isinstance(error["attr"], str), error
    assert "Traceback" not in answer.text
    found = {error["attr"]: (error["code"], error["detail"]) for error in said["errors"]}
    assert len(found) == len(said["errors"]), f"more than one entry for a field: {said}"
    return found
