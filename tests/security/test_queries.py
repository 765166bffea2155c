"""Queries say what they may and no more: bounded pages, known fields, no way over a relation."""

import pytest

from hetuflow.permission_matrix import rules
from tests import people

LISTS = sorted(
    {
        (rule.path, rule.action)
        for rule in rules()
        if rule.action in ("list", "query") and "{" not in rule.path
    }
)
# Whatever the resource, none of these is a field of it.
STRANGERS = (
    "password",
    "digest",
    "user__password",
    "user__is_superuser",
    "job__namespace",
    "task__job__namespace",
    "agent__tokens__digest",
    "job__created_by__startswith",
    "pk",
    "id__gt__lt",
    "archived_at",
    "__class__",
    "namespace__regex",
    "id__raw",
    "'; DROP TABLE scheduling_job; --",
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def root():
    return people.session_of(people.person(superuser=True))


def ask(client, path, action, *, filter=None, page=None, **params):
    if action == "list":
        return client.get(path, {**(filter or {}), **(page or {}), **params})
    return client.post(path, {"filter": filter or {}, "page": page or {}})


@pytest.mark.parametrize(("path", "action"), LISTS)
def test_a_page_is_bounded(root, path, action):
    for page in (
        {"limit": "1e9"},
        {"limit": 10**9},
        {"limit": 501},
        {"limit": 0},
        {"limit": -1},
        {"limit": 10**30},
        {"page": 0},
        {"page": 10**18},
        {"offset": -1},
        {"offset": 10**18},
        {"offset": "1; SELECT 1"},
    ):
        assert ask(root, path, action, page=page).status_code == 400, page
    assert ask(root, path, action, page={"limit": 500}).status_code == 200


@pytest.mark.parametrize(("path", "action"), LISTS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_no_field_is_neither_filter_nor_order(root, path, action, stranger):
    key = "order_by" if action == "list" else "order_bys"
    for order in (stranger, f"-{stranger}", f"--{stranger}"):
        order_by = order if action == "list" else [order]
        assert ask(root, path, action, page={key: order_by}).status_code == 400, order
    assert ask(root, path, action, filter={stranger: "x"}).status_code == 400


@pytest.mark.parametrize(("path", "action"), LISTS)
def test_orders_are_no_way_to_make_the_database_work(root, path, action):
    orders = ["id"] * 9 if action == "query" else ",".join(["id"] * 9)
    for order in (orders, "?", "id desc", "random()", "id__name", ""):
        key = "order_by" if action == "list" else "order_bys"
        value = [order] if action == "query" and isinstance(order, str) else order
        assert ask(root, path, action, page={key: value}).status_code == (
            200 if action == "list" and order == "" else 400
        ), order
