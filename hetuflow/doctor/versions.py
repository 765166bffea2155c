"""Versions: of servers, schedulers and agents, and of the packages of this machine."""

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from packaging.requirements import Requirement

from agents.models import Agent
from agents.protocol.version import PROTOCOL_VERSION
from gateway.models import Server
from hetuflow.doctor.report import Line, error, ok, warning
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS, schedulers_alive

NAMED: Final = 5


def look_at_servers(now: datetime) -> Iterator[Line]:
    """Look for live servers of another version than this command's."""
    alive = Server.objects.filter(last_heartbeat_at__gt=now - timedelta(seconds=SERVER_DEAD_AFTER_SECS))
    yield _compared("servers", list(alive.order_by("name").values_list("name", "version")))


def look_at_schedulers(now: datetime) -> Iterator[Line]:
    """Look for live schedulers of another version than this command's."""
    yield _compared("schedulers", schedulers_alive(now=now))


def _compared(what: str, versions: list[tuple[str, str]]) -> Line:
    others = [(name, version) for name, version in versions if version != settings.HETUFLOW_VERSION]
    if not others:
        return ok(what, f"all that are there have {settings.HETUFLOW_VERSION}, as this command")
    seen = f"this is {settings.HETUFLOW_VERSION}; {', '.join(f'{n} has {v}' for n, v in others[:NAMED])}"
    remedy = "upgrade and restart them one by one: docs/operations.md, Upgrading"
    return warning(what, seen, remedy, [name for name, _ in others])


def look_at_agents(now: datetime) -> Iterator[Line]:
    """Look for connected agents of another version."""
    connected = Agent.objects.filter(archived_at__isnull=True, connection__server__isnull=False).order_by(
        "name"
    )
    versions = list(connected.values_list("name", "version"))
    others = [(name, version) for name, version in versions if version != settings.HETUFLOW_VERSION]
    if others:
        counts = Counter(version for _, version in others)
        seen = ", ".join(f"{count} of {version or 'an unknown version'}" for version, count in counts.items())
        remedy = (
            f"they speak protocol {PROTOCOL_VERSION} and work; upgrade them when it suits: "
            "docs/operations.md, Upgrading"
        )
        names = [name for name, _ in others[:NAMED]]
        yield warning("agents", f"{seen}, such as {names[0]}", remedy, names)
    else:
        seen = f"{len(versions)} connected, all of {settings.HETUFLOW_VERSION}, protocol {PROTOCOL_VERSION}"
        yield ok("agents", seen)


def look_at_packages(now: datetime) -> Iterator[Line]:
    """Hold the installed packages against those that this version was tested with."""
    missing, others = [], []
    number = 0
    for requirement in _requirements():
        number += 1
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        wanted = str(requirement.specifier).removeprefix("==")
        if not requirement.specifier.contains(installed, prereleases=True):
            others.append(f"{requirement.name} {installed} instead of {wanted}")
    remedy = "pip install -r requirements.txt, in the environment of this command"
    if missing:
        yield error("packages", f"missing: {', '.join(missing)}", remedy, missing)
    if others:
        yield warning("packages", "; ".join(others), remedy)
    if not missing and not others:
        yield ok(
            "packages", f"{number} as this version was tested with, on Python {platform.python_version()}"
        )


def _requirements() -> Iterator[Requirement]:
    """Yield what the pages of requirements ask for on this version of Python."""
    for page in ("requirements.txt", "requirements-agent.txt"):
        path = settings.BASE_DIR / page
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            text = line.partition("#")[0].strip()
            if text and not text.startswith("-"):
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate():
                    yield requirement


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("servers", look_at_servers),
    ("schedulers", look_at_schedulers),
    ("agents", look_at_agents),
]
