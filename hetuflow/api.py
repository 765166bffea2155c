"""What a refusal looks like: domain errors become HTTP answers here and nowhere else."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import Error
from psycopg.errors import QueryCanceled
from rest_framework import exceptions, status
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.errors import AccessError, TooManyRequests
from agents.errors import AgentError, AgentTimeout
from hetuflow.parsing import PayloadTooLarge
from scheduling.errors import InvalidField, SchedulingError


class Conflict(exceptions.APIException):
    """The state of what is there forbids the action."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class BadRequest(exceptions.APIException):
    """Something is wrong that no view looks at, such as a thousand parameters; `refusals` says it alike."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "The request is malformed."
    default_code = "bad_request"


class NoAnswerInTime(exceptions.APIException):
    """An agent was asked and did not answer."""

    status_code = status.HTTP_504_GATEWAY_TIMEOUT
    default_code = "agent_timeout"


class Unavailable(exceptions.APIException):
    """The database is away or took too long."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The database is not available; try again.")
    default_code = "unavailable"


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the tokens in the OpenAPI document."""

    target_class = "hetuflow.authentication.BearerTokenAuthentication"
    name = "apiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "A person's API token, which the admin, `POST /api/v1/tokens` or `manage.py api_token` makes."
            ),
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes browser sessions in the OpenAPI document."""

    target_class = "rest_framework.authentication.SessionAuthentication"
    name = "cookieAuth"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": (
                "The session of whoever is logged in to the admin. "
                "Requests that write also need the CSRF token, in the header `X-CSRFToken`."
            ),
        }


class AgentTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes agents' tokens in the OpenAPI document."""

    target_class = "agents.api.authentication.AgentTokenAuthentication"
    name = "agentToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An agent's own token, for what is its own.",
        }


def exception_handler(exc: Exception, context: Any) -> Response | None:
    """Answer every exception of a view in one shape; what no rule here knows is a 500 without details."""
    _answer_in_json(context["request"])
    return _Handler(_as_http(exc), context).run()


def _answer_in_json(request: Request) -> None:
    """Let the answer be JSON, whatever the view renders otherwise; only a browser gets a page around it."""
    if not isinstance(getattr(request, "accepted_renderer", None), BrowsableAPIRenderer):
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type


class OneErrorForEachField(ExceptionFormatter):
    """Says of each field at fault the first thing that is wrong with it."""

    def get_errors(self) -> list[Error]:
        return list({error.attr: error for error in reversed(super().get_errors())}.values())[::-1]


class _Handler(ExceptionHandler):
    """Reports only what nobody foresaw: a database or an agent that is away has been noted elsewhere."""

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        if response.status_code == status.HTTP_500_INTERNAL_SERVER_ERROR:
            super().report_exception(exc, response)


def _as_http(exc: Exception) -> Exception:
    """Return the HTTP error that a domain or database error means, other exceptions as they are."""
    match exc:
        case InvalidField():
            return exceptions.ValidationError({name: [text] for name, text in exc.errors.items()})
        case TooManyRequests():
            return exceptions.Throttled(wait=exc.retry_after_secs)
        case AgentTimeout():
            return NoAnswerInTime(str(exc), exc.code)
        case SchedulingError() | AgentError() | AccessError():
            return Conflict(str(exc), exc.code)
        case ObjectDoesNotExist():
            return exceptions.NotFound()
        case RequestDataTooBig():
            return PayloadTooLarge()
        case SuspiciousOperation():
            return BadRequest()
        case OperationalError() if isinstance(exc.__cause__, QueryCanceled):
            return Unavailable(_("The query took too long; narrow the filter."), "query_timeout")
        case OperationalError() | InterfaceError():
            return Unavailable()
    return exc


@extend_schema(exclude=True)
class UnknownPath(APIView):
    """Answers paths below /api that no route knows in the shape of all errors."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        negotiated = self.perform_content_negotiation(request, force=True)
        request.accepted_renderer, request.accepted_media_type = negotiated
        raise exceptions.NotFound
