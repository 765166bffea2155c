"""Where the API begins."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from rest.browsable.routes import ROOT, routes
from rest.openapi.documentation import Documentation, Documented
from rest.permissions import ANYBODY


class RootView(APIView):
    """The way to every resource."""

    documentation = Documentation(
        actions={"get": Documented(answer={"jobs": "https://hetuflow.example.com/api/v1/jobs"})}
    )
    needed_permission = ANYBODY

    @extend_schema(
        operation_id="api_root",
        tags=["system"],
        responses={200: {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}}},
    )
    def get(self, request: Request) -> Response:
        """Name the resources and where they are."""
        first = [route for route in routes() if route.template.count("/") == ROOT.count("/") + 1]
        return Response({route.resource: request.build_absolute_uri(route.url({})) for route in first})
