import json
import logging

import pytest
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory

from hetuflow import refusals

MALFORMED = {"code": "bad_request", "detail": "The request is malformed.", "attr": None}


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/docs", "/metrics"])
def test_a_request_for_another_host_is_refused_in_the_shape_of_all_errors(client, path):
    response = client.get(path, headers={"host": "evil.example"})
    assert response.status_code == 400
    assert response.json() == {"type": "client_error", "errors": [MALFORMED]}


def test_a_person_with_a_request_for_another_host_gets_a_page(client):
    response = client.get("/admin/login/", headers={"host": "evil.example"})
    assert (response.status_code, response["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_what_breaks_outside_of_a_view_says_no_more_than_that():
    response = refusals.server_error(RequestFactory().get("/api/v1/jobs"))
    assert response.status_code == 500
    assert json.loads(response.content)["errors"][0]["code"] == "error"
    assert refusals.server_error(RequestFactory().get("/"))["Content-Type"].startswith("text/html")


def record(name, level, message, *, error=None):
    exc_info = error and (type(error), error, None)
    made = logging.LogRecord(name, level, __file__, 1, message, (), exc_info)
    assert refusals.RefusalsAreNoTrouble().filter(made)
    return made


def test_a_refusal_is_one_line_in_the_log():
    made = record("django.security.DisallowedHost", logging.ERROR, "no\nTraceback", error=DisallowedHost())
    assert (made.levelname, made.getMessage(), made.exc_info) == ("WARNING", "no\\nTraceback", None)
    assert record("django.request", logging.WARNING, "m", error=ValueError()).exc_info is None


def test_what_nobody_foresaw_keeps_its_stack():
    assert record("django.request", logging.ERROR, "m", error=ValueError()).exc_info is not None
    assert record("gateway.runtime", logging.WARNING, "m", error=ValueError()).exc_info is not None
