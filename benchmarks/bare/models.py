"""The columns of a job and of a task, as a first draft would declare them."""

from django.db import models


class BareJob(models.Model):
    namespace = models.CharField(max_length=255, default="default")
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True, default="")
    command = models.TextField(blank=True, default="")
    environment = models.JSONField(default=dict, blank=True)
    config = models.JSONField(default=dict)
    task_config = models.JSONField(default=dict)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    tags = models.JSONField(default=list, blank=True)
    created_by = models.CharField(max_length=255, blank=True, default="")
    updated_by = models.CharField(max_length=255, blank=True, default="")
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["namespace", "name"], name="barejob_name_unique")]

    def __str__(self) -> str:
        return self.name


class BareTask(models.Model):
    job = models.ForeignKey(BareJob, on_delete=models.PROTECT)
    namespace = models.CharField(max_length=255, default="default")
    schedule_kind = models.CharField(max_length=16, blank=True, default="")
    priority = models.IntegerField(default=0)
    status = models.CharField(max_length=16, default="pending")
    outcome = models.CharField(max_length=16, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    scheduled_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    environment = models.JSONField(default=dict, blank=True)
    config = models.JSONField(default=dict)
    attempt_count = models.PositiveIntegerField(default=0)
    retry_count = models.PositiveIntegerField(default=0)
    max_retries = models.PositiveIntegerField(default=0)
    manual_retries = models.PositiveIntegerField(default=0)
    dependencies = models.JSONField(default=list, blank=True)
    locked_at = models.DateTimeField(null=True, blank=True)
    lock_version = models.PositiveIntegerField(default=0)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"#{self.pk}"
