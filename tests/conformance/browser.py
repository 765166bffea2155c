"""A browser's session: cookies, the CSRF token, forms."""

import http.cookies
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.conformance.client import Answer, Client
from tests.conformance.installation import PASSWORD, PERSON

LOGIN = "/admin/login/"


@dataclass
class Browser:
    """Logs in at the admin and keeps its cookies."""

    client: Client
    cookies: dict[str, str] = field(default_factory=dict)

    def log_in(self) -> None:
        page = self.send("GET", LOGIN)
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert found is not None, page
        form = {"csrfmiddlewaretoken": found[1], "username": PERSON, "password": PASSWORD}
        self.send(
            "POST",
            LOGIN,
            raw=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert "sessionid" in self.cookies

    def page(self, path: str) -> Answer:
        """Return what a person sees, as HTML."""
        answer = self.send("GET", path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (answer.status, answer.media_type) == (200, "text/html"), answer
        return answer

    def send(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.client.send(method, path, headers={"Cookie": cookie, **(headers or {})}, **more)
        for line in answer.cookies:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return answer
