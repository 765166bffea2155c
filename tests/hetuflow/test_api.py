import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.management import call_command
from django.db import OperationalError
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from access import tokens
from access.models import ApiToken
from hetuflow.api import _as_http
from rest.permissions import ANYBODY
from scheduling.errors import AlreadyExists, InvalidField

pytestmark = pytest.mark.django_db


class Echo(APIView):
    """Answers what it was sent."""

    needed_permission = ANYBODY

    def post(self, request: Any) -> Response:
        return Response({"data": request.data, "user": str(request.user)})


@pytest.fixture
def user():
    return get_user_model().objects.create_user("ann")


def post(body, *, user=None, content_type="application/json", **headers):
    if user is not None:
        _stored, token = tokens.issue(user=user, name=f"token {ApiToken.objects.count()}")
        headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    request = APIRequestFactory().post("/", body, content_type=content_type, **headers)
    response = Echo.as_view()(request)
    response.render()
    return response, json.loads(response.content)


def test_a_bearer_token_says_who_asks(user):
    response, answer = post('{"a": 1}', user=user)
    assert (response.status_code, answer) == (200, {"data": {"a": 1}, "user": "ann"})


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", "Bearer \xff", "Basic YTpi", "Bearer a b"]
)
def test_without_a_valid_token_the_answer_is_401_and_says_how_to_ask(header):
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response, answer = post("{}", **headers)
    assert (response.status_code, answer["type"]) == (401, "client_error")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_the_token_of_a_user_who_was_disabled_is_refused(user):
    user.is_active = False
    user.save()
    assert post("{}", user=user)[0].status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        "[" * 1000 + "]" * 1000,
        b"\xff",
        "9" * 5000,
    ],
)
def test_json_that_the_database_could_not_keep_is_refused(user, body):
    response, answer = post(body, user=user)
    assert (response.status_code, answer["errors"][0]["code"]) == (400, "parse_error")


def test_a_body_of_ten_megabytes_is_refused(user):
    response, answer = post(json.dumps({"a": "x" * 10_000_000}), user=user)
    assert (response.status_code, answer["errors"][0]["code"]) == (413, "payload_too_large")


def test_a_form_is_refused(user):
    response, _answer = post("a=1", user=user, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidField({"name": "no"}), 400),
        (AlreadyExists(), 409),
        (ObjectDoesNotExist(), 404),
        (OperationalError(), 503),
    ],
)
def test_a_domain_error_has_its_http_status(error, status):
    assert _as_http(error).status_code == status  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/health", "/api/v1/whoami", "/api/schema"])
def test_more_parameters_than_anybody_has_are_a_400(user, path):
    client = APIClient()
    client.force_authenticate(user)
    answer = client.get(f"{path}?{'&'.join(['a=1'] * 1_001)}")
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "type": "client_error",
            "errors": [{"code": "bad_request", "detail": "The request is malformed.", "attr": None}],
        },
    )


def test_a_session_needs_a_csrf_token(user):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/v1/nothing").status_code == 404
    request = APIRequestFactory(enforce_csrf_checks=True).post("/", {}, format="json")
    request.user = user
    assert Echo.as_view()(request).status_code == 403


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1/", "/api/v1/nothing", "/api/v1/nothing/at/all/"])
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch"])
def test_an_unknown_path_below_api_is_a_404_in_the_shape_of_all_errors(client, path, method):
    response = getattr(client, method)(path)
    assert response.status_code == 404
    assert response.json() == {
        "type": "client_error",
        "errors": [{"code": "not_found", "detail": "Not found.", "attr": None}],
    }


def test_the_documentation_links_nothing_elsewhere(client):
    for path in ("/api/docs", "/api/redoc"):
        page = client.get(path).content.decode()
        assert "/static/drf_spectacular_sidecar/" in page
        assert "https://" not in page
        assert "//cdn" not in page


def test_the_schema_is_openapi_3_1(client):
    response = client.get("/api/schema?format=json")
    assert response.json()["openapi"] == "3.1.0"


def test_the_root_leads_to_the_admin(client):
    assert client.get("/")["Location"] == "/admin/"


def test_the_schema_is_made_without_a_warning(capsys):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "accept"), [("docs", "text/html"), ("redoc", "*/*"), ("schema", "*/*"), ("v1/jobs", "image/png")]
)
def test_a_refusal_is_json_whatever_the_path_answers_otherwise(client, user, path, accept):
    client.force_login(user)
    for answer in (
        client.put(f"/api/{path}", headers={"accept": accept}),
        client.get(f"/api/{path}", headers={"authorization": "Bearer wrong", "accept": accept}),
    ):
        assert answer.status_code in (401, 403, 405, 406)
        assert set(answer.json()) == {"type", "errors"}
