"""What ids in answers lead to, and JSON as HTML in which they do."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from rest.browsable.routes import ROOT, entry_route
from rest.controls import printable_json

_INDENT: Final = "  "
_ID: Final = re.compile(r"[0-9]{1,19}|[0-9a-fA-F-]{36}")


@dataclass(frozen=True, slots=True)
class Linker:
    """Knows where ids lead: `own` is the path of the list whose entries are shown, or empty.

    Addresses that begin with `base` lead on, too.
    """

    own: str
    base: str

    def target(self, key: str, value: Any) -> str:
        """Return the path of what a value names, empty where it names nothing."""
        if isinstance(value, bool) or not isinstance(value, int | str) or not _ID.fullmatch(str(value)):
            return ""
        if key == "id":
            return f"{self.own}/{value}" if self.own else ""
        if not key.endswith("_id"):
            return ""
        entry = entry_route(f"{ROOT}/{key.removesuffix('_id').replace('_', '-')}s")
        return entry.url({"pk": value}) if entry is not None and "GET" in entry.actions else ""

    def within(self) -> "Linker":
        """Return who links nested objects, which have ids of their own kind."""
        return Linker(own="", base=self.base)


def json_html(value: Any, linker: Linker) -> SafeString:
    """Return JSON with links."""
    return mark_safe("".join(_pieces(value, "", linker)))  # noqa: S308 (every piece is escaped)


def _pieces(value: Any, indent: str, linker: Linker) -> Iterable[str]:
    inner = indent + _INDENT
    if isinstance(value, dict) and value:
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f"{',' if number else ''}\n{inner}<b>{escape(json.dumps(key))}</b>: "
            target = linker.target(key, item)
            below = linker if key == "data" else linker.within()  # the entries of a page
            yield from _linked(item, target) if target else _pieces(item, inner, below)
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value:
        yield "["
        for number, item in enumerate(value):
            yield f"{',' if number else ''}\n{inner}"
            yield from _pieces(item, inner, linker)
        yield f"\n{indent}]"
    elif isinstance(value, str) and value.startswith(linker.base):
        yield from _linked(value, value)
    else:
        text = _json(value)
        yield f"<i>{text}</i>" if isinstance(value, str) else text


def _linked(value: Any, target: str) -> Iterable[str]:
    yield f'<a href="{escape(target)}">{_json(value)}</a>'


def _json(value: Any) -> str:
    return escape(printable_json(value))
