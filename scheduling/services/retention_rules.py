"""Say how long history is kept."""

from typing import Any, Final

from django.db import IntegrityError, transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.permits import Permit, anywhere
from access.sentences import said as _
from scheduling.errors import AlreadyExists, InvalidField
from scheduling.models import Job, RetentionRule

MAX_DAYS: Final = 36_500
MAX_LAST: Final = 100_000
_FIELDS: Final = ("namespace", "job_id", "keep_days", "keep_last")
_LIMITS: Final = {"keep_days": MAX_DAYS, "keep_last": MAX_LAST}


def create_rule(
    *, namespace: str, job: Job | None = None, by: Actor = SYSTEM, permit: Permit = anywhere, **fields: Any
) -> RetentionRule:
    """Create and return a rule for a job, or for a namespace (`*`: all).

    Raises InvalidField, AlreadyExists where there is one, and what `permit` raises of the namespace.
    """
    rule = RetentionRule(namespace=namespace, job=job, created_by=by.name)
    if job is not None and job.namespace != namespace:
        raise InvalidField(
            {"namespace": _("expected the job's, %(namespace)s, or none", namespace=repr(job.namespace))}
        )
    with transaction.atomic():
        permit(namespace)
        _save(rule, fields, by=by)
        after = audit.snapshot(rule, _FIELDS)
        audit.record(by=by, action="retention_rule.create", subject=rule, namespace=_told(rule), after=after)
    return rule


def update_rule(
    *, rule_id: int, by: Actor = SYSTEM, permit: Permit = anywhere, **fields: Any
) -> RetentionRule:
    """Change what a rule keeps and return it; raise InvalidField, RetentionRule.DoesNotExist."""
    with transaction.atomic():
        rule = _locked(rule_id, permit)
        before = audit.snapshot(rule, _FIELDS)
        _save(rule, fields, by=by)
        audit.record(
            by=by,
            action="retention_rule.update",
            subject=rule,
            namespace=_told(rule),
            before=before,
            after=audit.snapshot(rule, _FIELDS),
        )
    return rule


def delete_rule(*, rule_id: int, by: Actor = SYSTEM, permit: Permit = anywhere) -> None:
    """Leave it to the next rule; raise RetentionRule.DoesNotExist."""
    with transaction.atomic():
        rule = _locked(rule_id, permit)
        before = audit.snapshot(rule, _FIELDS)
        audit.record(
            by=by, action="retention_rule.delete", subject=rule, namespace=_told(rule), before=before
        )
        rule.delete()


def _locked(rule_id: int, permit: Permit) -> RetentionRule:
    rules = RetentionRule.objects.select_related("job").select_for_update(of=("self",))
    rule: RetentionRule = rules.get(pk=rule_id)
    permit(rule.namespace)
    return rule


def _save(rule: RetentionRule, fields: dict[str, Any], *, by: Actor) -> None:
    errors = dict.fromkeys(fields.keys() - _LIMITS.keys(), _("unknown field"))
    for name, most in _LIMITS.items():
        value = fields.get(name, getattr(rule, name))
        setattr(rule, name, value)
        if value is not None and not 0 <= value <= most:
            errors[name] = _("expected a whole number from 0 (for ever) to %(most)s, or null", most=most)
    if not rule.namespace.strip() or len(rule.namespace) > 255 or "\x00" in rule.namespace:
        errors["namespace"] = _("expected 1 to 255 characters, or * for every namespace")
    if rule.keep_days is None and rule.keep_last is None:
        errors.setdefault(
            "keep_days", _("expected keep_days or keep_last; to leave both open, delete the rule")
        )
    if errors:
        raise InvalidField(errors)
    rule.updated_by = by.name
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError as error:
        if "one_per_namespace" in str(error) or "job_id" in str(error):
            raise AlreadyExists(_("There is a rule for %(rule)s already; change that.", rule=rule)) from error
        raise


def _told(rule: RetentionRule) -> str:
    """Return the namespace in whose audit log a rule is; one for all is in that of none."""
    return "" if rule.namespace == "*" else rule.namespace
