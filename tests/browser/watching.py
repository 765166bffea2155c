"""What a browser complains of, and whom it asks, while a test drives it."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Request

_HARMLESS = ("data:", "blob:", "about:")


class Watch:
    """Collects from all pages of a context what none of ours may do."""

    def __init__(self, context: BrowserContext, *, address: str) -> None:
        self._address = address
        self._expected: list[str] = []
        self._found: list[str] = []
        context.on("console", self._hear)
        context.on("weberror", lambda error: self._found.append(f"error in a script: {error.error}"))
        context.on("request", self._see)

    def expect(self, part: str) -> None:
        """Let the test provoke complaints that contain `part`, such as that of a refused request."""
        self._expected.append(part)

    def findings(self) -> list[str]:
        """Return what was complained of and not expected: errors, warnings, requests to elsewhere."""
        return [text for text in self._found if not any(part in text for part in self._expected)]

    def _hear(self, message: ConsoleMessage) -> None:
        # A violation of the Content-Security-Policy is an error of the console as well.
        if message.type in ("error", "warning"):
            self._found.append(f"{message.type} in the console of {message.location['url']}: {message.text}")

    def _see(self, request: Request) -> None:
        ours = (f"{self._address}/", self._address.replace("http", "ws", 1), *_HARMLESS)
        if not request.url.startswith(ours):
            self._found.append(f"request to {request.url}")
