"""What operations are called, made of their paths and the view methods that serve them."""

import inspect
from typing import Any, Final

SYSTEM_PATHS: Final = frozenset({"health", "metrics", "info", "system"})
# The actions that every resource may have, with their lines and the verbs of both spellings.
_SUMMARIES: Final = {
    "list": "List {nouns}",
    "query": "Query {nouns}",
    "retrieve": "Read {noun}",
    "create": "Create {noun}",
    "partial_update": "Change {noun}",
    "destroy": "Delete {noun}",
}
_VERBS: Final = {
    "list": "list",
    "retrieve": "get",
    "create": "post",
    "partial_update": "patch",
    "destroy": "delete",
}
SPELLED_OUT: Final = {"query": "query", "create": "create", "partial_update": "update"}


def operation_id(path: str, method: str, action: str) -> str:
    """Return the name of an operation, such as jobs_create, tasks_by_status or system_info."""
    tokens = [token.replace("-", "_") for token in below_version(path)]
    literals = [token for token in tokens if not token.startswith("{")]
    if SPELLED_OUT.get(action) == literals[-1]:
        return "_".join(literals)
    if action in _VERBS:
        return "_".join([*literals, _VERBS[action]])
    if tokens[-1].startswith("{"):
        literals = [*literals, action] if method != "GET" else [literals[0], "by", *literals[1:]]
    return "_".join(literals)


def tag(path: str) -> str:
    """Return the group of an operation, such as jobs or system."""
    first = below_version(path)[0]
    return "system" if first in SYSTEM_PATHS else first


def below_version(path: str) -> list[str]:
    """Return the parts of a path below /api/v1."""
    return path.removeprefix("/api/v1").strip("/").split("/")


def nouns(path: str, action: str) -> str:
    """Return what an operation is about, such as task instances."""
    literals = [token for token in below_version(path) if token[0] not in "{<"]
    if action not in _SUMMARIES:
        return words(literals[0])
    if SPELLED_OUT.get(action) == literals[-1]:
        del literals[-1]
    return words(literals[-1])


def noun(path: str, action: str) -> str:
    """Return what one of them is called."""
    return singular(nouns(path, action))


def words(part: str) -> str:
    """Return what a part of a path says, such as task instances."""
    return "audit entries" if part == "audit" else part.replace("-", " ")


def singular(several: str) -> str:
    """Return the word for one of several things."""
    return f"{several[:-3]}y" if several.endswith("ies") else several.removesuffix("s")


def summary(path: str, action: str, method: Any) -> str:
    """Return a line that says what a view method does."""
    if action not in _SUMMARIES:
        return sentences(method)[0].rstrip(".")
    one = noun(path, action)
    article = "an" if one[0] in "aeiou" else "a"
    return _SUMMARIES[action].format(noun=f"{article} {one}", nouns=nouns(path, action))


def sentences(method: Any) -> list[str]:
    """Return the paragraphs of a view method's docstring."""
    return (inspect.getdoc(method) or "").split("\n\n")


def without_marks(text: str) -> str:
    """Return Markdown of a line as plain text."""
    return text.replace("`", "")
