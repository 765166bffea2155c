"""Sessions of browsers, in the database under a digest: who reads that, or a copy of it, logs in as nobody.

Django's own store keeps the very text of the cookie there.
"""

import hashlib
from base64 import b85encode
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore as DjangoSessionStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone


def stored_key(cookie: str) -> str:
    """Return under what a session is stored: a SHA-256, in as few characters as the column has."""
    return b85encode(hashlib.sha256(cookie.encode()).digest()).decode()


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
