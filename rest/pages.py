"""Answers with many rows: a page of a query, or a bare array, in a bounded number of statements."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet
from rest_framework.response import Response

from rest.querying import Query

MAX_ARRAY: Final = 1000
# Counting is linear in what is counted; beyond this the planner's estimate has to do.
EXACT_COUNT_UP_TO: Final = 10_000
# So much more than that, and no estimate errs so far that counting would find fewer.
SURELY_MORE: Final = 20 * EXACT_COUNT_UP_TO
# In the planner's units: several times what counting so many rows of an index takes.
MAX_COUNT_COST: Final = 2_000.0
# From here on rows are passed over by their index, and only those of the page are read.
DEEP_OFFSET: Final = 1000
TOTAL_HEADER: Final = "X-Total-Count"

Serialize = Callable[[Sequence[Any]], list[Any]]


def page_result(queryset: QuerySet[Any], query: Query, serialize: Serialize) -> dict[str, Any]:
    """Return the PageResult of `query`: one statement for the rows and at most two for their total."""
    matching = queryset.filter(query.condition)
    begin, end = query.offset, query.offset + query.limit
    wanted = matching.order_by(*query.order_by)
    if begin >= DEEP_OFFSET:
        page_of_ids = wanted.values("pk")[begin : end + 1]
        rows = list(queryset.filter(pk__in=page_of_ids).order_by(*query.order_by))
    else:
        rows = list(wanted[begin : end + 1])
    has_more = len(rows) > query.limit
    rows = rows[: query.limit]
    is_last = not has_more and (rows or begin == 0)
    total = begin + len(rows) if is_last else total_of(matching.values("pk"))
    if has_more:
        total = max(total, end + 1)
    page = {"total": total, "page": query.page, "limit": query.limit, "has_more": has_more}
    return {"page": page, "data": serialize(rows)}


def array_response(
    queryset: QuerySet[Any], serialize: Serialize, *, counted: QuerySet[Any] | None = None
) -> Response:
    """Answer the first rows of an ordered queryset as a bare array, their total in a header.

    The total is that of `counted` where `queryset` is the beginning of it.
    """
    rows = list(queryset[: MAX_ARRAY + 1])
    total = len(rows)
    if total > MAX_ARRAY:
        total = max(total, total_of(queryset.values("pk") if counted is None else counted))
    return Response(serialize(rows[:MAX_ARRAY]), headers={TOTAL_HEADER: str(total)})


def total_of(queryset: QuerySet[Any]) -> int:
    """Return how many rows there are: exactly up to EXACT_COUNT_UP_TO, where that can be counted at once.

    The planner is asked first, and answers for what are surely more rows and for what takes long to count.
    """
    few = queryset.order_by()[: EXACT_COUNT_UP_TO + 1]
    try:
        sql, parameters = few.query.sql_with_params()
    except EmptyResultSet:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        plan = cursor.fetchone()[0][0]["Plan"]
        limited = plan["Plans"][0] if plan["Node Type"] == "Limit" else plan
        expected = int(limited["Plan Rows"])
        if expected > SURELY_MORE or plan["Total Cost"] > MAX_COUNT_COST:
            return expected
        cursor.execute(f"SELECT count(*) FROM ({sql}) few", parameters)  # noqa: S608 (the ORM's own)
        counted = int(cursor.fetchone()[0])
    return counted if counted <= EXACT_COUNT_UP_TO else max(counted, expected)
