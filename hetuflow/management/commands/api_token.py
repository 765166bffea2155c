"""`manage.py api_token USER`"""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from access import tokens
from access.actors import COMMAND_LINE
from access.errors import NameTaken
from access.roles import Scope


class Command(BaseCommand):
    help = "Print a new API token of USER and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--name", help="what it is for; made up where it is not given")
        parser.add_argument("--scope", choices=Scope.values, default=Scope.ADMIN, help="default: %(default)s")
        parser.add_argument("--namespace", default="", help="the only one it is good for; default: all")
        parser.add_argument("--days", type=float, help="how long it is valid; default: for ever")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        user = users.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(
                f"there is no user {options['user']!r}; create one with manage.py createsuperuser"
            )
        now = timezone.now()
        days = options["days"]
        if days is not None and not 0 < days <= 36_500:
            raise CommandError("--days: expected a number from 0 to 36500")
        try:
            _token, secret = tokens.issue(
                user=user,
                name=options["name"] or f"command line {now:%Y-%m-%d %H:%M:%S.%f}",
                scope=options["scope"],
                namespace=options["namespace"],
                expires_at=None if days is None else now + timedelta(days=days),
                by=COMMAND_LINE,
            )
        except NameTaken as error:
            raise CommandError(str(error)) from error
        self.stdout.write(secret)
