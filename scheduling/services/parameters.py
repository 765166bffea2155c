"""Whether the parameters of runs fit their job's schema, and what they are where nothing is said."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from access.sentences import said as _
from scheduling.calendars import NO_CALENDAR
from scheduling.errors import InvalidField
from scheduling.models import Job, Schedule
from scheduling.parameters_schema import misfits
from scheduling.services.calendars import rules_of
from scheduling.templates import Moment, render_parameters

# Parameters travel to the agent in one frame, beside configuration and environment.
MAX_PARAMETERS_BYTES: Final = 48 * 1024


def completed_parameters(job: Job, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a run of `job` gets: these parameters, and the defaults of others.

    Raises InvalidField with a message for each parameter that does not fit, as `parameters.NAME`.
    """
    complete = {**job.parameter_defaults, **(parameters or {})}
    if len(json.dumps(complete)) > MAX_PARAMETERS_BYTES:
        raise InvalidField({"parameters": _("larger than %(most)s bytes", most=MAX_PARAMETERS_BYTES)})
    if job.parameters_schema is not None:
        errors = misfits(job.parameters_schema, complete)
        if errors:
            raise InvalidField({_field(name): message for name, message in errors.items()})
    return complete


def check_parameters_of(schedule: Schedule, *, now: datetime) -> None:
    """Render a schedule's parameters for an instant as a trial, and look whether its job takes them.

    Raises InvalidField.
    """
    parameters = schedule.parameters
    if not isinstance(parameters, dict) or len(json.dumps(parameters)) > MAX_PARAMETERS_BYTES:
        raise InvalidField(
            {"parameters": _("expected an object of at most %(most)s bytes", most=MAX_PARAMETERS_BYTES)}
        )
    calendar = NO_CALENDAR if schedule.calendar is None else rules_of(schedule.calendar)
    try:
        rendered = render_parameters(parameters, Moment(now, ZoneInfo(schedule.timezone), calendar))
    except ValueError as error:
        raise InvalidField({"parameters": error.args[0]}) from error
    if schedule.job_id is not None:
        completed_parameters(schedule.job, rendered)


def refuse_misfit_schedules(job: Job, *, now: datetime) -> None:
    """Raise InvalidField where a schedule of a saved job has parameters that its schema does not take."""
    for schedule in Schedule.objects.present().filter(job=job).select_related("calendar").order_by("pk"):
        schedule.job = job
        try:
            check_parameters_of(schedule, now=now)
        except InvalidField as error:
            text = _(
                "the schedule %(schedule)s (#%(pk)s) does not fit: %(problem)s",
                schedule=repr(str(schedule)),
                pk=schedule.pk,
                problem=error,
            )
            raise InvalidField({"parameters_schema": text}) from error


def _field(name: str) -> str:
    return f"parameters.{name}" if name else "parameters"
