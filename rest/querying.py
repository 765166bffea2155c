"""Queries as data: one table of fields for each resource serves `POST …/query` and the GET lists alike."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Q
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from rest import kinds
from rest.kinds import BadValue, Kind

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 500
MAX_OFFSET: Final = 10**9
MAX_ORDER_KEYS: Final = 8

_LOOKUPS: Final = {
    "eq": "exact",
    "ne": "exact",
    "in": "in",
    "not_in": "in",
    "is_null": "isnull",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "contains": "contains",
    "icontains": "icontains",
    "startswith": "startswith",
    "endswith": "endswith",
}
_NEGATED: Final = frozenset({"ne", "not_in"})
_LIMITING: Final = frozenset({"gt", "gte", "lt", "lte"})
_PARTIAL: Final = frozenset({"contains", "icontains", "startswith", "endswith"})
_CONTAINERS: Final = (kinds.LABELS, kinds.TAGS)
# How the browsable API and content negotiation use the query string.
_RESERVED_PARAMS: Final = frozenset({"format"})


@dataclass(frozen=True, slots=True)
class Field:
    """What a query may say about one field; `column` is its ORM path where that is another name.

    A field with a `lookup` is a condition in itself, such as `since`, and takes a value but no operators.
    """

    kind: Kind
    column: str = ""
    lookup: str = ""

    @property
    def operators(self) -> frozenset[str]:
        return frozenset({"eq"}) if self.lookup else self.kind.operators

    @property
    def is_sortable(self) -> bool:
        return not self.lookup and self.kind not in _CONTAINERS


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was read and found sound."""

    condition: Q
    order_by: tuple[str, ...]
    limit: int
    offset: int

    @property
    def page(self) -> int:
        return self.offset // self.limit + 1


@dataclass(slots=True)
class _Problems:
    """One message for each place where a query is wrong."""

    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, where: str, message: str) -> None:
        self.found[where].append(message)

    def raise_any(self) -> None:
        if self.found:
            raise ValidationError(dict(self.found))


class QueryTable:
    """The fields of one resource that queries may use; newest first unless `default_order` says otherwise.

    `key` is the column that makes an order total. `times` have indexes: a query that limits one of them and
    states no order gets the newest by that time, or it would pass over all that is newer.
    """

    def __init__(
        self,
        fields: Mapping[str, Field | Kind],
        *,
        default_order: tuple[str, ...] = ("-id",),
        key: str = "id",
        times: tuple[str, ...] = (),
    ):
        self.key = key
        self.times = times
        self.fields: dict[str, Field] = {
            name: entry if isinstance(entry, Field) else Field(entry) for name, entry in fields.items()
        }
        self.default_order = default_order
        self.sort_keys = tuple(name for name, entry in self.fields.items() if entry.is_sortable)

    def read_body(self, body: Any) -> Query:
        """Return the query that a body `{"filter", "page"}` states; raise ValidationError."""
        problems = _Problems()
        if not isinstance(body, Mapping):
            raise ValidationError('expected an object such as {"filter": {}, "page": {"limit": 20}}')
        for name in sorted(set(body) - {"filter", "page"}):
            problems.add(name, "unknown field; expected filter, page")
        condition = self._read_filter(body.get("filter"), problems)
        default_order = self._default_order(_limited_by(body.get("filter")))
        order_by, limit, offset = self._read_page(body.get("page"), problems, default_order)
        problems.raise_any()
        return Query(condition=condition, order_by=order_by, limit=limit, offset=offset)

    def read_params(self, params: QueryDict) -> Query:
        """Return the query that the parameters of a GET state; raise ValidationError."""
        problems = _Problems()
        condition = Q()
        page: dict[str, Any] = {}
        for key in params:
            values = params.getlist(key)
            if key in ("page", "limit", "offset"):
                page[key] = _whole_number(values[-1])
            elif key == "order_by":
                page["order_bys"] = [name for value in values if value for name in value.split(",")]
            elif key not in _RESERVED_PARAMS:
                condition &= self._read_param(key, values, problems)
        limited = {key.partition("__")[0] for key in params if key.partition("__")[2] in _LIMITING}
        default_order = self._default_order(limited)
        order_by, limit, offset = self._read_page(page, problems, default_order, prefix="")
        problems.raise_any()
        return Query(condition=condition, order_by=order_by, limit=limit, offset=offset)

    def _read_filter(self, raw: Any, problems: _Problems) -> Q:
        condition = Q()
        if raw is None:
            return condition
        if not isinstance(raw, Mapping):
            problems.add("filter", 'expected an object such as {"status": "enabled"}')
            return condition
        for name, value in raw.items():
            entry = self.fields.get(name)
            if entry is None:
                problems.add(f"filter.{name}", f"unknown field; expected one of {', '.join(self.fields)}")
            elif entry.kind is kinds.LABELS or entry.lookup or not isinstance(value, Mapping):
                operator = "contains" if entry.kind in _CONTAINERS else "eq"
                condition &= self._compare(f"filter.{name}", name, operator, value, problems)
            else:
                for operator, operand in value.items():
                    where = f"filter.{name}.{operator}"
                    condition &= self._compare(where, name, operator, operand, problems)
        return condition

    def _read_param(self, key: str, values: list[str], problems: _Problems) -> Q:
        name, separator, operator = key.partition("__")
        entry = self.fields.get(name)
        if entry is None or (separator and not operator):
            problems.add(key, f"unknown parameter; filters are {', '.join(self.fields)}")
            return Q()
        operator = operator or ("contains" if entry.kind in _CONTAINERS else "eq")
        condition = Q()
        for value in values:
            operand: Any = value
            if operator in ("in", "not_in"):
                operand = value.split(",")
            condition &= self._compare(key, name, operator, operand, problems, is_text=True)
        return condition

    def _compare(
        self,
        where: str,
        name: str,
        operator: str,
        operand: Any,
        problems: _Problems,
        *,
        is_text: bool = False,
    ) -> Q:
        entry = self.fields[name]
        if operator not in entry.operators:
            allowed = ", ".join(sorted(entry.operators))
            problems.add(where, f"unknown operator for {name}; expected one of {allowed}")
            return Q()
        column = entry.column or name
        if operand is None and operator in ("eq", "ne") and not entry.lookup:
            return Q(**{f"{column}__isnull": operator == "eq"})
        try:
            value = _operand(entry.kind, operator, operand, is_text=is_text)
        except BadValue as error:
            problems.add(where, str(error))
            return Q()
        condition = Q(**{f"{column}__{entry.lookup or _LOOKUPS[operator]}": value})
        return ~condition if operator in _NEGATED else condition

    def _default_order(self, limited: Collection[str]) -> tuple[str, ...]:
        """Return the order of a query that states none and limits these fields."""
        time = next((name for name in self.times if name in limited), None)
        return self.default_order if time is None else (f"-{time}", f"-{self.key}")

    def _read_page(
        self, raw: Any, problems: _Problems, default_order: tuple[str, ...], *, prefix: str = "page."
    ) -> tuple[tuple[str, ...], int, int]:
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            problems.add("page", 'expected an object such as {"page": 1, "limit": 20}')
            raw = {}
        for name in sorted(set(raw) - {"page", "limit", "offset", "order_bys"}):
            problems.add(f"{prefix}{name}", "unknown field; expected page, limit, offset, order_bys")
        limit = _bounded(raw.get("limit"), f"{prefix}limit", problems, 1, MAX_LIMIT, default=DEFAULT_LIMIT)
        page = _bounded(raw.get("page"), f"{prefix}page", problems, 1, MAX_OFFSET // MAX_LIMIT, default=1)
        offset = _bounded(raw.get("offset"), f"{prefix}offset", problems, 0, MAX_OFFSET, default=-1)
        if offset >= 0 and raw.get("page") is not None:
            problems.add(f"{prefix}offset", "give either page or offset")
        keys = raw.get("order_bys")
        order_by = self._read_order(default_order if keys in (None, []) else keys, problems, prefix=prefix)
        return order_by, limit, offset if offset >= 0 else (page - 1) * limit

    def _read_order(self, raw: Any, problems: _Problems, *, prefix: str) -> tuple[str, ...]:
        where = f"{prefix}order_bys" if prefix else "order_by"
        if isinstance(raw, str):
            keys: Iterable[Any] = raw.split(",")
        elif isinstance(raw, list | tuple) and len(raw) <= MAX_ORDER_KEYS:
            keys = raw
        else:
            problems.add(where, f'expected a list of at most {MAX_ORDER_KEYS} keys such as ["-created_at"]')
            return ()
        columns: list[str] = []
        for key in keys:
            name = key.removeprefix("-") if isinstance(key, str) else None
            if name not in self.sort_keys:
                expected = ", ".join(self.sort_keys)
                problems.add(where, f"{str(key)[:80]!r} is no order key; expected one of {expected}")
                continue
            column = self.fields[name].column or name
            columns.append(f"-{column}" if key.startswith("-") else column)
        if self.key not in columns and f"-{self.key}" not in columns:
            columns.append(self.key)
        return tuple(columns)


def _limited_by(filters: Any) -> set[str]:
    """Return the names of fields that a filter sets bounds to."""
    given = filters.items() if isinstance(filters, Mapping) else ()
    return {name for name, value in given if isinstance(value, Mapping) and not _LIMITING.isdisjoint(value)}


def _operand(kind: Kind, operator: str, raw: Any, *, is_text: bool) -> Any:
    read = kind.read_text if is_text else kind.read
    if operator == "is_null":
        return kinds.BOOLEAN.read_text(raw) if is_text else kinds.BOOLEAN.read(raw)
    if operator in ("in", "not_in"):
        if not isinstance(raw, list) or len(raw) > kinds.MAX_LIST_ITEMS:
            raise BadValue(f"expected a list of at most {kinds.MAX_LIST_ITEMS} values")
        return [read(item) for item in raw]
    if operator in _PARTIAL and kind not in _CONTAINERS:
        return kinds.read_text(raw)
    return read(raw)


def _whole_number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _bounded(raw: Any, where: str, problems: _Problems, least: int, most: int, *, default: int) -> int:
    if raw is None:
        return default
    if type(raw) is not int or not least <= raw <= most:
        problems.add(where, f"expected a whole number from {least} to {most}")
        return default
    return raw
