"""What the OpenAPI document and the forms of the browsable API say of an action beyond its serializers.

Examples are true: a test sends every request of them to the API and sees success.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Conflict:
    """A 409: when it is answered, and the words with which it is."""

    when: str
    detail: str


@dataclass(frozen=True, slots=True)
class Documented:
    """One action: request bodies by title, an answer, and why it may be refused with a 409, by error code.

    `answer` is needed only where it is not the resource's entity; `answers_late` means that an agent is
    waited for, which may end in a 504. `resource` is what the answer is one of, where that is another one.
    """

    requests: Mapping[str, Any] = field(default_factory=dict)
    answer: Any = None
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    notes: str = ""
    answers_late: bool = False
    resource: str = ""


NOTHING: Final = Documented()


@dataclass(frozen=True, slots=True)
class Documentation:
    """One resource: an example of its entity, and its actions by their names."""

    entity: Any = None
    actions: Mapping[str, Documented] = field(default_factory=dict)

    def of(self, action: str | None) -> Documented:
        return self.actions.get(action or "", NOTHING)


EMPTY: Final = Documentation()
