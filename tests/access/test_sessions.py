"""What is kept of a session: enough to know its cookie by, and not enough to make one."""

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access.sessions import SessionStore, stored_key
from tests import people
from tests.database import dump

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")
PASSWORD = "Xk2-lovelace"


@pytest.fixture
def ada():
    user = people.person("ada", superuser=True, is_staff=True)
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def browser(ada):
    browser = Client()
    browser.post(reverse("admin:login"), {"username": "ada", "password": PASSWORD})
    return browser


def cookie_of(browser):
    return browser.cookies[settings.SESSION_COOKIE_NAME].value


def is_logged_in(cookie):
    return (
        Client(headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"}).get(INDEX).status_code == 200
    )


def test_the_cookie_is_good_and_what_is_stored_is_not(browser):
    cookie = cookie_of(browser)
    stored = Session.objects.get().session_key
    assert is_logged_in(cookie)
    assert not is_logged_in(stored)
    assert cookie not in "\n".join(dump().values())
    assert (stored, len(stored)) == (stored_key(cookie), 40)


def test_a_session_goes_on_until_it_is_ended(browser):
    assert [browser.get(INDEX).status_code for _ in range(2)] == [200, 200]
    cookie = cookie_of(browser)
    browser.post(reverse("admin:logout"))
    assert not is_logged_in(cookie)
    assert not Session.objects.filter(session_key=stored_key(cookie)).exists()


def test_whoever_logs_in_gets_another_cookie_than_before(ada):
    browser = Client()
    session = browser.session
    session["seen"] = "before"
    session.save()
    before = session.session_key
    browser.cookies[settings.SESSION_COOKIE_NAME] = before
    browser.post(reverse("admin:login"), {"username": "ada", "password": PASSWORD})
    assert cookie_of(browser) != before
    assert browser.session["seen"] == "before"
    assert not SessionStore().exists(before)
    assert Session.objects.count() == 1


def test_a_session_that_expired_is_none(browser):
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not is_logged_in(cookie_of(browser))


@pytest.mark.parametrize("cookie", ["", "x" * 32, "\u4efb\u52a1", "x" * 5000])
def test_a_made_up_cookie_is_none(browser, cookie):
    store = SessionStore(cookie)
    assert (store.load(), store.session_key, store.exists(cookie)) == ({}, None, False)
    store.delete(cookie)
    assert Session.objects.count() == 1


def close_connection():
    """Close the connection of the thread that calls."""
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_asked_asynchronously_it_is_the_same_store():
    async def conversation():
        store = SessionStore()
        await store.aset("seen", "this")
        await store.asave()
        cookie = store.session_key
        again = SessionStore(cookie)
        assert await again.aget("seen") == "this"
        assert await again.aexists(cookie)
        await again.adelete()
        assert not await again.aexists(cookie)
        await sync_to_async(close_connection)()

    asyncio.run(conversation())
    assert not Session.objects.exists()
