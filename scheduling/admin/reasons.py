"""Reasons that services store in English with an instant, said in the reader's language."""

import re
from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext, gettext_noop

_SENTENCES: Final = (
    gettext_noop("the job was disabled"),
    gettext_noop("no scheduler planned it in time"),
    gettext_noop("no scheduler planned it in time; the job skips misfires"),
    gettext_noop("several were missed; only the last one runs"),
    gettext_noop("the namespace is frozen"),
)
# What follows is a reason again, or what somebody called it.
_BEGINNINGS: Final[Mapping[str, str]] = {
    "will be skipped: ": gettext_noop("will be skipped: %(rest)s"),
    "moved: ": gettext_noop("moved: %(rest)s"),
    "the namespace is frozen: ": gettext_noop("the namespace is frozen: %(rest)s"),
    "outside the allowed times of ": gettext_noop("outside the allowed times of %(rest)s"),
    "blackout of ": gettext_noop("blackout of %(rest)s"),
}
_OUTSIDE: Final = re.compile(r"(more than )?(\d+) instants up to (\S+) lie before the catch-up window")


def reason_words(reason: str) -> str:
    """Return a stored reason in the active language; what is not known stays as it is."""
    if reason in _SENTENCES:
        return gettext(reason)
    if found := _OUTSIDE.fullmatch(reason):
        count = f"{found[2]}+" if found[1] else found[2]
        text = gettext("%(count)s instants up to %(until)s lie before the catch-up window")
        return text % {"count": count, "until": found[3]}
    for beginning, message in _BEGINNINGS.items():
        if reason.startswith(beginning):
            return gettext(message) % {"rest": reason_words(reason.removeprefix(beginning))}
    return reason
