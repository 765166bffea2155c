"""What can go wrong with access; the docstring is the default message."""

from access.sentences import said as _


class AccessError(Exception):
    """That is not possible."""

    code = "invalid"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or _((self.__doc__ or "").strip()))


class BadToken(AccessError):
    """The token is missing, unknown, expired or revoked."""

    code = "authentication_failed"


class NameTaken(AccessError):
    """A token with this name exists already."""

    code = "already_exists"


class TooManyRequests(AccessError):
    """Too many requests; try again later."""

    code = "throttled"

    def __init__(self, retry_after_secs: float) -> None:
        super().__init__()
        self.retry_after_secs = retry_after_secs


class InvalidFilter(AccessError):
    """There is nothing to keep."""
