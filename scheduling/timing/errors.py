"""Why an expression of time is refused."""

from typing import Final, Self

from access.sentences import said as _

EXAMPLE: Final = _("an example that works: 30 2 * * 1-5 (half past two on weekdays)")


class ExpressionError(ValueError):
    """An expression is refused; `position` is the index of the character at fault, from 0."""

    def __init__(self, message: str, *, position: int = 0, example: str = EXAMPLE) -> None:
        super().__init__(
            _(
                "%(problem)s, at position %(position)s; %(example)s",
                problem=message,
                position=position + 1,
                example=example,
            )
        )
        self.position = position

    @classmethod
    def in_line(cls, number: int, error: Self) -> Self:
        """Return the same error, told of one line of several."""
        told = cls("")
        told.args = (_("line %(number)s: %(problem)s", number=number, problem=error),)
        told.position = error.position
        return told
