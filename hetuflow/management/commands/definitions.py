"""`manage.py definitions export` and `manage.py definitions import FILE [--check]`"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from access.actors import COMMAND_LINE
from access.permits import anything
from scheduling.clock import database_now
from scheduling.definition_file import BadFile, Entry, read, write
from scheduling.errors import SchedulingError
from scheduling.models import Job
from scheduling.services.applying import Outcome, apply_calendar, apply_job
from scheduling.services.documents import exported


class Command(BaseCommand):
    help = "Write all definitions as a file, or make them what a file says."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        export = commands.add_parser("export", help="write jobs with their schedules, and calendars, as YAML")
        export.add_argument("--namespace", help="only this one")
        importing = commands.add_parser("import", help="create and change what a file in YAML or JSON says")
        importing.add_argument("file", help="- reads it from the standard input")
        importing.add_argument("--check", action="store_true", help="only say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["what"] == "export":
            self._export(options["namespace"])
        else:
            self._import(_entries(options["file"]), is_check=options["check"])

    def _export(self, namespace: str | None) -> None:
        jobs = Job.objects.present()
        for piece in write(*exported(jobs if namespace is None else jobs.filter(namespace=namespace))):
            self.stdout.write(piece, ending="")

    def _import(self, entries: Sequence[Entry], *, is_check: bool) -> None:
        refused = 0
        with contextlib.suppress(_TakenBackError), transaction.atomic():
            for entry in entries:
                try:
                    with transaction.atomic():
                        outcome = _apply(entry)
                except SchedulingError as error:
                    refused += 1
                    self.stdout.write(f"refused {entry.kind} {entry.name}: {error}")
                else:
                    self.stdout.write(f"{outcome.did} {entry.kind} {entry.name}")
            if is_check or refused:
                raise _TakenBackError
        if refused:
            raise CommandError(f"{refused} of {len(entries)} were refused; nothing was changed")


class _TakenBackError(Exception):
    """Nothing of it is to stay."""


def _entries(file: str) -> list[Entry]:
    try:
        return read(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except BadFile as error:
        raise CommandError(f"{file}: {'; '.join(error.problems)}") from error


def _apply(entry: Entry) -> Outcome:
    if entry.kind == "calendar":
        return apply_calendar(entry.document, by=COMMAND_LINE, permits=anything)
    return apply_job(entry.document, now=database_now(), by=COMMAND_LINE, permits=anything)
