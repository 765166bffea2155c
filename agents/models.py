"""Agents, the daemons on worker machines, and the tokens that prove who they are."""

from datetime import datetime, timedelta
from typing import Final

import uuid_utils.compat
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class AgentStatus(models.TextChoices):
    CONNECTING = "connecting", _("connecting")
    ONLINE = "online", _("online")
    IDLE = "idle", _("idle")
    BUSY = "busy", _("busy")
    DRAINING = "draining", _("draining")
    DISCONNECTING = "disconnecting", _("disconnecting")
    OFFLINE = "offline", _("offline")
    ERROR = "error", _("error")


MAX_LABELS: Final = 255
MAX_LABEL_CHARS: Final = 255
CONNECTED_STATUSES = (AgentStatus.ONLINE, AgentStatus.IDLE, AgentStatus.BUSY, AgentStatus.DRAINING)


class Agent(models.Model):
    """A daemon on one machine. What it says of itself and what operators say of it are kept apart."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    name = models.CharField(_("name"), max_length=255)
    description = models.TextField(_("description"), blank=True, default="")
    address = models.CharField(_("address"), max_length=255, blank=True, default="")
    hostname = models.CharField(_("host name"), max_length=255, blank=True, default="")
    version = models.CharField(_("version"), max_length=64, blank=True, default="")
    enabled = models.BooleanField(_("enabled"), default=True)
    status = models.CharField(
        _("status"), max_length=16, choices=AgentStatus.choices, default=AgentStatus.OFFLINE
    )
    assigned_labels = models.JSONField(_("labels set by operators"), default=dict, blank=True)
    reported_labels = models.JSONField(_("labels reported by the agent"), default=dict, blank=True)
    labels = models.GeneratedField(
        verbose_name=_("labels"),
        expression=Func(
            F("reported_labels"), F("assigned_labels"), template="(%(expressions)s)", arg_joiner=" || "
        ),
        output_field=models.JSONField(),
        db_persist=True,
    )
    capabilities = models.JSONField(_("capabilities"), default=dict, blank=True)
    metrics = models.JSONField(_("metrics"), default=dict, blank=True)
    running_tasks = models.PositiveIntegerField(_("running"), default=0)
    success_tasks = models.PositiveBigIntegerField(default=0)
    failure_tasks = models.PositiveBigIntegerField(default=0)
    response_ms_total = models.FloatField(default=0)
    consecutive_failures = models.PositiveIntegerField(default=0)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    last_heartbeat_at = models.DateTimeField(_("last heartbeat"), null=True, blank=True)
    connected_at = models.DateTimeField(_("connected since"), null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        permissions = [("operate_agent", "Can send commands to agent")]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(archived_at__isnull=True), name="agent_name_unique"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="agent_name_not_empty"),
            models.CheckConstraint(condition=Q(status__in=AgentStatus.values), name="agent_status_known"),
        ]
        indexes = [
            GinIndex(fields=["labels"], name="agent_by_labels"),
            GinIndex(Func("name", "hostname", "address", function="hetuflow_parts"), name="agent_by_parts"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def capacity(self) -> int:
        """Attempts that the agent runs at once, by its own word."""
        return int(self.capabilities.get("max_concurrent_tasks", 0))

    @property
    def statistics(self) -> dict[str, object]:
        """Return the counters of finished attempts, in the shape of the REST contract."""
        total = self.success_tasks + self.failure_tasks
        return {
            "success_tasks": self.success_tasks,
            "failure_tasks": self.failure_tasks,
            "total_tasks": total,
            "avg_response_ms": round(self.response_ms_total / total, 3) if total else 0.0,
            "last_failure_at": self.last_failure_at,
            "consecutive_failures": self.consecutive_failures,
        }


class TokenState(models.TextChoices):
    VALID = "valid", _("valid")
    EXPIRED = "expired", _("expired")
    REVOKED = "revoked", _("revoked")


class EnrollmentState(models.TextChoices):
    VALID = "valid", _("valid")
    USED = "used", _("used")
    EXPIRED = "expired", _("expired")


MAX_ENROLLMENT_LIFE: Final = timedelta(days=7)


class AgentTokenQuerySet(models.QuerySet["AgentToken"]):
    def valid(self, *, now: datetime) -> "AgentTokenQuerySet":
        """Tokens that open a session at `now`."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            revoked_at__isnull=True,
            agent__archived_at__isnull=True,
        )


class AgentToken(models.Model):
    """A secret that an agent shows when it connects; only its SHA-256 is stored."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(_("name"), max_length=255, blank=True, default="")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), db_default=Now())
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = AgentTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("agent token")
        verbose_name_plural = _("agent tokens")

    def __str__(self) -> str:
        return f"{self.agent_id} {self.digest[:8]}"

    def state(self, *, now: datetime) -> TokenState:
        """Return whether the token is good at `now`, as long as its agent is there."""
        if self.revoked_at is not None:
            return TokenState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return TokenState.EXPIRED
        return TokenState.VALID

    def was_used_within(self, span: timedelta, *, now: datetime) -> bool:
        """Return whether a use of the token was noted less than `span` ago."""
        return self.last_used_at is not None and now - self.last_used_at < span


class EnrollmentTokenQuerySet(models.QuerySet["EnrollmentToken"]):
    def valid(self, *, now: datetime) -> "EnrollmentTokenQuerySet":
        """Tokens that let a machine in at `now`."""
        return self.filter(used_at__isnull=True, expires_at__gt=now, agent__archived_at__isnull=True)


class EnrollmentToken(models.Model):
    """A secret that lets one machine in, once; only its SHA-256 is stored.

    `agent` is whom the machine becomes, or where there was nobody yet, who came of it.
    """

    digest = models.CharField(max_length=64, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=255, blank=True, default="")
    labels = models.JSONField(_("labels"), default=dict, blank=True)
    agent = models.ForeignKey(
        Agent, null=True, on_delete=models.CASCADE, related_name="enrollment_tokens", verbose_name=_("agent")
    )
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    used_at = models.DateTimeField(_("used"), null=True)

    objects = EnrollmentTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("enrolment token")
        verbose_name_plural = _("enrolment tokens")
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at"))
                & Q(expires_at__lte=F("created_at") + MAX_ENROLLMENT_LIFE),
                name="enrollmenttoken_lives_a_week_at_most",
            ),
            models.CheckConstraint(
                condition=Q(used_at__isnull=True) | Q(used_at__lt=F("expires_at"), agent__isnull=False),
                name="enrollmenttoken_used_in_time_by_an_agent",
            ),
            models.CheckConstraint(
                condition=Q(agent__isnull=True) | Q(used_at__isnull=False) | Q(name="", labels={}),
                name="enrollmenttoken_agent_has_its_own_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"enrolment {self.pk}"

    def state(self, *, now: datetime) -> EnrollmentState:
        """Return whether a machine can use it at `now`, or has."""
        if self.used_at is not None:
            return EnrollmentState.USED
        return EnrollmentState.VALID if self.expires_at > now else EnrollmentState.EXPIRED


class AgentSample(models.Model):
    """What an agent's machine did in a minute, as its last heartbeat said; kept for a day."""

    pk = models.CompositePrimaryKey("agent_id", "at")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField()
    running = models.PositiveIntegerField()
    # In percent, as far as the agent tells.
    cpu_usage = models.FloatField(null=True)
    memory_usage = models.FloatField(null=True)

    class Meta:
        verbose_name = _("agent sample")

    def __str__(self) -> str:
        return f"{self.agent_id} {self.at}"
