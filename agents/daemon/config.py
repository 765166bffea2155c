"""What the daemon is told: by flags, by the environment, by a TOML file, in this order."""

import argparse
import os
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agents.daemon.tokens import Credentials, TokenProblem, agent_id_of

MAX_SLOTS: Final = 1000
ROTATE: Final = "rotate-token"
_ACTIONS: Final = ("run", ROTATE)
_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class ConfigError(Exception):
    """The daemon cannot run with this; the message is one line for a person."""


@dataclass(frozen=True)
class Config:
    """`server` is `ws://host:port` or `wss://…`; `slots` is how many attempts run at once.

    `given_name` is the name that somebody gave, empty where it is the host's.
    """

    action: str
    server: str
    credentials: Credentials
    directory: Path
    name: str
    given_name: str
    slots: int
    labels: dict[str, str]
    use_cgroups: bool
    log_level: str


def default_slots() -> int:
    """Return a sensible number of slots for this machine: commands wait more than they compute."""
    return max(4, 4 * (os.cpu_count() or 1))


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Return the configuration; raise ConfigError, naming what is missing or wrong."""
    given = {k: v for k, v in vars(_parser().parse_args(arguments)).items() if v is not None}
    action = str(given.pop("action", "run"))
    file = _read_file(given.pop("config", None) or environment.get("HETUFLOW_AGENT_CONFIG"))
    environ = {
        name: environment[variable] for name, variable in _VARIABLES.items() if environment.get(variable)
    }
    values: dict[str, Any] = {**file, **environ, **given}
    given_name = str(values.get("name") or "")[:255]
    return Config(
        action=action,
        server=_server(values.get("server")),
        credentials=_credentials(given, environ, file),
        directory=Path(values.get("dir") or _default_directory()).expanduser().absolute(),
        name=given_name or socket.gethostname()[:255],
        given_name=given_name,
        slots=_slots(values.get("slots")),
        labels=_labels(values.get("labels", {})),
        use_cgroups=str(values.get("cgroups", "on")).lower() not in ("off", "false", "0", "no"),
        log_level=_log_level(values.get("log_level", "info")),
    )


_VARIABLES: Final = {
    "server": "HETUFLOW_SERVER",
    "token": "HETUFLOW_AGENT_TOKEN",
    "token_file": "HETUFLOW_AGENT_TOKEN_FILE",
    "enroll": "HETUFLOW_ENROLLMENT_TOKEN",
    "enroll_file": "HETUFLOW_ENROLLMENT_TOKEN_FILE",
    "dir": "HETUFLOW_AGENT_DIR",
    "name": "HETUFLOW_AGENT_NAME",
    "slots": "HETUFLOW_AGENT_SLOTS",
    "labels": "HETUFLOW_AGENT_LABELS",
    "cgroups": "HETUFLOW_AGENT_CGROUPS",
    "log_level": "HETUFLOW_AGENT_LOG_LEVEL",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agents.daemon",
        description="Run commands that a Hetuflow server dispatches to this machine.",
        epilog="Every flag can also be given as a variable of the environment "
        "(HETUFLOW_SERVER, HETUFLOW_AGENT_TOKEN, HETUFLOW_AGENT_DIR, …) or as a key of the TOML file. A new "
        "machine needs only --server and --enroll.",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=_ACTIONS,
        help="run (the default), or get a new token in place of the one that this machine has",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with any of these settings")
    parser.add_argument("--server", metavar="URL", help="ws://host:port, wss://host, or the same with http")
    parser.add_argument("--enroll", metavar="TOKEN", help="become an agent, by a token that is good once")
    parser.add_argument("--enroll-file", metavar="FILE", help="a file that holds such a token; - is stdin")
    parser.add_argument("--token", help="the agent token, where this machine was not enrolled")
    parser.add_argument("--token-file", metavar="FILE", help="a file that holds the agent token")
    parser.add_argument("--dir", metavar="FOLDER", help="where attempts and results are kept")
    parser.add_argument("--name", help="shown to people; the host name unless given")
    parser.add_argument("--slots", help=f"attempts that run at once, 1 to {MAX_SLOTS}")
    parser.add_argument("--labels", metavar="KEY=VALUE,…", help="what jobs may ask for, such as gpu=true")
    parser.add_argument("--cgroups", choices=("on", "off"), help="a control group for each attempt (on)")
    parser.add_argument("--log-level", choices=_LOG_LEVELS)
    return parser


def _read_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    unknown = values.keys() - _VARIABLES.keys()
    if unknown:
        raise ConfigError(f"{path}: unknown setting {min(unknown)!r}; known are {', '.join(_VARIABLES)}")
    return values


def _credentials(*layers: Mapping[str, Any]) -> Credentials:
    """Return what the first layer that says anything of it says: of tokens, and of enrolment."""
    token, token_file = _secret(layers, "token", "token_file")
    enrollment, enrollment_file = _secret(layers, "enroll", "enroll_file")
    if token:
        try:
            agent_id_of(token)
        except TokenProblem as error:
            raise ConfigError(str(error)) from None
    return Credentials(
        token=token,
        token_file=Path(token_file).expanduser().absolute() if token_file else None,
        enrollment=enrollment,
        enrollment_file=enrollment_file,
    )


def _secret(layers: Sequence[Mapping[str, Any]], name: str, file_name: str) -> tuple[str, str]:
    """Return a secret, or else the name of the file that holds it."""
    for layer in layers:
        if layer.get(name):
            return str(layer[name]).strip(), ""
        if layer.get(file_name):
            return "", str(layer[file_name])
    return "", ""


def _server(value: object) -> str:
    if not value:
        raise ConfigError("no server; set HETUFLOW_SERVER to its address, such as ws://127.0.0.1:8000")
    parts = urlsplit(str(value))
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"the server must be ws://host:port or wss://host, not {value!r}")
    return parts._replace(scheme=_SCHEMES[parts.scheme]).geturl().rstrip("/")


def _slots(value: object) -> int:
    if value is None:
        return default_slots()
    try:
        slots = int(str(value))
    except ValueError:
        slots = 0
    if not 1 <= slots <= MAX_SLOTS:
        raise ConfigError(f"slots must be a whole number from 1 to {MAX_SLOTS}, not {value!r}")
    return slots


def _labels(value: object) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not separator for _, separator, _ in pairs):
            raise ConfigError(f"labels must be KEY=VALUE,…, not {value!r}")
        value = {key.strip(): text.strip() for key, _, text in pairs}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ConfigError("labels must be strings by name")
    if any(not 1 <= len(key) <= 255 or len(text) > 255 for key, text in value.items()):
        raise ConfigError("a label has a name of 1 to 255 and a value of at most 255 characters")
    return value


def _log_level(value: object) -> str:
    level = str(value).lower()
    if level not in _LOG_LEVELS:
        raise ConfigError(f"log_level must be one of {', '.join(_LOG_LEVELS)}, not {value!r}")
    return level.upper()


def _default_directory() -> str:
    return "/var/lib/hetuflow-agent" if os.geteuid() == 0 else "~/.local/state/hetuflow-agent"
