"""What schemathesis loads: ids of things that are there in place of its own, and a record of each answer.

`fuzz.Fuzz` writes what is there into a file, and starts the program with this module as its hooks.
"""

import itertools
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import schemathesis

from tests.conformance import fuzz_files

# Every so often an id stays what schemathesis made of it.
KEPT_EVERY: Final = 6
# Of these it finds some in answers of its own: what an attempt says that runs on would be followed for ever.
ALWAYS_THERE: Final = {"task_instances_logs"}
# Agents that are there answer at once; for one that is just starting again nobody waits longer.
WAIT_SECS: Final = 2
BRINGING_AN_ID: Final = {"agents_create", "agents_post"}
LONGEST_NAME: Final = 200

_things: Final[dict[str, Any]] = json.loads(fuzz_files.things(fuzz_files.folder()).read_text())
_record: Final = fuzz_files.record(fuzz_files.folder()).open("a", buffering=1)
_calls: Final[dict[str, Iterator[int]]] = defaultdict(itertools.count)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Let a request be about something that is there."""
    operation = case.operation.definition.raw["operationId"]
    number = next(_calls[operation])
    there = _things["paths"].get(operation)
    is_kept = number % KEPT_EVERY == KEPT_EVERY - 1 and operation not in ALWAYS_THERE
    if there and not is_kept:
        case.path_parameters = there[number % len(there)]
    spared = _things["spared"].get(operation, ())
    case.path_parameters = {
        name: "0" if str(value) in spared else value for name, value in case.path_parameters.items()
    }
    if isinstance(case.body, dict) and operation.rpartition("_")[2] != "query":
        case.body = _about_what_is_there(case.body, operation, number)


def _about_what_is_there(body: dict[str, Any], operation: str, number: int) -> dict[str, Any]:
    """Return the body with the ids of what is there, and with names and ids that nothing has yet."""
    changed = dict(body)
    for name, ids in _things["bodies"].items():
        if type(body.get(name)) is type(ids[0]):
            changed[name] = ids[next(_calls[f"of bodies {name}"]) % len(ids)]
    if isinstance(body.get("name"), str) and 0 < len(body["name"]) < LONGEST_NAME:
        changed["name"] = f"{body['name']} {operation} {number}"
    if operation in BRINGING_AN_ID and isinstance(body.get("id"), str):
        changed["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{operation} {number}"))
    if operation == "agents_commands":
        changed["timeout_secs"] = WAIT_SECS
    if operation == "connections_broadcast" and isinstance(body.get("payload"), dict):
        changed["payload"] = {**body["payload"], "timeout_secs": WAIT_SECS}
    return changed


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    """Note what was answered, and of a failure what was asked; `is_meant` where by the right method."""
    said: dict[str, Any] = {
        "operation": case.operation.definition.raw["operationId"],
        "status": response.status_code,
        "is_meant": case.method.upper() == case.operation.method.upper(),
    }
    if response.status_code >= 500:
        said |= {"asked": case.as_curl_command(), "answer": response.text[:500]}
    _record.write(json.dumps(said) + "\n")
