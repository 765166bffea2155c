"""How often one caller may ask. DRF asks these once for a request, when it knows who asks and that they may.

DRF loads this module with its settings, so it must import nothing that needs them.
"""

from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from access.addresses import caller_at
from access.callers import address_of
from access.throttling import Rate
from rest.permissions import caller_key

A_MINUTE: Final = timedelta(minutes=1)


class ByCaller(BaseThrottle):
    """Requests of one caller in a minute, where HETUFLOW_API_RATE limits them; others count by address."""

    def allow_request(self, request: Request, view: Any) -> bool:
        times = settings.HETUFLOW_API_RATE
        if times:
            is_known = bool(request.user and request.user.is_authenticated)
            caller = caller_key(request) if is_known else f"address {caller_at(address_of(request))}"
            Rate("api", times=times, period=A_MINUTE).take(caller)
        return True


class ByAddress(BaseThrottle):
    """Requests from one address that do something; for paths that are open to all."""

    rate: ClassVar[Rate]

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.method == "POST":
            self.rate.take(caller_at(address_of(request)))
        return True
