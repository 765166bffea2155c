import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from access import tokens
from access.models import ApiToken, AuditEntry, Grant
from tests.admin_client import client_of, form_values
from tests.people import grant, person, with_role

pytestmark = pytest.mark.django_db
PASSWORD = "Xk2-lovelace"
USERS, GROUPS = reverse("admin:auth_user_changelist"), reverse("admin:auth_group_changelist")
ADMINISTERS = [
    f"{app}.{verb}_{model}"
    for app, model in (("auth", "user"), ("auth", "group"), ("access", "grant"))
    for verb in ("view", "add", "change", "delete")
]


def page(obj, name="change"):
    return reverse(f"admin:auth_{obj._meta.model_name}_{name}", args=[obj.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def administrator(*roles):
    """Return a browser of who administers users and groups, has these roles, and is no superuser."""
    client = client_of(*ADMINISTERS)
    for role, namespace in roles:
        grant(User.objects.get(username="staff"), role, namespace)
    return client


def rows(*grants, existing=()):
    """Return what a browser posts for the roles of a group, given as (namespace, role)."""
    values = {"grants-TOTAL_FORMS": len(existing) + len(grants), "grants-INITIAL_FORMS": len(existing)}
    for number, (row, (namespace, role)) in enumerate([*existing, *((None, each) for each in grants)]):
        values |= {f"grants-{number}-namespace": namespace, f"grants-{number}-role": role}
        values |= {f"grants-{number}-id": "" if row is None else row.pk}
        values |= {f"grants-{number}-group": "" if row is None else row.group_id}
    return values


def latest(action):
    return AuditEntry.objects.filter(action=action).latest("pk")


# --- what is written down -----------------------------------------------------------------------------


def test_of_a_change_of_a_user_before_and_after_are_written_with_groups_and_permissions(browser):
    user, group = person("ada"), Group.objects.create(name="night shift")
    permission = Permission.objects.get(codename="view_logentry")
    values = form_values(browser.get(page(user))) | {
        "is_staff": "on",
        "groups": [group.pk],
        "user_permissions": [permission.pk],
    }
    browser.post(page(user), values)
    entry = latest("user.update")
    assert entry.before == {"is_staff": False, "groups": [], "permissions": []}
    assert entry.after == {
        "is_staff": True,
        "groups": ["night shift"],
        "permissions": ["admin.view_logentry"],
    }


@pytest.mark.parametrize("is_usable", [True, False])
def test_of_a_new_password_only_that_it_is_new_is_written(browser, is_usable):
    user = person("ada", email="a@example.org")
    user.set_password("old")
    user.save()
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    words = {"password1": PASSWORD, "password2": PASSWORD} if is_usable else {}
    button = {"set-password": ""} if is_usable else {"unset-password": ""}
    browser.post(url, {"usable_password": str(is_usable).lower(), **words, **button})
    entry = latest("user.update")
    assert (entry.before, entry.after) == (None, {"password": "changed" if is_usable else "disabled"})
    user.refresh_from_db()
    assert user.has_usable_password() == is_usable
    everything = str(list(AuditEntry.objects.values()))
    assert user.password not in everything
    assert PASSWORD not in everything


def test_a_password_that_is_refused_leaves_no_entry(browser):
    url = reverse("admin:auth_user_password_change", args=[person("ada").pk])
    values = {"usable_password": "true", "password1": "a", "password2": "b", "set-password": ""}
    assert browser.post(url, values).status_code == 200
    assert not AuditEntry.objects.filter(action="user.update").exists()


def test_saving_a_user_unchanged_leaves_no_entry(browser):
    user = person("ada")
    browser.post(page(user), form_values(browser.get(page(user))))
    assert not AuditEntry.objects.filter(action="user.update").exists()


def test_of_a_change_of_a_group_its_roles_before_and_after_are_written(browser):
    roles = rows(("ours", "editor"), ("*", "viewer"))
    browser.post(reverse("admin:auth_group_add"), {"name": "ops", **roles})
    assert latest("group.create").after["roles"] == {"*": "viewer", "ours": "editor"}
    group = Group.objects.get()
    existing = [(group.grants.get(namespace="ours"), ("ours", "admin"))]
    existing.append((group.grants.get(namespace="*"), ("*", "viewer")))
    browser.post(page(group), {"name": "ops", **rows(existing=existing), "grants-1-DELETE": "on"})
    entry = latest("group.update")
    assert entry.before == {"roles": {"*": "viewer", "ours": "editor"}}
    assert entry.after == {"roles": {"ours": "admin"}}


def test_a_row_that_was_left_empty_gives_no_role(browser):
    browser.post(reverse("admin:auth_group_add"), {"name": "ops", **rows(("", "viewer"))})
    assert Group.objects.get().grants.count() == 0


def test_deleting_a_group_writes_what_it_gave(browser):
    group = Group.objects.create(name="ops")
    group.grants.create(namespace="ours", role="editor")
    browser.post(page(group, "delete"), {"post": "yes"})
    before = {"name": "ops", "permissions": [], "roles": {"ours": "editor"}}
    assert latest("group.delete").before == before
    assert not Grant.objects.exists()


def test_deleting_several_users_writes_each_of_them(browser):
    chosen = [person("ada").pk, person("bob").pk]
    action = {"action": "delete_selected", "_selected_action": chosen}
    assert b"ada" in browser.post(USERS, action).content
    browser.post(USERS, action | {"post": "yes"})
    names = AuditEntry.objects.filter(action="user.delete").values_list("before__username", flat=True)
    assert sorted(names) == ["ada", "bob"]


def test_a_user_goes_with_their_tokens(browser):
    user = person("ada")
    tokens.issue(user=user, name="ci")
    browser.post(page(user, "delete"), {"post": "yes"})
    assert not User.objects.filter(username="ada").exists()
    assert not ApiToken.objects.exists()
    assert latest("user.delete").before["api_tokens"] == ["ci"]


# --- what the pages tell ------------------------------------------------------------------------------


def test_the_page_of_a_user_tells_which_role_they_have_where_and_by_which_group(browser):
    user = with_role("editor", "ours", ("viewer", "theirs"))
    shown = [(each.namespace, each.role, each.group) for each in browser.get(page(user)).context["grants"]]
    first, second = user.groups.order_by("pk")
    assert shown == [("ours", "editor", first), ("theirs", "viewer", second)]
    assert page(first).encode() in browser.get(page(user)).content


def test_the_page_of_a_superuser_says_that_they_may_do_everything(browser):
    user = person(superuser=True)
    assert b"A superuser may do everything" in browser.get(page(user)).content


def test_the_page_of_a_group_explains_the_roles_and_suggests_namespaces(browser):
    group = Group.objects.create(name="ops")
    group.grants.create(namespace="planned", role="editor")
    content = browser.get(page(group)).content.decode()
    assert "What the roles mean" in content
    assert '<option value="planned"></option>' in content
    assert '<option value="*"></option>' in content
    assert 'list="hf-namespaces"' in content


def test_the_page_of_a_group_lists_its_members(browser):
    user = with_role("viewer", "ours")
    group = user.groups.get()
    assert page(user).encode() in browser.get(page(group)).content


# --- nobody hands out more than they hold -------------------------------------------------------------


def test_who_administers_users_makes_no_superuser():
    browser = administrator()
    user = person("ada")
    response = browser.get(page(user))
    assert "is_superuser" not in response.context["adminform"].form.fields
    browser.post(page(user), form_values(response) | {"is_superuser": "on", "is_staff": "on"})
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser) == (True, False)


@pytest.mark.parametrize("is_active", [True, False])
def test_who_may_do_more_cannot_be_changed_given_a_password_or_deleted(is_active):
    root = person("root", superuser=True, is_active=is_active)
    browser = administrator()
    assert browser.get(page(root)).status_code == 200
    assert browser.post(page(root), {"username": "root", "is_active": "on"}).status_code == 403
    password = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD, "set-password": ""}
    url = reverse("admin:auth_user_password_change", args=[root.pk])
    assert browser.post(url, password).status_code == 403
    assert browser.post(page(root, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    assert b"does not allow it: root" in browser.post(USERS, chosen, follow=True).content
    assert User.objects.get(username="root").password == root.password


def test_only_groups_and_permissions_that_one_could_have_oneself_are_offered():
    browser = administrator(("editor", "ours"))
    small, large = Group.objects.create(name="small"), Group.objects.create(name="large")
    small.grants.create(namespace="ours", role="viewer")
    large.grants.create(namespace="ours", role="admin")
    user = person("ada")
    fields = browser.get(page(user)).context["adminform"].form.fields
    offered = set(fields["groups"].queryset)
    assert small in offered
    assert large not in offered
    names = {permission.codename for permission in fields["user_permissions"].queryset}
    assert "change_user" in names
    assert "add_logentry" not in names
    values = form_values(browser.get(page(user))) | {"groups": [large.pk]}
    assert browser.post(page(user), values).context["adminform"].form.errors["groups"]


def test_a_role_that_one_does_not_have_there_cannot_be_given():
    browser = administrator(("editor", "ours"))
    url = reverse("admin:auth_group_add")
    for each in (("ours", "admin"), ("theirs", "viewer"), ("*", "viewer")):
        response = browser.post(url, {"name": "mine", **rows(each)})
        assert b"Nobody can give a role that they do not have there" in response.content
    assert browser.post(url, {"name": "mine", **rows(("ours", "editor"))}).status_code == 302
    assert [(each.namespace, each.role) for each in Grant.objects.filter(group__name="mine")] == [
        ("ours", "editor")
    ]


def test_a_group_that_gives_more_than_one_has_cannot_be_changed():
    browser = administrator(("editor", "ours"))
    group = Group.objects.create(name="ops")
    group.grants.create(namespace="ours", role="admin")
    assert browser.get(page(group)).status_code == 200
    assert browser.post(page(group), {"name": "new", **rows()}).status_code == 403
    assert browser.post(page(group, "delete"), {"post": "yes"}).status_code == 403


def test_who_may_not_see_groups_takes_nobody_out_of_one():
    user = with_role("viewer", "ours")
    browser = client_of("auth.view_user", "auth.change_user")
    grant(User.objects.get(username="staff"), "viewer", "ours")
    browser.post(page(user), form_values(browser.get(page(user))) | {"email": "a@example.org"})
    user.refresh_from_db()
    assert user.email == "a@example.org"
    assert user.groups.count() == 1


def test_the_page_of_a_user_takes_as_many_queries_however_many_groups_there_are(
    browser, django_assert_max_num_queries
):
    user = with_role("viewer", "ours")
    for number in range(20):
        Group.objects.create(name=f"more-{number}")
    browser.get(page(user))
    with django_assert_max_num_queries(14):
        browser.get(page(user))
