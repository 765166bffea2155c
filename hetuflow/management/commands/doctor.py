"""`manage.py doctor`"""

import sys
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from hetuflow.doctor.examination import LIMIT_SECS, examine, names_of_groups
from hetuflow.doctor.report import Level

WRONG: Final = 2
TO_LOOK_AT: Final = 1


class Command(BaseCommand):
    help = (
        "Look at a live installation and say what to do about what is not fine; writes nothing. "
        "Ends with 2 where something is wrong, with --strict also with 1 where there is something to look at."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
        parser.add_argument("--strict", action="store_true", help="warnings count as well, with 1")
        parser.add_argument(
            "--only", action="append", choices=names_of_groups(), help="a group; may be repeated"
        )
        parser.add_argument(
            "--limit", type=float, default=LIMIT_SECS, help="seconds for all, about; default: %(default)s"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = examine(only=options["only"], limit_secs=options["limit"])
        self.stdout.write(report.as_json() if options["json"] else report.as_text(), ending="")
        if report.level == Level.ERROR:
            sys.exit(WRONG)
        if options["strict"] and report.level == Level.WARNING:
            sys.exit(TO_LOOK_AT)
