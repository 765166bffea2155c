"""The filter panel of lists: a row for each field of the query table, as the parameters now stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from rest import kinds
from rest.kinds import BadValue
from rest.querying import DEFAULT_LIMIT, Field, QueryTable

LIMITS: Final = (20, 50, 100, 500)
# Every operator with the words for it; those that take no value carry it in themselves.
_WORDS: Final = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
    "contains": "contains",
    "icontains": "contains, in any case",
    "startswith": "starts with",
    "endswith": "ends with",
    "is_null=true": "is empty",
    "is_null=false": "is not empty",
}
# What the rows of a field begin with where no condition is set; of times there are two, for a range.
_BEGINNINGS: Final = {"instant": ("gte", "lt"), "text": ("contains",)}

_HINTS: Final = {"labels": "env=prod,zone=a", "tags": "nightly,database"}


@dataclass(frozen=True, slots=True)
class Row:
    """One field: how it is entered, which operators there are, and what is chosen."""

    name: str
    entry: str
    operators: tuple[tuple[str, str], ...]
    operator: str
    choices: tuple[str, ...]
    hint: str
    values: tuple[str, ...]

    @property
    def value(self) -> str:
        """What the field of the form holds; times there have no offset and are UTC."""
        if self.entry != "instant" or not self.values:
            return ",".join(self.values)
        try:
            return f"{kinds.read_instant(self.values[0]):%Y-%m-%dT%H:%M:%S}"
        except BadValue:
            return ""

    @property
    def takes_many(self) -> bool:
        return self.operator in ("in", "not_in")


@dataclass(frozen=True, slots=True)
class Panel:
    """The whole panel; `active` counts the filters that are set."""

    rows: tuple[Row, ...]
    orders: tuple[tuple[str, str], ...]
    order: str
    limit: str
    active: int


def panel_of(table: QueryTable, params: QueryDict) -> Panel:
    """Return the panel for a list with these parameters, be they sound or not."""
    rows = tuple(_rows(table, params))
    orders = [
        (f"{sign}{key}", f"{key} {arrow}")
        for key in table.sort_keys
        for sign, arrow in (("", "↑"), ("-", "↓"))
    ]
    return Panel(
        rows=rows,
        orders=tuple(orders),
        order=params.get("order_by", ""),
        limit=params.get("limit", str(DEFAULT_LIMIT)),
        active=sum(bool(row.values) or row.operator.startswith("is_null") for row in rows),
    )


def _rows(table: QueryTable, params: QueryDict) -> Iterator[Row]:
    """Yield a row for each condition that is set, and one for each field without any."""
    for name, field in table.fields.items():
        keys = [key for key in params if key.partition("__")[0] == name]
        operators = {key.partition("__")[2] or _first(field): str(params[key]) for key in keys}
        beginnings = () if field.lookup else _BEGINNINGS.get(field.kind.name, ())
        for operator in beginnings if len(beginnings) > 1 or not operators else ():
            operators.setdefault(operator, "")
        for operator, value in (operators or {_first(field): ""}).items():
            yield _row(name, field, operator, value)


def _row(name: str, field: Field, operator: str, value: str) -> Row:
    operators = tuple((key, words) for key, words in _WORDS.items() if key.split("=")[0] in _offered(field))
    known = [key for key, _words in operators]
    if operator == "is_null":
        operator, value = f"is_null={value.lower()}", ""
    elif operator not in known:
        operator = known[0]
    values = tuple(value.split(",")) if operator in ("in", "not_in") else (value,) if value else ()
    return Row(
        name=name,
        entry=_entry(field),
        operators=operators,
        operator=operator,
        choices=_choices(field),
        hint=_HINTS.get(field.kind.name, ""),
        values=tuple(one for one in values if one),
    )


def _offered(field: Field) -> frozenset[str]:
    """Return the operators that a person would choose from."""
    match field.kind.name:
        case "choice":
            return field.operators & {"eq", "ne", "in", "not_in", "is_null"}
        case "boolean":
            return field.operators & {"eq", "is_null"}
        case "instant":
            return field.operators & {"gte", "lt", "is_null", "eq"}
        case "uuid":
            return field.operators & {"eq", "ne", "in", "is_null"}
    return field.operators


def _first(field: Field) -> str:
    return "contains" if field.kind in (kinds.LABELS, kinds.TAGS) else "eq"


def _choices(field: Field) -> tuple[str, ...]:
    if field.kind is kinds.BOOLEAN:
        return ("true", "false")
    return tuple(field.kind.schema.get("enum", ()))


def _entry(field: Field) -> str:
    """Return how a value is entered: from a list, as a time, or as text."""
    if _choices(field):
        return "choice"
    return "instant" if field.kind is kinds.INSTANT else "text"


def page_links(params: QueryDict, page: Mapping[str, Any]) -> dict[str, str]:
    """Return the query strings of the previous and the next page, as far as there are; filters stay."""
    limit = page["limit"]
    counts_entries = params.get("offset", "").isdigit()
    begin = int(str(params["offset"])) if counts_entries else (page["page"] - 1) * limit
    targets = {}
    if begin > 0:
        targets["previous"] = max(begin - limit, 0)
    if page["has_more"]:
        targets["next"] = begin + limit
    links = {}
    for name, target in targets.items():
        wanted = params.copy()
        if counts_entries:
            wanted["offset"] = str(target)
        else:
            wanted["page"] = str(target // limit + 1)
        links[name] = f"?{wanted.urlencode()}"
    return links
