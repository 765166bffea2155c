"""Who does something: what services are told, and the audit entry remembers."""

from dataclasses import dataclass, replace
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class ActorKind(models.TextChoices):
    USER = "user", _("user")
    TOKEN = "token", _("token")
    AGENT = "agent", _("agent")
    COMMAND = "command", _("command line")
    SYSTEM = "system", _("system")


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a person's token, an agent, or Hetuflow itself.

    `name` is a user's or an agent's; `token` the name of the token that was shown; `address` where the
    request came from.
    """

    kind: ActorKind
    name: str = ""
    token: str = ""
    address: str = ""

    def at(self, address: str) -> "Actor":
        """Return the same one, asking from `address`."""
        return replace(self, address=address)


SYSTEM: Final = Actor(kind=ActorKind.SYSTEM)
COMMAND_LINE: Final = Actor(kind=ActorKind.COMMAND, name="manage.py")
