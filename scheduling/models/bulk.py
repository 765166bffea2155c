"""What people do to many objects at once."""

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from scheduling.kinds import BulkState, BulkStatus, BulkVerb


class BulkAction(models.Model):
    """One verb for many targets, done in the name of whoever asked for it, one by one.

    The targets are those that were found when it was asked for; what the user may is asked when each is done.
    """

    verb = models.CharField(_("action"), max_length=32, choices=BulkVerb.choices)
    status = models.CharField(
        _("status"), max_length=16, choices=BulkStatus.choices, default=BulkStatus.RUNNING
    )
    total = models.PositiveIntegerField(_("objects"))
    user = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+", verbose_name=_("asked for by")
    )
    # Where the request came from, for the entries in the audit log.
    address = models.CharField(max_length=64, blank=True, default="", editable=False)
    created_at = models.DateTimeField(_("asked for"), auto_now_add=True)
    completed_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")
        constraints = [
            models.CheckConstraint(condition=Q(verb__in=BulkVerb.values), name="bulkaction_verb_known"),
            models.CheckConstraint(condition=Q(status__in=BulkStatus.values), name="bulkaction_status_known"),
            models.CheckConstraint(condition=Q(total__gte=1), name="bulkaction_total_positive"),
            models.CheckConstraint(
                condition=Q(completed_at__isnull=False) ^ Q(status="running"),
                name="bulkaction_completed_at_iff_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(status="running"), name="bulkaction_running"),
            models.Index(fields=["status", "-id"], name="bulkaction_by_status"),
            models.Index(fields=["verb", "-id"], name="bulkaction_by_verb"),
            models.Index(fields=["completed_at"], name="bulkaction_by_completed_at"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class BulkTarget(models.Model):
    """One object of a bulk action, by its id, and what became of it; `problem` says why it was refused.

    A target of an import is an entry of its file: it is numbered and named, brings its `document`, and has
    an `outcome`, as `scheduling.services.importing` writes it.
    """

    action = models.ForeignKey(BulkAction, on_delete=models.CASCADE, related_name="targets", db_index=False)
    target_id = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=BulkState.choices, default=BulkState.WAITING)
    problem = models.TextField(blank=True, default="")
    # The same in each language that its readers may speak.
    problem_in = models.JSONField(blank=True, default=dict, db_default={})
    name = models.TextField(blank=True, default="", db_default="")
    document = models.JSONField(null=True, blank=True)
    outcome = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["action", "target_id"], name="bulktarget_once_each"),
            models.CheckConstraint(condition=Q(state__in=BulkState.values), name="bulktarget_state_known"),
        ]
        indexes = [
            models.Index(fields=["action", "state", "id"], name="bulktarget_by_state"),
        ]

    def __str__(self) -> str:
        return self.name or str(self.target_id)

    def told_problem(self) -> str:
        """Return why it was refused, in the language that is active."""
        told: str = self.problem_in.get(get_language(), self.problem)
        return told
