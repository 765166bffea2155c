"""What is typed above a list: parts of names, and `zone=eu`, `label:zone`, `label:eu` and `tag:nightly`."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.lookups import DataContains
from django.db import connection, transaction
from django.db.models import F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Collate, Upper
from django.db.models.lookups import GreaterThanOrEqual, LessThan, Lookup
from django.http import HttpRequest
from django.utils.text import smart_split
from django.utils.translation import gettext as _

from scheduling.admin.permissions import seen_by
from scheduling.models import Job

if TYPE_CHECKING:
    from scheduling.admin.permissions import PermittedAdmin as _Base

    _Lookup = Lookup[bool]
else:
    _Base, _Lookup = object, Lookup

# The fields of the indexes of parts, in their order.
AGENT_PARTS: Final = ("name", "hostname", "address")
JOB_PARTS: Final = ("name", "namespace", "description")
CALENDAR_PARTS: Final = JOB_PARTS
# Rows of another list are found by the ids of so many jobs or agents.
_MATCHING: Final = 2000
# As in the migration that makes the function.
_PART_CHARS: Final = 3
_PARTS: Final = ArrayField(TextField())
_LABEL: Final = "label:"
_TAG: Final = "tag:"
_QUOTES: Final = "\"'"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched for: words, labels by name and value, those of which one is known, and tags."""

    words: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    halves: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """The words as one text."""
        return " ".join(self.words)

    @property
    def has_labels(self) -> bool:
        """Whether labels are asked for."""
        return bool(self.pairs or self.halves)

    def labels_at(self, path: str) -> Q:
        """Return the condition that the labels at an ORM path are among others those that are asked for."""
        found = Q()
        for name, value in self.pairs:
            found &= Q(**{f"{path}__contains": {name: value}})
        for half in self.halves:
            found &= Q(**{f"{path}__has_key": half}) | Q(_HasValue(F(path), half))
        return found

    def tags_at(self, path: str) -> Q:
        """Return the condition that the tags at an ORM path are among others those that are asked for."""
        return Q(**{f"{path}__contains": list(self.tags)}) if self.tags else Q()


def read_search(term: str) -> Asked:
    """Return what is meant by what was typed; what stands in quotes is one word."""
    words: list[str] = []
    pairs: list[tuple[str, str]] = []
    halves: list[str] = []
    tags: list[str] = []
    for bit in smart_split(term):
        name, is_pair, value = bit.removeprefix(_LABEL).partition("=")
        if bit.startswith(_TAG) and bit != _TAG:
            tags.append(_unquoted(bit.removeprefix(_TAG)))
        elif is_pair and name and name[0] not in _QUOTES:
            pairs.append((name, _unquoted(value)))
        elif bit.startswith(_LABEL) and bit != _LABEL:
            halves.append(_unquoted(bit.removeprefix(_LABEL)))
        else:
            words.append(_unquoted(bit))
    return Asked(words=tuple(words), pairs=tuple(pairs), halves=tuple(halves), tags=tuple(tags))


class FindsParts(_Base):
    """A list that is searched by parts of what `parts` hold: the fields of the model's index of parts.

    Each word has to be in one of them. It takes as long among a million rows as among a few; of very many
    that match some are found, which is said.
    """

    parts: ClassVar[Sequence[str]]

    def labelled(self, rows: QuerySet[Any], asked: Asked) -> QuerySet[Any]:
        """Return those of `rows` that have the labels and tags that are asked for; here they have none."""
        return rows.none() if asked.has_labels or asked.tags else rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        asked = read_search(search_term)
        labelled = self.labelled(queryset, asked)
        if not asked.words:
            return labelled, False
        found = some_ids(request, labelled.filter(have_parts(self.parts, asked.words)))
        return queryset.filter(pk__in=found), False


def have_parts(fields: Sequence[str], words: Iterable[str], *, within: Sequence[str] = ()) -> Q:
    """Return the condition that each word is a part of one of the fields, by the index of their parts.

    Without words nothing is found; `within` names some of the fields if it must not be in the others.
    """
    condition = Q() if words else Q(pk__in=())
    for word in words:
        condition &= Q(DataContains(_parts(fields), Value(_least_parts(word), output_field=_PARTS)))
        condition &= Q.create([(f"{name}__icontains", word) for name in within or fields], connector=Q.OR)
    return condition


def jobs_named(words: Iterable[str]) -> QuerySet[Job]:
    """Return the jobs whose names hold each of the words."""
    return Job.objects.filter(have_parts(JOB_PARTS, words, within=("name",)))


def jobs_asked(asked: Asked) -> QuerySet[Job]:
    """Return the jobs that have the tags, and ask for the labels, that are searched for."""
    return Job.objects.filter(asked.labels_at("route__labels"), asked.tags_at("tags"))


def begins_with(text: str) -> Q:
    """Return the condition that a schedule's name begins with a text, in small or capital letters."""
    name, first = Collate(Upper("name"), "C"), text.upper()
    is_between = Q(GreaterThanOrEqual(name, first)) & Q(LessThan(name, first + chr(sys.maxunicode)))
    return ~Q(name="") & is_between


def some_ids(request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
    """Return the ids of those of `rows` that the user sees; of very many some, which is said on the page."""
    some = seen_by(request, rows).order_by().values_list("pk", flat=True)[: _MATCHING + 1]
    with transaction.atomic(), connection.cursor() as cursor:
        # With less, rows that an index found are looked at once more, which takes longer than all the rest.
        cursor.execute("SET LOCAL work_mem = '32MB'")
        ids = list(some)
    is_page = request.resolver_match is None or request.resolver_match.url_name != "autocomplete"
    if len(ids) > _MATCHING and is_page:
        text = _("More than %(n)d %(things)s match: some of them count here. Search for more of the name.")
        things = rows.model._meta.verbose_name_plural
        messages.warning(request, text % {"n": _MATCHING, "things": things})
    return ids[:_MATCHING]


class _HasValue(_Lookup):
    """Whether an object of JSON has this text as a value; an index of the default kind helps."""

    lookup_name = "has_value"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        return "%s", (f"$.* ? (@ == {json.dumps(value)})",)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} @? {right}::jsonpath", (*left_params, *right_params)


def _parts(fields: Sequence[str]) -> Func:
    return Func(*fields, function="hetuflow_parts", output_field=_PARTS)


def _least_parts(word: str) -> list[str]:
    """Return the longest parts of a word that the index has: they imply all shorter ones."""
    lowered = word.lower()
    size = min(len(lowered), _PART_CHARS)
    return sorted({lowered[begin : begin + size] for begin in range(len(lowered) - size + 1)})


def _unquoted(word: str) -> str:
    is_quoted = len(word) > 1 and word[0] == word[-1] and word[0] in _QUOTES
    return word[1:-1] if is_quoted else word
