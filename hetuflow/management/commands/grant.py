"""`manage.py grant ROLE --group GROUP`"""

from typing import Any, Final

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from access import grants
from access.actors import COMMAND_LINE
from access.roles import EVERYWHERE, Role

NONE: Final = "none"


class Command(BaseCommand):
    help = "Give the members of a group a role in a namespace, or take it away."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=[*Role.values, NONE])
        parser.add_argument("--group", required=True, help="made where it is missing")
        parser.add_argument("--namespace", default=EVERYWHERE, help="default: %(default)s, all of them")
        parser.add_argument("--user", action="append", default=[], help="put into the group; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        group_name, namespace, role = options["group"], options["namespace"], options["role"]
        for name, value, limit in (("--group", group_name, 150), ("--namespace", namespace, 255)):
            if not 0 < len(value) <= limit:
                raise CommandError(f"{name}: expected 1 to {limit} characters")
        users = list(User.objects.filter(username__in=options["user"]))
        missing = sorted(set(options["user"]) - {user.username for user in users})
        if missing:
            raise CommandError(
                f"there is no user {missing[0]!r}; create one in the admin, or with manage.py createsuperuser"
            )
        with transaction.atomic():
            group = grants.get_or_create_group(name=group_name, by=COMMAND_LINE)
            for user in users:
                grants.add_member(group=group, user=user, by=COMMAND_LINE)
            grants.set_role(
                group=group, namespace=namespace, role=None if role == NONE else role, by=COMMAND_LINE
            )
