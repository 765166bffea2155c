"""`python -m agents.daemon`: read the configuration, keep the folder to ourselves, run."""

import asyncio
import fcntl
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agents.daemon import enrolling, logs, processes
from agents.daemon.agent import AgentDaemon
from agents.daemon.config import ROTATE, Config, ConfigError, parse
from agents.daemon.server_api import ServerProblem
from agents.daemon.tokens import TokenProblem, TokenSource

EXIT_USAGE: Final = 1
# What servers are given; an agent that was started beside one has no use for it.
_SECRETS_OF_SERVERS: Final = ("DATABASE_URL", "HETUFLOW_ADMIN_PASSWORD", "HETUFLOW_SECRET_KEY", "PGPASSWORD")
# Shorter ones could be part of anything.
_LEAST_SECRET_CHARS: Final = 6

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return the exit status. What a person has to mend is said in one line."""
    processes.hide_memory()  # the token is in there
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        processes.hide_secrets([*config.credentials.secrets, *_secrets_of_servers()])
        if config.action == ROTATE:
            _say(enrolling.rotate(config))
            return 0
        descriptor = _own_folder(config.directory)
        tokens = enrolling.tokens_of(config, say=_say)
    except (ConfigError, TokenProblem, ServerProblem) as error:
        _say(str(error))
        return EXIT_USAGE
    try:
        return asyncio.run(_run(config, tokens))
    finally:
        os.close(descriptor)


async def _run(config: Config, tokens: TokenSource) -> int:
    return await AgentDaemon(config, tokens, logs.set_up(config.log_level)).run()


def _secrets_of_servers() -> list[str]:
    values = [os.environ.get(name, "") for name in _SECRETS_OF_SERVERS]
    return [value for value in values if len(value) >= _LEAST_SECRET_CHARS]


def _say(line: str) -> None:
    sys.stderr.write(f"hetuflow agent: {line}\n")


def _own_folder(directory: Path) -> int:
    """Make the agent's folder and lock it: two daemons must not share one. Raises ConfigError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"the folder {directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"another daemon uses the folder {directory}") from None
    return descriptor
