"""What agents and attempts tell of themselves in figures, as words and units."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from rest.controls import visible
from scheduling.admin import words

_KNOWN: Final[Mapping[str, tuple[str | Promise, Callable[[float], str]]]] = {
    "cpu_time": (_("CPU time"), words.duration),
    "memory_peak": (_("Peak memory"), words.size),
    "disk_read": (_("Read from disk"), words.size),
    "disk_write": (_("Written to disk"), words.size),
    "cpu_usage": (_("CPU in use"), lambda percent: f"{percent:.0f} %"),
    "memory_usage": (_("Memory in use"), lambda percent: f"{percent:.0f} %"),
    "disk_usage": (_("Disk in use"), lambda percent: f"{percent:.0f} %"),
    "load_1m": (_("Load of the last minute"), lambda load: f"{load:.2f}"),
    "uptime": (_("Daemon runs for"), words.duration),
}


def figures(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was told as pairs of a name and a value; what nobody here knows stands as it was told."""
    known = [
        (str(label), say(told[name])) for name, (label, say) in _KNOWN.items() if _is_number(told.get(name))
    ]
    others = [(name, value) for name, value in told.items() if name not in _KNOWN or not _is_number(value)]
    return [
        *known,
        *((visible(name), visible(json.dumps(value, ensure_ascii=False))) for name, value in others),
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
