"""What operations are called, made of their paths and the view methods that serve them."""

import inspect
from typing import Any, Final

SYSTEM_PATHS: Final = frozenset({"health", "metrics", "info", "system"})

_SUMMARIES: Final = {
    "list": "List {nouns}",
    "query": "Query {nouns}",
    "retrieve": "Read {noun}",
    "create": "Create {noun}",
    "partial_update": "Change {noun}",
    "destroy": "Delete {noun}",
}


def operation_id(path: str, method: str) -> str:
    """Return the name of an operation, such as jobs_create, tasks_by_status or system_info."""
    tokens = [token.replace("-", "_") for token in below_version(path)]
    resource, below = tokens[0], tokens[1:]
    words = [token for token in below if not token.startswith("{")]
    if below and below[-1].startswith("{") and words:
        words = ["by", *words]
    elif not words and resource not in SYSTEM_PATHS:
        is_one = bool(below)
        words = ["get" if is_one else "list"] if method == "GET" else [method.lower()]
    return "_".join([resource, *words])


def tag(path: str) -> str:
    """Return the group of an operation, such as jobs or system."""
    first = below_version(path)[0]
    return "system" if first in SYSTEM_PATHS else first


def below_version(path: str) -> list[str]:
    """Return the parts of a path below /api/v1."""
    return path.removeprefix("/api/v1").strip("/").split("/")


def nouns(path: str) -> str:
    """Return what the things of a path are called, such as task instances."""
    return below_version(path)[0].replace("-", " ")


def noun(path: str) -> str:
    """Return what one of them is called."""
    return nouns(path).removesuffix("s")


def summary(path: str, action: str, method: Any) -> str:
    """Return a line that says what a view method does."""
    if action not in _SUMMARIES:
        return sentences(method)[0].rstrip(".")
    one = noun(path)
    one = f"an {one}" if one[0] in "aeiou" else f"a {one}"
    return _SUMMARIES[action].format(noun=one, nouns=nouns(path))


def sentences(method: Any) -> list[str]:
    """Return the paragraphs of a view method's docstring."""
    return (inspect.getdoc(method) or "").split("\n\n")


def without_marks(text: str) -> str:
    """Return Markdown of a line as plain text."""
    return text.replace("`", "")
