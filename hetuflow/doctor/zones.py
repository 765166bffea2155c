"""Time zone data: those that stored instants were computed with, against this machine's."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

import tzdata

from hetuflow.doctor.report import Line, error, ok, warning
from scheduling.models import Schedule, ZoneData
from scheduling.services.zone_data import zone_digest

NAMED: Final = 10


def look_at_zones(now: datetime) -> Iterator[Line]:
    """Look for zones that this machine does not know, or knows otherwise than the schedulers."""
    used = Schedule.objects.filter(status="enabled").order_by().values_list("timezone", flat=True).distinct()
    zones = sorted(used)
    known = dict(ZoneData.objects.filter(zone__in=zones).values_list("zone", "digest"))
    lacking = [zone for zone in zones if not zone_digest(zone)]
    others = [
        zone for zone in zones if zone not in lacking and known.get(zone, "") not in ("", zone_digest(zone))
    ]
    if lacking:
        seen = f"unknown to this machine: {', '.join(lacking[:NAMED])}"
        yield error("zone data", seen, "install tzdata here: pip install -r requirements.txt", lacking)
    if others:
        yield warning(
            "zone data",
            f"other than those of the schedulers: {', '.join(others[:NAMED])}",
            "give all machines the same tzdata (the package of the system, else of requirements.txt), then "
            "restart the schedulers: they plan the zones anew",
            others,
        )
    if not lacking and not others:
        yield ok("zone data", f"{len(zones)} zones in use; the package tzdata here is {tzdata.IANA_VERSION}")


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [("zone data", look_at_zones)]
