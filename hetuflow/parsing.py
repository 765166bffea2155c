"""What a body may hold.

DRF loads this module with its settings, so it must import nothing that needs them.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions, status
from rest_framework.parsers import JSONParser

from agents.protocol.strict_json import StrictJsonError, parse_strict


class PayloadTooLarge(exceptions.APIException):
    """The body is larger than the server reads."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The request body is too large.")
    default_code = "payload_too_large"


class StrictJSONParser(JSONParser):
    """Parses request bodies with the same gate as the agents' frames."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the value in the body, `{}` for an empty one; raise ParseError or PayloadTooLarge."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise PayloadTooLarge(_("The request body is larger than %(limit)s bytes.") % {"limit": limit})
        if not body.strip():
            return {}
        try:
            return parse_strict(body)
        except StrictJsonError as error:
            raise exceptions.ParseError(f"The body is refused: {error}") from error
