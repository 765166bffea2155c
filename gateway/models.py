"""Server processes, the sessions of agents on them, and commands on their way to agents."""

import uuid_utils.compat
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent, AgentToken


class Server(models.Model):
    """One server process; alive while its heartbeat is fresh."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    name = models.CharField(_("name"), max_length=255)
    address = models.CharField(_("address"), max_length=255, blank=True, default="")
    version = models.CharField(_("version"), max_length=64)
    started_at = models.DateTimeField(_("started"))
    last_heartbeat_at = models.DateTimeField(_("last heartbeat"))
    # By how much its machine's clock goes before the database's; to be shown, nothing is decided by it.
    clock_ahead_ms = models.FloatField(null=True, editable=False)

    class Meta:
        verbose_name = _("server")
        verbose_name_plural = _("servers")

    def __str__(self) -> str:
        return self.name


class Connection(models.Model):
    """The session of one agent, live while `server` is set; the row remembers which daemon came last."""

    agent = models.OneToOneField(Agent, primary_key=True, on_delete=models.CASCADE, related_name="connection")
    server = models.ForeignKey(
        Server, null=True, on_delete=models.SET_NULL, related_name="connections", verbose_name=_("server")
    )
    token = models.ForeignKey(AgentToken, null=True, on_delete=models.SET_NULL, related_name="connections")
    session_id = models.UUIDField()
    epoch = models.UUIDField()
    replaced_epochs = models.JSONField(default=list)
    remote_address = models.CharField(_("remote address"), max_length=64, blank=True, default="")
    connected_at = models.DateTimeField(_("connected"))
    last_activity = models.DateTimeField(_("last activity"))
    messages_sent = models.PositiveBigIntegerField(default=0)
    messages_received = models.PositiveBigIntegerField(default=0)
    close_requested_at = models.DateTimeField(null=True, blank=True)
    # The same of the agent's machine, as of its last heartbeat; the way here counts as if it took no time.
    clock_ahead_ms = models.FloatField(null=True, editable=False)

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")

    def __str__(self) -> str:
        return str(self.agent_id)


class AgentCommand(models.Model):
    """A command for a connected agent; the server that holds the session sends it and notes the answer."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="commands")
    command = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    timeout_secs = models.FloatField()
    sent_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    ok = models.BooleanField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = _("agent command")
        indexes = [
            models.Index(fields=["agent"], condition=Q(sent_at__isnull=True), name="agentcommand_unsent"),
        ]

    def __str__(self) -> str:
        return self.command


class AgentLog(models.Model):
    """A line of an agent's own log, as it arrived."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="log_lines", db_index=False)
    at = models.DateTimeField()
    level = models.CharField(max_length=16)
    message = models.TextField()
    instance_id = models.UUIDField(null=True, blank=True)

    class Meta:
        verbose_name = _("agent log line")
        indexes = [
            models.Index(fields=["agent", "-id"], name="agentlog_by_agent"),
            models.Index(
                fields=["instance_id", "id"],
                condition=Q(instance_id__isnull=False),
                name="agentlog_by_attempt",
            ),
        ]

    def __str__(self) -> str:
        return self.message[:80]
