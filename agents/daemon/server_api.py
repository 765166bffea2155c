"""Ask the server something by HTTP, once: what an agent needs before it can open its socket."""

import http.client
import json
import urllib.error
import urllib.request
from typing import IO, Any, Final

from agents.protocol.strict_json import StrictJsonError, parse_strict

TIMEOUT_SECS: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
USER_AGENT: Final = "hetuflow-agent"


class ServerProblem(Exception):
    """The server cannot be asked, or does not answer as it should; the message is one line for a person."""


class Refusal(Exception):
    """The server said no: with an HTTP status, a code, and in words."""

    def __init__(self, status: int, code: str, detail: str, retry_after_secs: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after_secs = retry_after_secs


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A secret goes to the server that was named, and nowhere else."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> None:
        return None


def http_address(server: str) -> str:
    """Return the HTTP address of a server whose WebSocket address this is."""
    return f"http{server.removeprefix('ws')}"


def post(server: str, path: str, body: dict[str, Any], *, token: str = "") -> dict[str, Any]:
    """Post `body` as JSON and return the object that is answered; raise Refusal or ServerProblem."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": USER_AGENT}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    address = http_address(server)
    request = urllib.request.Request(  # noqa: S310 (the scheme is http or https, see `http_address`)
        address + path, data=json.dumps(body).encode(), headers=headers, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECS) as response:
            answer = _read_object(response)
    except urllib.error.HTTPError as error:
        raise _refusal(error, address) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ServerProblem(f"cannot reach {address}: {str(reason) or type(reason).__name__}") from None
    if answer is None:
        raise ServerProblem(f"{address} does not answer like a Hetuflow server; is the address right?")
    return answer


def _refusal(error: urllib.error.HTTPError, address: str) -> Exception:
    with error:
        answer = _read_object(error)
    if 300 <= error.code < 400:
        target = error.headers.get("Location", "elsewhere")
        return ServerProblem(f"{address} leads to {target}; give that address as the server")
    try:
        first = (answer or {})["errors"][0]
        code, detail = str(first["code"]), " ".join(str(first["detail"]).split())
    except (KeyError, IndexError, TypeError):
        if error.code < 500:
            return ServerProblem(
                f"{address} does not answer like a Hetuflow server (HTTP {error.code}); is the address right?"
            )
        code, detail = "", str(error.reason)
    return Refusal(error.code, code, detail[:500], str(error.headers.get("Retry-After") or ""))


def _read_object(response: Any) -> dict[str, Any] | None:
    try:
        answer = parse_strict(response.read(MAX_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, StrictJsonError):
        return None
    return answer if isinstance(answer, dict) else None
