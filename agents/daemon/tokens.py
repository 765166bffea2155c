"""The tokens that this machine has, where they lie, and which of them is shown to the server next.

A token is given (by a flag, a variable, the configuration, or as a file), or it is stored in the agent's
folder, where enrolment and rotation put it. Files are read anew for each connection, so that a token can be
replaced while the daemon runs.
"""

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STORED: Final = "token"
_TOKEN: Final = re.compile(r"hfa_([0-9a-f]{32})_[A-Za-z0-9_-]{16,}\Z")
_RESERVED_BYTES: Final = 512
_ENROLLED_BY: Final = "# enrolled by "


class TokenProblem(Exception):
    """There is no token to use; the message is one line for a person."""


@dataclass(frozen=True)
class Credentials:
    """What this machine was given to say who it is. A token counts more than a file, both more than none."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    enrollment: str = field(default="", repr=False)
    enrollment_file: str = ""

    @property
    def secrets(self) -> list[str]:
        """The secrets that were given themselves, and not as files."""
        return [secret for secret in (self.token, self.enrollment) if secret]


class TokenSource:
    """Chooses a token for each connection: the given one first, then the stored one.

    Which agent this is does not change while the daemon runs; tokens of another one are passed over.
    """

    def __init__(self, credentials: Credentials, directory: Path) -> None:
        self._given = credentials.token
        self._token_file = credentials.token_file
        self.stored = directory / STORED
        self._refused: set[str] = set()
        self._agent_id: uuid.UUID | None = None

    @property
    def agent_id(self) -> uuid.UUID:
        """Whose tokens these are; raise TokenProblem where there is none."""
        if self._agent_id is None:
            self._agent_id = agent_id_of(self._read()[0])
        return self._agent_id

    @property
    def writable_file(self) -> Path:
        """Where a token that takes the place of the others belongs."""
        return self._token_file or self.stored

    def next(self) -> str:
        """Return the token to show now: one that was not refused, if there is one; raise TokenProblem."""
        tokens = self._own()
        fresh = [token for token in tokens if token not in self._refused]
        if not fresh:
            # A server that refuses all of them may mean something else: begin again with the first.
            self._refused.clear()
        return (fresh or tokens)[0]

    def refuse(self, token: str) -> bool:
        """Note that the server refused `token`; return whether there is another one to try at once."""
        self._refused.add(token)
        try:
            return any(other not in self._refused for other in self._own())
        except TokenProblem:
            return False

    def _own(self) -> list[str]:
        agent_id = self.agent_id
        tokens = [token for token in self._read() if agent_id_of(token) == agent_id]
        if not tokens:
            raise TokenProblem("the only token that is left is another agent's; restart to become that one")
        return tokens

    def _read(self) -> list[str]:
        """Return the tokens that there are, best first; raise TokenProblem where there is none."""
        tokens, problems = [self._given] if self._given else [], []
        for path in filter(None, (self._token_file, self.stored)):
            try:
                tokens.append(read_token(path))
            except FileNotFoundError as error:
                if path != self.stored:
                    problems.append(f"cannot read the token: {error}")
            except (OSError, TokenProblem) as error:
                problems.append(f"cannot read the token: {error}")
        if tokens:
            return tokens
        raise TokenProblem(
            problems[0]
            if problems
            else "no agent token; enrol this machine with --enroll TOKEN, or set HETUFLOW_AGENT_TOKEN"
        )


def agent_id_of(token: str) -> uuid.UUID:
    """Return which agent a token belongs to; raise TokenProblem for what is no token."""
    matched = _TOKEN.match(token)
    if matched is None:
        raise TokenProblem("the agent token is malformed; make one with: manage.py agent_token NAME")
    return uuid.UUID(matched[1])


def read_token(path: Path) -> str:
    """Return the token in a file, its first line; raise OSError or TokenProblem."""
    token = path.read_text(errors="replace").partition("\n")[0].strip()
    agent_id_of(token)
    return token


def was_enrolled_by(path: Path, secret: str) -> bool:
    """Tell whether the stored token came of this enrolment token."""
    try:
        return f"{_ENROLLED_BY}{_digest(secret)}" in path.read_text(errors="replace").splitlines()
    except OSError:
        return False


def stored_text(token: str, *, enrolled_by: str = "", kept: Path | None = None) -> str:
    """Return the content of a token's file: the token, and by which enrolment token this machine came in.

    `kept` is the file from which the latter is taken over, where the token only takes another's place.
    """
    notes = [f"{_ENROLLED_BY}{_digest(enrolled_by)}"] if enrolled_by else []
    if kept is not None:
        with contextlib.suppress(OSError):
            notes += kept.read_text(errors="replace").splitlines()[1:]
    return "\n".join([token, *notes]) + "\n"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Callable[[str], None]]:
    """Give what writes the file for its owner alone, whole or not at all, and flushed to the disk.

    What could go wrong goes wrong at once, before a server is asked for what it gives only once: the draft is
    there and has its room on the disk. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write(text: str) -> None:
        data = text.encode()
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    try:
        os.posix_fallocate(descriptor, 0, _RESERVED_BYTES)
        if os.geteuid() == 0:
            # Done by root for an agent that runs as somebody else, who must be able to read it.
            owner = (path if path.exists() else path.parent).stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        yield write
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
