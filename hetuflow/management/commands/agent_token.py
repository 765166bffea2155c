"""`manage.py agent_token NAME`"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from access.actors import COMMAND_LINE
from agents.tokens import issue_agent_token


class Command(BaseCommand):
    help = "Print the id and a new token of the agent NAME, created where it is missing, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        agent, token = issue_agent_token(name=options["name"], by=COMMAND_LINE)
        self.stdout.write(json.dumps({"agent_id": str(agent.pk), "token": token}))
