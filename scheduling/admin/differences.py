"""What differs between two states of an object, field by field; of long texts, line by line. Pure."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from rest.controls import visible

# Longer texts are not compared line by line: that may take time that grows with the square of their length.
_MAX_LINES: Final = 2000
# Fields whose parts are told one by one.
_MAPPINGS: Final = frozenset({"config", "environment"})
_HIDDEN: Final = "•••"
_SIGNS: Final = {"+": "added", "-": "removed", " ": "same", "@": "place"}

Row = dict[str, Any]


def rows_of(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    shows_environment: bool,
) -> list[Row]:
    """Return a row for each field that differs, and for each part of a configuration or an environment.

    Of variables of the environment only the names are told, unless their values may be shown.
    """
    rows = []
    for name in sorted(
        {*before, *after}, key=lambda name: list(labels).index(name) if name in labels else 999
    ):
        old, new = before.get(name), after.get(name)
        if name in _MAPPINGS:
            hides = name == "environment" and not shows_environment
            rows += list(_rows_of_parts(name, old or {}, new or {}, labels=labels, hides=hides))
        elif old != new:
            rows.append(_row(labels.get(name, name), old, new))
    return rows


def _rows_of_parts(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], *, labels: Mapping[str, str], hides: bool
) -> Iterator[Row]:
    for part in sorted({*old, *new}):
        if old.get(part) == new.get(part) and (part in old) == (part in new):
            continue
        label = labels.get(part, part) if name == "config" else visible(f"{labels.get(name, name)}: {part}")
        if hides:
            shown = [_HIDDEN if part in side else "–" for side in (old, new)]
            yield {"label": label, "before": shown[0], "after": shown[1]}
        else:
            yield _row(label, old.get(part), new.get(part))


def _row(label: str, old: Any, new: Any) -> Row:
    texts = [_text(old), _text(new)]
    if any("\n" in text for text in texts):
        lines = _lines(*texts)
        if lines is not None:
            return {"label": label, "lines": lines}
        count = {"n": texts[0].count("\n") + 1, "m": texts[1].count("\n") + 1}
        return {"label": label, "note": _("too long to compare: %(n)s lines, then %(m)s") % count}
    return {"label": label, "before": texts[0] or "–", "after": texts[1] or "–"}


def _text(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, str):
        return visible(value)
    # Short lists read better on one line.
    text = json.dumps(value, ensure_ascii=False)
    return visible(
        text if len(text) <= 60 else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    )


def _lines(old: str, new: str) -> list[dict[str, str]] | None:
    """Return the lines around what changed, each with what became of it; None for texts that are too long."""
    olds, news = old.splitlines(), new.splitlines()
    if len(olds) + len(news) > _MAX_LINES:
        return None
    # The first two name files, which there are none of.
    found = list(difflib.unified_diff(olds, news, n=3, lineterm=""))[2:]
    return [
        {
            "kind": _SIGNS[line[0]],
            "sign": {"+": "+", "-": "−", " ": "", "@": ""}[line[0]],
            "text": "…" if line[0] == "@" else line[1:],
        }
        for number, line in enumerate(found)
        # The first place needs no telling where it is the beginning.
        if not (number == 0 and line.startswith(("@@ -0,", "@@ -1,", "@@ -1 ")))
    ]
