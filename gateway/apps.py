"""The gateway as a Django application."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.translation import gettext_lazy as _

from gateway.database_meter import watch_connection


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = _("Gateway")

    def ready(self) -> None:
        """Measure what this process asks of its database."""
        connection_created.connect(watch_connection, dispatch_uid="database meter")
