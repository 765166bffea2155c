"""Roles of groups, people's API tokens and preferences, the audit trail, and what throttles remember."""

from django.contrib.auth.models import Group, User
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from access.actors import ActorKind
from access.roles import EVERYWHERE, Role, Scope


class Grant(models.Model):
    """The members of a group have a role in a namespace, or with `*` everywhere."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="grants", verbose_name=_("group"))
    namespace = models.CharField(
        _("namespace"),
        max_length=255,
        default=EVERYWHERE,
        help_text=_("* means every namespace and all agents."),
    )
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints = [
            models.UniqueConstraint(fields=["group", "namespace"], name="grant_one_role_per_namespace"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="grant_role_known"),
            models.CheckConstraint(condition=~Q(namespace=""), name="grant_namespace_not_empty"),
        ]

    def __str__(self) -> str:
        values = {"group": self.group, "role": self.get_role_display(), "namespace": self.namespace}
        return gettext("%(group)s: %(role)s in %(namespace)s") % values


class ApiToken(models.Model):
    """A secret with which a program acts for a user; only its SHA-256 is stored."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="api_tokens", verbose_name=_("user")
    )
    name = models.CharField(_("name"), max_length=255)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(_("scope"), max_length=16, choices=Scope.choices, default=Scope.ADMIN)
    namespace = models.CharField(
        _("namespace"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("Empty: all that the user may see."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(
        _("expires"), null=True, blank=True, help_text=_("Empty: it never expires.")
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "name"], condition=Q(revoked_at__isnull=True), name="apitoken_name_unique"
            ),
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="apitoken_scope_known"),
            models.CheckConstraint(condition=~Q(name=""), name="apitoken_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_limited(self) -> bool:
        """Whether it permits less than its user may do."""
        return self.scope != Scope.ADMIN or bool(self.namespace)

    @property
    def is_valid(self) -> bool:
        """Whether it may still be used, by this machine's clock; what counts is `access.tokens.find`."""
        if self.revoked_at is not None or not self.user.is_active:
            return False
        return self.expires_at is None or self.expires_at > timezone.now()


class AuditEntry(models.Model):
    """One write: who did what to which object, and what changed. A trigger keeps it from being changed."""

    at = models.DateTimeField(_("time"), db_default=Now())
    actor_kind = models.CharField(_("kind of actor"), max_length=16, choices=ActorKind.choices)
    actor = models.CharField(_("actor"), max_length=255, blank=True, default="")
    token = models.CharField(_("token"), max_length=255, blank=True, default="")
    address = models.CharField(_("address"), max_length=64, blank=True, default="")
    action = models.CharField(_("action"), max_length=64)
    subject_type = models.CharField(_("kind of object"), max_length=32)
    subject_id = models.CharField(_("id"), max_length=64)
    subject = models.CharField(_("object"), max_length=512, blank=True, default="")
    namespace = models.CharField(_("namespace"), max_length=255, blank=True, default="")
    before = models.JSONField(_("before"), null=True)
    after = models.JSONField(_("after"), null=True)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        constraints = [
            models.CheckConstraint(
                condition=Q(actor_kind__in=ActorKind.values), name="auditentry_actor_kind_known"
            ),
            models.CheckConstraint(condition=~Q(action=""), name="auditentry_action_not_empty"),
        ]
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "-id"], name="auditentry_by_subject"),
            models.Index(fields=["namespace", "-id"], name="auditentry_by_namespace"),
            models.Index(fields=["actor", "-id"], name="auditentry_by_actor"),
            models.Index(fields=["action", "-id"], name="auditentry_by_action"),
            models.Index(fields=["-at", "id"], name="auditentry_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.actor or self.actor_kind} {self.action} {self.subject}"


class Preference(models.Model):
    """How a person wants to be spoken to, on every machine; empty is what the browser there asks for."""

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="preference", verbose_name=_("user")
    )
    language = models.CharField(_("language"), max_length=16, blank=True, default="")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True, default="")

    class Meta:
        verbose_name = _("preference")

    def __str__(self) -> str:
        return f"{self.user}: {self.language} {self.time_zone}"


class Throttle(models.Model):
    """When a caller did something lately, the newest last, and from when on that means nothing any more."""

    key = models.CharField(max_length=64, primary_key=True)
    taken_at = ArrayField(models.DateTimeField(), default=list)
    full_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("throttle")

    def __str__(self) -> str:
        return self.key


class SavedFilter(models.Model):
    """What somebody narrowed a list to and keeps under a name; for all who see the list, if shared.

    It holds the address's query alone: what the list then shows, everybody's roles decide.
    """

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="saved_filters", db_index=False, verbose_name=_("user")
    )
    # The model whose list it is, as app.model.
    of_list = models.CharField(max_length=100)
    name = models.CharField(_("name"), max_length=60)
    query = models.CharField(max_length=2000)
    is_shared = models.BooleanField(_("for everybody"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("saved filter")
        verbose_name_plural = _("saved filters")
        constraints = [
            models.UniqueConstraint(fields=["user", "of_list", "name"], name="savedfilter_name_unique"),
            models.CheckConstraint(condition=~Q(name=""), name="savedfilter_name_not_empty"),
            models.CheckConstraint(condition=~Q(query=""), name="savedfilter_query_not_empty"),
        ]
        indexes = [
            models.Index(fields=["of_list"], condition=Q(is_shared=True), name="savedfilter_shared"),
        ]

    def __str__(self) -> str:
        return f"{self.of_list}: {self.name}"
