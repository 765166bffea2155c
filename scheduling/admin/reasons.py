"""Sentences that services and agents store in English, said in the language and the zone of the reader."""

import re
from datetime import datetime
from typing import Final

from django.utils.translation import gettext_noop

from access.sentences import recognised
from scheduling.admin import words

# A fact called `rest` is a sentence again, or what somebody called it.
_MESSAGES: Final = (
    # of tasks and of instants
    gettext_noop("the job was disabled"),
    gettext_noop("no scheduler planned it in time"),
    gettext_noop("no scheduler planned it in time; the job skips misfires"),
    gettext_noop("several were missed; only the last one runs"),
    gettext_noop("an earlier run of the job was still going"),
    gettext_noop("replaced by a newer run of the job"),
    gettext_noop("the namespace is frozen"),
    gettext_noop("the namespace is frozen: %(rest)s"),
    gettext_noop("will be skipped: %(rest)s"),
    gettext_noop("moved: %(rest)s"),
    gettext_noop("outside the allowed times of %(rest)s"),
    gettext_noop("blackout of %(rest)s"),
    gettext_noop("more than %(count)s instants up to %(until)s lie before the catch-up window"),
    gettext_noop("%(count)s instants up to %(until)s lie before the catch-up window"),
    gettext_noop("cancelled"),
    gettext_noop("cancelled by %(who)s"),
    gettext_noop("retried"),
    gettext_noop("retried by %(who)s"),
    gettext_noop("backfill %(backfill)s was cancelled"),
    # of schedules and backfills
    gettext_noop("paused after %(n)s failures in a row"),
    gettext_noop("paused because a run failed"),
    gettext_noop("paused by %(who)s"),
    gettext_noop("paused"),
    gettext_noop("waits: the job is disabled"),
    gettext_noop("waits: the namespace is frozen"),
    gettext_noop("waits: a run of the schedule is going on"),
    # of alerts
    gettext_noop("%(n)s planned runs were missed, the first one at %(at)s"),
    gettext_noop("The schedule was %(rest)s"),
    gettext_noop("Backfill %(backfill)s: %(rest)s"),
    # of attempts, by the server and by agents
    gettext_noop(
        "The agent was not heard of before its lease ran out; whether the command ran is not known."
    ),
    gettext_noop(
        "The task does not fit into a message to an agent (256 KiB): "
        "its arguments, environment and parameters are too large."
    ),
    gettext_noop("The agent was removed."),
    gettext_noop("ended with exit code %(code)s"),
    gettext_noop("ended by signal %(signal)s"),
    gettext_noop("timed out after %(secs)s s"),
    gettext_noop("cannot start %(program)s: %(why)s"),
    gettext_noop("the lease ran out and the job asks to be stopped then"),
    gettext_noop("its lease ran out before it began"),
    gettext_noop("its lease ran out before it arrived"),
    gettext_noop("no free slot"),
    gettext_noop("not started"),
)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def reason_words(reason: str) -> str:
    """Return a stored sentence as its reader wants it; what is not known stays as it is."""
    told = recognised(reason, _MESSAGES)
    if told is reason:
        return reason
    return _INSTANT.sub(lambda found: words.told_with_utc(datetime.fromisoformat(found[0])), str(told))
