"""How answers become bytes."""

from typing import Any

from rest_framework import renderers

from rest.controls import printable


class JSONRenderer(renderers.JSONRenderer):
    """DRF's, in which no character acts on the terminal of whoever prints it."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        return printable(super().render(data, accepted_media_type, renderer_context))
