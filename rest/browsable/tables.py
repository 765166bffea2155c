"""Lists as tables: a column for each field with a plain value, ids lead on, headers order."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from rest.browsable.links import Linker
from rest.controls import visible

MAX_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `link` orders by it, empty where it cannot, and `arrow` shows how it is ordered now."""

    name: str
    link: str
    arrow: str


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    link: str


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table_of(
    entries: Sequence[Any], *, linker: Linker, params: QueryDict, sort_keys: Collection[str]
) -> Table | None:
    """Return entries as a table, None where they are not objects."""
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        return None
    names = [
        name for name in entries[0] if not any(isinstance(entry[name], dict | list) for entry in entries)
    ]
    return Table(
        columns=tuple(_column(name, params, sort_keys) for name in names),
        rows=tuple(tuple(_cell(name, entry, linker) for name in names) for entry in entries),
    )


def _column(name: str, params: QueryDict, sort_keys: Collection[str]) -> Column:
    if name not in sort_keys:
        return Column(name, "", "")
    order = params.get("order_by", "")
    wanted = params.copy()
    wanted["order_by"] = f"-{name}" if order == name else name
    wanted.pop("page", None)
    arrow = {name: "↑", f"-{name}": "↓"}.get(order, "")
    return Column(name, f"?{wanted.urlencode()}", arrow)


def _cell(name: str, entry: Mapping[str, Any], linker: Linker) -> Cell:
    value = entry[name]
    if value is None:
        return Cell("", "")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    short = text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"
    return Cell(visible(short), linker.target(name, value))
