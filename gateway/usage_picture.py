"""What machines did over time as small pictures: points of lines in the units of an SVG. Reads nothing."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agents.samples import Usage
from scheduling.admin import words

_SPARK: Final = (72, 18)
_HEIGHT: Final = 100
# A slot of the chart, in the units of its picture.
_SLOT: Final = 10
_TICKS: Final = 6


def spark(name: str, values: Sequence[float | None], *, now: float | None) -> SafeString:
    """Return a line of percentages with its name before and the present number behind it."""
    known = [value for value in values if value is not None]
    number = words.MISSING if now is None else f"{now:.0f} %"
    told = _("%(name)s: now %(now)s") % {"name": name, "now": number}
    if known:
        told = _("%(told)s, at most %(most)s %%") % {"told": told, "most": f"{max(known):.0f}"}
    width, height = _SPARK
    lines = _lines(values, step=width / max(len(values) - 1, 1), height=height)
    return format_html(
        '<span class="hf-spark"><span aria-hidden="true">{}</span>'
        '<svg viewBox="0 -1 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
        '<b class="hf-exact">{}</b></span>',
        name,
        width,
        height + 2,
        told,
        told,
        format_html_join("", '<polyline points="{}"></polyline>', ((line,) for line in lines)),
        number,
    )


def usage_chart(
    usage: Sequence[Usage | None], *, begin: datetime, end: datetime, slots: int
) -> dict[str, Any]:
    """Return the context of a picture of usages and of what ran, of which `slots` are the whole height."""
    step = (end - begin) / len(usage)
    most = max([slots, *(each.running for each in usage if each is not None)], default=0) or 1
    columns = []
    for number, each in enumerate(usage):
        height = 0.0 if each is None else _HEIGHT * each.running / most
        columns.append(
            {
                "x": number * _SLOT,
                "y": f"{_HEIGHT - height:.2f}",
                "height": f"{height:.2f}",
                "title": _told(each, begin + number * step),
            }
        )
    known = [each for each in usage if each is not None]
    return {
        "width": len(usage) * _SLOT,
        "columns": columns,
        "cpu": _lines((each and each.cpu for each in usage), step=_SLOT, height=_HEIGHT),
        "memory": _lines((each and each.memory for each in usage), step=_SLOT, height=_HEIGHT),
        "ticks": [_clock(begin + number * (end - begin) / _TICKS) for number in range(_TICKS + 1)],
        "rows": [column["title"] for column, each in zip(columns, usage, strict=True) if each is not None],
        "is_known": bool(known),
        "most_running": max((each.running for each in known), default=0),
    }


def _told(usage: Usage | None, at: datetime) -> str:
    if usage is None:
        return _("%(time)s: nothing known") % {"time": _clock(at)}
    return _("%(time)s: CPU %(cpu)s, RAM %(memory)s, at most %(running)s at once") % {
        "time": _clock(at),
        "cpu": _percent(usage.cpu),
        "memory": _percent(usage.memory),
        "running": usage.running,
    }


def _clock(at: datetime) -> str:
    return f"{timezone.localtime(at):%H:%M}"


def _percent(value: float | None) -> str:
    return words.MISSING if value is None else f"{value:.0f} %"


def _lines(values: Iterable[float | None], *, step: float, height: float) -> list[str]:
    """Return the points of a line for each stretch without a gap; one value alone is a short line."""
    lines: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            lines.append([])
        else:
            lines[-1].append((number * step, height * (1 - value / 100)))
    for line in lines:
        if len(line) == 1:
            line.append((line[0][0] + step / 2, line[0][1]))
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in line) for line in lines if line]
