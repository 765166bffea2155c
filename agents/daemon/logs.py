"""The daemon's own log: to standard error, and from there a copy to the server."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from agents.protocol.messages import LogLevel, LogLine

MAX_KEPT_LINES: Final = 1000
_MAX_MESSAGE_CHARS: Final = 4096
_SERVER_KNOWS: Final = ("debug", "info", "warning", "error", "critical")


class LogLines(logging.Handler):
    """Keeps the latest lines until they are sent; what does not fit is dropped, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=MAX_KEPT_LINES)
        self.on_line: Callable[[], None] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        self._lines.append(
            LogLine(
                at_ms=time.time_ns() // 1_000_000,
                level=cast(LogLevel, level if level in _SERVER_KNOWS else "info"),
                message=self.format(record).replace("\x00", "\\0")[:_MAX_MESSAGE_CHARS],
                instance_id=getattr(record, "instance_id", None),
            )
        )
        self.on_line()

    def take(self, limit: int) -> list[LogLine]:
        """Return and forget the oldest lines, at most `limit`."""
        return [self._lines.popleft() for _ in range(min(limit, len(self._lines)))]


def set_up(level: str) -> LogLines:
    """Write the log to standard error, and return the handler that keeps lines for the server."""
    lines = LogLines()
    lines.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        handlers=[logging.StreamHandler()],
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logging.getLogger("agents").addHandler(lines)
    return lines
