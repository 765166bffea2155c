"""What people chose for themselves: the language of pages, and the time zone of what they read there."""

from django.contrib.auth.models import User

from access.models import Preference


def preference_of(user: User) -> Preference:
    """Return what a user chose; somebody who never did chose nothing."""
    try:
        return user.preference
    except Preference.DoesNotExist:
        return Preference(user=user)


def choose(*, user: User, **chosen: str) -> Preference:
    """Store a `language`, a `time_zone` or both, and leave the other as it is; return all that is stored."""
    stored, _is_new = Preference.objects.update_or_create(user=user, defaults=chosen)
    user.preference = stored
    return stored
