"""What OPTIONS answers."""

from typing import Any

from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request


class Metadata(SimpleMetadata):
    """Tells what a path is and which formats it speaks; what one may send is in the OpenAPI document.

    DRF's own tries out in turn what the caller may do, without the action that permissions are asked for.
    """

    def determine_actions(self, request: Request, view: Any) -> dict[str, Any]:
        return {}
