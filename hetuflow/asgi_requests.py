"""Requests as Django gets them from ASGI, with the length of a body that came in chunks."""

import os
from typing import IO, Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest


class SizedRequest(ASGIRequest):
    """A request that knows how long its body is, whatever its headers say.

    A body in chunks has no `Content-Length`, and DRF takes a request without one for one without a body: what
    a client sent would be lost without a word.
    """

    def __init__(self, scope: dict[str, Any], body_file: IO[bytes]) -> None:
        super().__init__(scope, body_file)
        if "CONTENT_LENGTH" not in self.META:
            body_file.seek(0, os.SEEK_END)
            self.META["CONTENT_LENGTH"] = str(body_file.tell())
            body_file.seek(0)


class Application(ASGIHandler):
    """Django as an ASGI application."""

    request_class = SizedRequest
