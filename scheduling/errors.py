"""What the scheduling services refuse; the docstring is the default message."""

from collections.abc import Mapping, Sequence

from django.db.models import TextChoices
from django.utils.functional import lazy
from django.utils.translation import get_language

from access.sentences import said as _


class SchedulingError(Exception):
    """The request cannot be carried out."""

    code = "invalid"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or _((self.__doc__ or "").strip()))


class InvalidField(SchedulingError):
    """Some fields are not valid; `errors` maps each to what is wrong with it."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(_listed(errors))
        self.errors = errors


class BadRange(InvalidField):
    """A range of the past that cannot be run; `reason` is a word for why, of `count` instants."""

    def __init__(self, reason: str, field: str, message: str, *, count: int = 0) -> None:
        super().__init__({field: message})
        self.reason = reason
        self.count = count


class InvalidState(SchedulingError):
    """The current state forbids this."""

    code = "invalid_state"

    def __init__(self, *, action: str, current: str, allowed: Sequence[TextChoices]) -> None:
        super().__init__(
            _(
                "Cannot %(action)s: the current state is %(current)s; allowed from %(allowed)s.",
                action=action,
                current=_named([type(allowed[0])(current)]),
                allowed=_named(allowed),
            )
        )


class JobDisabled(SchedulingError):
    """Cannot trigger this job: the current state is disabled; allowed from enabled, or with "force": true."""

    code = "invalid_state"


class JobArchived(SchedulingError):
    """Cannot run this job: the current state is archived; allowed from enabled, disabled."""

    code = "invalid_state"


class JobAtLimit(SchedulingError):
    """Cannot begin another attempt: the current state of its job is at its limit; allowed from below it."""

    code = "invalid_state"


class AlreadyExists(SchedulingError):
    """An object with this name exists already."""

    code = "already_exists"


class ChangedMeanwhile(SchedulingError):
    """Somebody changed this meanwhile; look at what it is now, and try again."""

    code = "changed_meanwhile"


class InUse(SchedulingError):
    """Others refer to this object."""

    code = "in_use"


class NotPermitted(SchedulingError):
    """Your role in this namespace does not allow it."""

    code = "permission_denied"


class NothingToDo(SchedulingError):
    """There is nothing to do."""

    code = "invalid_state"


def _names(states: Sequence[TextChoices]) -> str:
    """Return states by their codes, as REST has them; in other languages by what pages call them."""
    is_english = (get_language() or "en").startswith("en")
    return ", ".join(state.value if is_english else str(state.label) for state in states)


def _list(errors: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {message}" for name, message in errors.items())


_named = lazy(_names, str)
_listed = lazy(_list, str)
