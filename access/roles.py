"""What there is to be permitted: Django's permissions, each with its level, and the roles made of them.

A role holds every permission up to its level; a token's scope takes away those above it.
"""

from enum import IntEnum
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _

# In place of a namespace: all of them, and what belongs to none, such as agents.
EVERYWHERE: Final = "*"


class Level(IntEnum):
    """How much a permission lets one do; each level holds those before it."""

    READ = 1
    OPERATE = 2
    WRITE = 3
    ADMIN = 4


class Role(models.TextChoices):
    VIEWER = "viewer", _("viewer")
    OPERATOR = "operator", _("operator")
    EDITOR = "editor", _("editor")
    ADMIN = "admin", _("admin")


class Scope(models.TextChoices):
    READ = "read", _("read")
    OPERATE = "operate", _("operate")
    WRITE = "write", _("write")
    ADMIN = "admin", _("admin")


LEVEL_OF_ROLE: Final = dict(zip(Role, Level, strict=True))
LEVEL_OF_SCOPE: Final = dict(zip(Scope, Level, strict=True))

PERMISSIONS: Final[dict[str, Level]] = {
    # What is there, and how it goes.
    "scheduling.view_job": Level.READ,
    "scheduling.view_schedule": Level.READ,
    "scheduling.view_task": Level.READ,
    "scheduling.view_taskinstance": Level.READ,
    "scheduling.view_calendar": Level.READ,
    "scheduling.view_freeze": Level.READ,
    "scheduling.view_alert": Level.READ,
    "scheduling.view_backfill": Level.READ,
    "scheduling.view_retentionrule": Level.READ,
    "agents.view_agent": Level.READ,
    "gateway.view_connection": Level.READ,
    "gateway.view_server": Level.READ,
    # Runs, retries, cancels; pauses and resumes.
    "scheduling.switch_job": Level.OPERATE,
    "scheduling.switch_schedule": Level.OPERATE,
    "scheduling.add_task": Level.OPERATE,
    "scheduling.change_task": Level.OPERATE,
    "scheduling.add_taskinstance": Level.OPERATE,
    "scheduling.change_taskinstance": Level.OPERATE,
    "scheduling.add_freeze": Level.OPERATE,
    "scheduling.delete_freeze": Level.OPERATE,
    "scheduling.change_alert": Level.OPERATE,
    "scheduling.add_backfill": Level.OPERATE,
    "scheduling.change_backfill": Level.OPERATE,
    "agents.operate_agent": Level.OPERATE,
    "gateway.view_agentlog": Level.OPERATE,
    # Says what runs, when and where.
    "scheduling.add_job": Level.WRITE,
    "scheduling.change_job": Level.WRITE,
    "scheduling.delete_job": Level.WRITE,
    "scheduling.add_schedule": Level.WRITE,
    "scheduling.change_schedule": Level.WRITE,
    "scheduling.delete_schedule": Level.WRITE,
    "scheduling.add_calendar": Level.WRITE,
    "scheduling.change_calendar": Level.WRITE,
    "scheduling.delete_calendar": Level.WRITE,
    "scheduling.delete_task": Level.WRITE,
    "scheduling.delete_taskinstance": Level.WRITE,
    "agents.change_agent": Level.WRITE,
    # Lets others in, and sees what they did.
    "agents.add_agent": Level.ADMIN,
    "agents.delete_agent": Level.ADMIN,
    "agents.view_agenttoken": Level.ADMIN,
    "agents.add_agenttoken": Level.ADMIN,
    "agents.change_agenttoken": Level.ADMIN,
    "agents.view_enrollmenttoken": Level.ADMIN,
    "agents.add_enrollmenttoken": Level.ADMIN,
    "agents.delete_enrollmenttoken": Level.ADMIN,
    "access.view_auditentry": Level.ADMIN,
    # Says when what happened is forgotten.
    "scheduling.add_retentionrule": Level.ADMIN,
    "scheduling.change_retentionrule": Level.ADMIN,
    "scheduling.delete_retentionrule": Level.ADMIN,
}


def permissions_up_to(level: Level) -> frozenset[str]:
    """Return the permissions of a role or scope."""
    return frozenset(name for name, needed in PERMISSIONS.items() if needed <= level)


ALL_PERMISSIONS: Final = permissions_up_to(Level.ADMIN)
# Agents, servers and connections are shared by all namespaces: a role in one of them lets one look at them.
NAMESPACED: Final = frozenset(
    name
    for name, level in PERMISSIONS.items()
    if name.startswith(("scheduling.", "access.")) or level == Level.READ
)
PERMISSIONS_OF_ROLE: Final = {role: permissions_up_to(level) for role, level in LEVEL_OF_ROLE.items()}
PERMISSIONS_OF_SCOPE: Final = {scope: permissions_up_to(level) for scope, level in LEVEL_OF_SCOPE.items()}
