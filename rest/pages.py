"""Answers with many rows: a page of a query, or a bare array, in a bounded number of statements."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db.models import Model, QuerySet
from rest_framework.response import Response

from rest.querying import Query

MAX_ARRAY: Final = 1000
# Counting is linear in what is counted; beyond this the planner's estimate has to do.
EXACT_COUNT_UP_TO: Final = 100_000
TOTAL_HEADER: Final = "X-Total-Count"

Serialize = Callable[[Sequence[Any]], list[Any]]


def page_result(queryset: QuerySet[Any], query: Query, serialize: Serialize) -> dict[str, Any]:
    """Return the PageResult of `query`: one statement for the rows and at most two for their total."""
    matching = queryset.filter(query.condition)
    begin, end = query.offset, query.offset + query.limit
    rows = list(matching.order_by(*query.order_by)[begin : end + 1])
    has_more = len(rows) > query.limit
    rows = rows[: query.limit]
    is_last = not has_more and (rows or begin == 0)
    total = begin + len(rows) if is_last else bounded_count(matching)
    if has_more:
        total = max(total, end + 1)
    page = {"total": total, "page": query.page, "limit": query.limit, "has_more": has_more}
    return {"page": page, "data": serialize(rows)}


def array_response(queryset: QuerySet[Any], serialize: Serialize) -> Response:
    """Answer the first rows of an ordered queryset as a bare array, their total in a header."""
    rows = list(queryset[: MAX_ARRAY + 1])
    total = len(rows) if len(rows) <= MAX_ARRAY else bounded_count(queryset)
    return Response(serialize(rows[:MAX_ARRAY]), headers={TOTAL_HEADER: str(total)})


def bounded_count(queryset: QuerySet[Model]) -> int:
    """Return how many rows there are, counted up to EXACT_COUNT_UP_TO and estimated beyond."""
    unordered = queryset.order_by()
    counted = unordered[: EXACT_COUNT_UP_TO + 1].count()
    if counted <= EXACT_COUNT_UP_TO:
        return counted
    plan = json.loads(unordered.explain(format="json"))
    return max(counted, int(plan[0]["Plan"]["Plan Rows"]))
