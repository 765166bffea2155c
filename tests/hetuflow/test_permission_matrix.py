import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from hetuflow import permission_matrix
from hetuflow.permission_matrix import OPEN, Reach, as_markdown, rules
from rest.permissions import ByRole
from scheduling.api.views import JobViewSet
from tests.processes import ROOT

BEGIN, END = "<!-- permission matrix -->\n", "<!-- end of the permission matrix -->"


def test_the_published_matrix_is_the_one_that_holds():
    """To renew it: manage.py permission_matrix, between the two marks."""
    page = (ROOT / "docs" / "access.md").read_text()
    published = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    assert published.strip() == as_markdown().strip()


def test_the_command_prints_the_matrix(capsys):
    call_command("permission_matrix")
    assert capsys.readouterr().out == as_markdown()


def test_every_path_of_the_interface_is_in_the_matrix():
    found = {rule.path for rule in rules()}
    assert {"/metrics", "/api/v1/jobs/{id}/trigger", "/api/v1/tasks/agent/{agent_id}", "/api/…"} <= found
    assert {rule.path for rule in rules() if rule.reach is Reach.OPEN} == OPEN.keys()


def test_what_changes_something_needs_more_than_a_look():
    asks = {"backfill_preview", "query", "status", "stats", "preview", "post", "logs"}
    writes = [rule for rule in rules() if rule.method not in ("GET", "ANY") and rule.action not in asks]
    assert len(writes) > 40
    assert [rule for rule in writes if rule.level == 1] == []
    own = {(rule.view, rule.action) for rule in writes if rule.level is None}
    assert own == {("TokenViewSet", "create"), ("TokenViewSet", "destroy")}


class Unstated(APIView):
    def get(self, request):
        raise NotImplementedError


class Misspelt(Unstated):
    needed_permission = "scheduling.view_jobs"


class Unlisted(Unstated):
    permission_classes = (AllowAny,)


class Forgotten(JobViewSet):
    def archive(self, request, pk):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (Unstated.as_view(), "states no permission"),
        (Misspelt.as_view(), "states no permission"),
        (Unlisted.as_view(), "not among the open paths"),
        (Forgotten.as_view({"post": "archive"}), "names no permission"),
        (lambda request: None, "no view of the REST framework"),
    ],
)
def test_a_path_that_states_no_permission_is_found(monkeypatch, view, why):
    class Resolver:
        url_patterns = [path("api/v1/new", view)]

    monkeypatch.setattr(permission_matrix, "get_resolver", Resolver)
    with pytest.raises(ImproperlyConfigured, match=why):
        rules()


def test_a_view_without_permission_answers_nobody(db, rf):
    request = rf.get("/")
    request.user = None
    assert Unstated.permission_classes == [ByRole]
    assert Unstated.as_view()(request).status_code == 401
