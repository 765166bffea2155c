"""Get a token from the server: the first by an enrolment token, the next ones by the one that there is."""

import fcntl
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agents.daemon import server_api
from agents.daemon.config import Config, ConfigError
from agents.daemon.server_api import Refusal, ServerProblem
from agents.daemon.tokens import (
    TokenProblem,
    TokenSource,
    agent_id_of,
    replacing,
    stored_text,
    was_enrolled_by,
)

ENROLL_PATH: Final = "/api/v1/agents/enroll"
_ENROLLMENT_TOKEN: Final = re.compile(r"hfe_[A-Za-z0-9_-]{16,}\Z")
_MAX_SECRET_CHARS: Final = 512


def tokens_of(config: Config, *, say: Callable[[str], None]) -> TokenSource:
    """Return the tokens of this machine, having enrolled it where it was asked to and is not yet.

    A token that was given makes enrolment needless, and so does a stored one, unless it came of another
    enrolment token: then somebody wants the machine in anew. Raises TokenProblem, ConfigError, ServerProblem.
    """
    source = TokenSource(config.credentials, config.directory)
    token_file = config.credentials.token_file
    is_given = bool(config.credentials.token) or (token_file is not None and token_file.exists())
    secret = "" if is_given else _enrollment_token(config, is_needed=not source.stored.exists())
    if secret and not was_enrolled_by(source.stored, secret):
        try:
            say(_enroll(config, source.stored, secret))
        except Refusal as error:
            if error.status != 401 or not source.stored.exists():
                raise ServerProblem(_enrollment_refused(error)) from None
            say("the enrolment token was refused; going on with the token that is stored")
    _ = source.agent_id  # there is one, or this says why not
    return source


def rotate(config: Config) -> str:
    """Get a token in the place of this machine's, store it, and return what to tell a person.

    One after the other, so that the last token is also the stored one. Raises as `tokens_of` does.
    """
    source = TokenSource(config.credentials, config.directory)
    agent_id, path = source.agent_id, source.writable_file
    try:
        config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(config.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"the folder {config.directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with replacing(path) as write:
            answer = _ask_for_rotation(config, source)
            write(stored_text(_token_in(answer, config), kept=path))
    except OSError as error:
        raise TokenProblem(f"cannot store the token in {path}: {error.strerror}") from None
    finally:
        os.close(lock)
    done = f"agent {agent_id} has a new token, stored in {path}; the older ones expire within a day"
    if config.credentials.token:
        done += "; take the one that is given out of the configuration before that, or it is tried first"
    return done


def _enroll(config: Config, path: Path, secret: str) -> str:
    hostname = socket.gethostname()[:255]
    body = {"token": secret, "hostname": hostname}
    if config.given_name:
        body["name"] = config.given_name
    try:
        with replacing(path) as write:
            answer = server_api.post(config.server, ENROLL_PATH, body)
            token = _token_in(answer, config)
            write(stored_text(token, enrolled_by=secret))
    except OSError as error:
        raise TokenProblem(f"cannot store the token in {path}: {error.strerror}") from None
    return f"enrolled as agent {answer.get('name')} ({agent_id_of(token)}); its token is stored in {path}"


def _ask_for_rotation(config: Config, source: TokenSource) -> dict[str, Any]:
    """Ask with the token that the daemon would show; with the next one where that is refused."""
    while True:
        token = source.next()
        path = f"/api/v1/agents/{source.agent_id}/tokens/rotate"
        try:
            return server_api.post(config.server, path, {}, token=token)
        except Refusal as error:
            if error.status != 401:
                raise ServerProblem(_said(error)) from None
            if not source.refuse(token):
                raise ServerProblem(
                    "the server refuses this machine's token: it has expired or was revoked; enrol it anew"
                ) from None


def _enrollment_token(config: Config, *, is_needed: bool) -> str:
    """Return the enrolment token that was given, empty where there is none; raise ConfigError."""
    secret, file = config.credentials.enrollment, config.credentials.enrollment_file
    if file:
        try:
            text = sys.stdin.readline(_MAX_SECRET_CHARS) if file == "-" else Path(file).read_text()
        except (OSError, ValueError) as error:
            if is_needed:
                raise ConfigError(f"cannot read the enrolment token: {error}") from None
            return ""
        secret = text.strip()
    if secret and _ENROLLMENT_TOKEN.match(secret) is None:
        raise ConfigError("the enrolment token is malformed; it begins with hfe_")
    return secret


def _token_in(answer: dict[str, Any], config: Config) -> str:
    token = str(answer.get("token"))
    try:
        agent_id_of(token)
    except TokenProblem:
        address = server_api.http_address(config.server)
        raise ServerProblem(
            f"{address} does not answer like a Hetuflow server; is the address right?"
        ) from None
    return token


def _enrollment_refused(error: Refusal) -> str:
    match error.status:
        case 401:
            return (
                "the enrolment token was refused: it is unknown, used, expired or revoked; ask for a new one"
            )
        case 409 if error.code == "already_exists":
            return (
                "the server knows an agent of this name already; choose another name with --name, "
                "or ask for an enrolment token for that agent"
            )
    return _said(error)


def _said(error: Refusal) -> str:
    if error.status == 429:
        return f"too many requests; try again in {error.retry_after_secs or 'some'} seconds"
    return f"the server refused: {error} (HTTP {error.status})"
