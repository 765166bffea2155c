"""Why an expression of time is refused."""

from typing import Final, Self

EXAMPLE: Final = "an example that works: 30 2 * * 1-5 (half past two on weekdays)"


class ExpressionError(ValueError):
    """An expression is refused; `position` is the index of the character at fault, from 0."""

    def __init__(self, message: str, *, position: int = 0, example: str = EXAMPLE) -> None:
        super().__init__(f"{message}, at position {position + 1}; {example}")
        self.position = position

    @classmethod
    def in_line(cls, number: int, error: Self) -> Self:
        """Return the same error, told of one line of several."""
        told = cls("")
        told.args = (f"line {number}: {error}",)
        told.position = error.position
        return told
