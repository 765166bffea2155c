"""Definitions as a text that people keep in their version control (pure): calendars, and jobs with schedules.

A file is YAML or JSON. It says `hetuflow: 1` and lists `calendars` and `jobs`, each with the fields of the
REST API but for ids: a schedule stands within its job and names its calendar, which is of the job's
namespace. What is not said has its default, so a file tells all that there is to a definition. YAML is read
as in version 1.2 (`18:00` and `on` are text), without what makes a small file large or deep.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml
from django.utils.translation import gettext as _
from jsonschema_rs import Draft202012Validator

from scheduling.definition_shapes import CALENDAR, JOB, Shape
from scheduling.library_words import library_words

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ENTRIES: Final = 50_000
MAX_PROBLEMS: Final = 20
VERSION: Final = 1
_MAX_DEPTH: Final = 32
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# As `json.dumps` writes it; behind an even number of other backslashes.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LISTS: Final[dict[str, tuple["Kind", Shape]]] = {"calendars": ("calendar", CALENDAR), "jobs": ("job", JOB)}

Kind = Literal["calendar", "job"]


class BadFile(ValueError):
    """The text is no file of definitions; each of `problems` says where and why."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition as a file has it; `name` tells it apart from the others of its kind."""

    kind: Kind
    name: str
    document: Mapping[str, Any]


def read(data: bytes) -> list[Entry]:
    """Return what a file defines, calendars first; raise BadFile."""
    if len(data) > MAX_BYTES:
        raise BadFile([_("The file is larger than %(n)d MiB.") % {"n": MAX_BYTES // 2**20}])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile([_("Byte %(n)d is not UTF-8.") % {"n": error.start}]) from None
    whole = _parsed_json(text) if text.lstrip().startswith("{") else _parsed_yaml(text)
    return list(_entries(whole))


def write(calendars: Iterable[Mapping[str, Any]], jobs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the text of a file with these definitions, a piece for each."""
    yield f"hetuflow: {VERSION}\n"
    for title, documents in (("calendars", calendars), ("jobs", jobs)):
        is_first = True
        for document in documents:
            if is_first:
                yield f"\n{title}:\n"
            is_first = False
            yield written([document])


def written(value: Any) -> str:
    """Return a part of a file."""
    text: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)
    return text


# --- reading ----------------------------------------------------------------------------------------------


def _parsed_yaml(text: str) -> object:
    """Build what YAML says straight from its events, so that nothing is built that is refused."""
    building = _Building()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            building.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or ""
        raise BadFile([what if mark is None else _at_line(mark.line, what)]) from None
    except BadFile:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise BadFile([" ".join(str(error).split())[:300]]) from None
    return building.whole


@dataclass(slots=True)
class _Opened:
    """A collection that is being read; of a mapping, the name whose value comes next, None before a name."""

    collection: dict[str, Any] | list[Any]
    name: str | None = None

    @property
    def awaits_name(self) -> bool:
        return self.name is None and isinstance(self.collection, dict)

    def put(self, value: object) -> None:
        if isinstance(self.collection, list):
            self.collection.append(value)
        elif self.name is not None:
            self.collection[self.name] = value
            self.name = None


class _Building:
    """What was read of a document so far: the collections that are open, the innermost last."""

    def __init__(self) -> None:
        self.whole: object = None
        self._open: list[_Opened] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event; raise BadFile for what makes a small file large or deep, or is told twice."""
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, yaml.AliasEvent):
            raise _refused(event, _("references (*name) are not read"))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _refused(event, _("a file has one document"))

    def _begin(self, event: yaml.CollectionStartEvent, collection: dict[str, Any] | list[Any]) -> None:
        _refuse_tag(event)
        if len(self._open) == _MAX_DEPTH:
            raise _refused(event, _("nested too deep"))
        if self._open and self._open[-1].awaits_name:
            raise _refused(event, _("the name of a field is a text"))
        self._put(collection)
        self._open.append(_Opened(collection))

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        _refuse_tag(event)
        value = _plain(event.value) if event.implicit[0] else event.value
        if not self._open or not self._open[-1].awaits_name:
            self._put(value)
            return
        if not isinstance(value, str):
            raise _refused(event, _("the name of a field is a text"))
        if value in self._open[-1].collection:
            raise _refused(event, _("%(name)s is there twice") % {"name": value})
        self._open[-1].name = value

    def _put(self, value: object) -> None:
        if self._open:
            self._open[-1].put(value)
        else:
            self.whole = value


def _plain(text: str) -> object:
    """Return what a scalar without quotes means (YAML 1.2.2, 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _refuse_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
    if event.tag not in (None, "!"):
        raise _refused(event, _("tags (!name) are not read"))


def _refused(event: yaml.Event, what: str) -> BadFile:
    return BadFile([_at_line(event.start_mark.line if event.start_mark else 0, what)])


def _parsed_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_only_once)
    except json.JSONDecodeError as error:
        raise BadFile([_at_line(error.lineno - 1, library_words(error.msg))]) from None
    except (ValueError, RecursionError) as error:
        raise BadFile([str(error)]) from None


def _only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(_("%(name)s is there twice") % {"name": twice})
    return found


def _at_line(line: int, what: str) -> str:
    return _("Line %(line)d: %(what)s") % {"line": line + 1, "what": what}


# --- what it says -----------------------------------------------------------------------------------------


def _entries(whole: object) -> Iterator[Entry]:
    if not isinstance(whole, Mapping) or "hetuflow" not in whole:
        raise BadFile([_("This is no file of definitions: it begins with “hetuflow: 1”.")])
    if whole["hetuflow"] != VERSION:
        text = _("The version of the file, %(version)s, is not known here; expected 1.")
        raise BadFile([text % {"version": json.dumps(whole["hetuflow"], default=str)[:40]}])
    if unknown := [name for name in whole if name != "hetuflow" and name not in _LISTS]:
        text = _("%(name)s is unknown; expected %(names)s.")
        raise BadFile([text % {"name": str(unknown[0])[:80], "names": ", ".join(_LISTS)}])
    problems = list(_problems(whole))
    if problems:
        raise BadFile(problems[:MAX_PROBLEMS])
    found = [
        Entry(kind=kind, name=f"{document.get('namespace', 'default')}/{document['name']}", document=document)
        for title, (kind, _shape) in _LISTS.items()
        for document in whole.get(title) or ()
    ]
    if not found:
        raise BadFile([_("The file defines nothing.")])
    if len(found) > MAX_ENTRIES:
        raise BadFile([_("The file defines more than %(n)s things.") % {"n": f"{MAX_ENTRIES:,}"}])
    _refuse_twins(found)
    yield from found


def _problems(whole: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not of the shape that it should be, with the place."""
    for title, (_kind, shape) in _LISTS.items():
        documents = whole.get(title) or []
        if not isinstance(documents, list):
            yield f"{title}: " + _("expected a list")
            continue
        validator = Draft202012Validator(shape, validate_formats=True)
        for number, document in enumerate(documents):
            if (problem := _unstorable(document)) is not None:
                yield f"{title}[{number}]: {problem}"
                continue
            for error in validator.iter_errors(document):
                place = "".join(
                    f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
                )
                yield f"{title}[{number}]{place}: {library_words(error.message[:300])}"


def _unstorable(document: object) -> str | None:
    """Return what of a document no database takes, None where it takes all."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return _("half of a surrogate pair is no character")
    except ValueError as error:
        return str(error)
    return _("must not hold the character NUL") if _NUL.search(text) else None


def _refuse_twins(entries: Iterable[Entry]) -> None:
    seen = set()
    for entry in entries:
        if (entry.kind, entry.name) in seen:
            text = _("The job %(name)s is there twice.")
            if entry.kind == "calendar":
                text = _("The calendar %(name)s is there twice.")
            raise BadFile([text % {"name": entry.name}])
        seen.add((entry.kind, entry.name))


# --- writing ----------------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Writes scripts as lines, so that they can be read and compared."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _written_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if isinstance(_plain(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _written_text)
