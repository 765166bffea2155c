"""Sessions of browsers, in the database under a digest: who reads that, or a copy of it, logs in as nobody.

Django's own store keeps the very text of the cookie there.
"""

import hashlib
from base64 import b85encode
from collections.abc import Collection
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore as DjangoSessionStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare


def stored_key(cookie: str) -> str:
    """Return under what a session is stored: a SHA-256, in as few characters as the column has."""
    return b85encode(hashlib.sha256(cookie.encode()).digest()).decode()


def users_of_cookies(cookies: Collection[str]) -> dict[str, User]:
    """Return who is logged in by each of these cookies, as far as anybody is. Two statements.

    Nothing is kept up by being looked at here: a page that only listens does not make a session last.
    """
    by_key = {stored_key(cookie): cookie for cookie in cookies}
    store = SessionStore()
    sessions = Session.objects.filter(session_key__in=by_key, expire_date__gt=timezone.now())
    held = {by_key[row.session_key]: store.decode(row.session_data) for row in sessions}
    wanted = {cookie: data[SESSION_KEY] for cookie, data in held.items() if BACKEND_SESSION_KEY in data}
    known = {str(user.pk): user for user in User.objects.filter(pk__in=set(wanted.values()))}
    return {
        cookie: user
        for cookie, user_id in wanted.items()
        if (user := known.get(user_id)) is not None
        # A new password ends the sessions that began with the old one.
        and constant_time_compare(held[cookie].get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    }


class SessionStore(DjangoSessionStore):
    """Knows sessions by their cookie and the database by their digest."""

    def load(self) -> dict[str, Any]:
        """Return what the session holds; forget a cookie for which there is none."""
        key = stored_key(self.session_key or "")
        try:
            found = Session.objects.get(session_key=key, expire_date__gt=timezone.now())
        except Session.DoesNotExist:
            self._session_key = None
            return {}
        data: dict[str, Any] = self.decode(found.session_data)
        return data

    def exists(self, session_key: str) -> bool:
        """Whether there is a session with this cookie."""
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row of this session as it is to be stored."""
        row = super().create_model_instance(data)
        row.session_key = stored_key(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        """End a session, this one unless another cookie is given."""
        cookie = session_key or self.session_key
        if cookie is not None:
            super().delete(stored_key(cookie))

    async def aload(self) -> dict[str, Any]:
        return await sync_to_async(self.load)()

    async def aexists(self, session_key: str) -> bool:
        return await sync_to_async(self.exists)(session_key)

    async def acreate_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        return await sync_to_async(self.create_model_instance)(data)

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)
