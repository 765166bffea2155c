"""HTTP requests as Daphne takes them, with a bound on what a peer can make it store."""

import json
from typing import Any, Final

from daphne.http_protocol import WebRequest

# Far more than any view reads, so that what is merely too large gets its answer from the view.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_ERROR: Final = {
    "type": "client_error",
    "errors": [{"code": "payload_too_large", "detail": "The request body is too large.", "attr": None}],
}
_BODY: Final = json.dumps(_ERROR).encode()
_TOO_LARGE: Final = (
    b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """A request that ends with its connection where its body goes on and on.

    Twisted stores a body before anybody looks at it, on disk if it is large: a peer without any right could
    fill that.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        # Django reads forms. Twisted would do so before, and close the connection over a malformed one.
        super().__init__(*args, parsePOSTFormSubmission=False, **more)
        self._is_refused = False

    def process(self) -> Any:
        done = super().process()
        if self.transport is None:
            # It has become a WebSocket, and would keep the connection's memory when that is long gone.
            self.channel.requests.clear()
        return done

    def handleContentChunk(self, data: bytes) -> None:
        if not self._is_refused and self.content.tell() + len(data) > self._max_body_bytes:
            self._is_refused = True
            self.channel.transport.write(_TOO_LARGE)
            self.channel.loseConnection()
        if not self._is_refused:
            super().handleContentChunk(data)

    @property
    def _max_body_bytes(self) -> int:
        """What becomes a WebSocket has no body; Daphne would hold that in memory."""
        upgrades = self.requestHeaders.getRawHeaders(b"Upgrade", [])
        return 0 if any(name.lower() == b"websocket" for name in upgrades) else MAX_BODY_BYTES
