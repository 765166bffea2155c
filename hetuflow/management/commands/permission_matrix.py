"""`manage.py permission_matrix`"""

from typing import Any

from django.core.management.base import BaseCommand

from hetuflow.permission_matrix import as_markdown


class Command(BaseCommand):
    help = "Print which permission, role and scope every REST path needs, as Markdown."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(as_markdown(), ending="")
