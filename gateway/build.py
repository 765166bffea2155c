"""Which build this process runs, and since when."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import psutil
from django.conf import settings

GIT_TIMEOUT_SECS: Final = 2


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """One build; what neither the environment nor a checkout tells is None."""

    version: str
    build_time: datetime | None
    build_environment: str
    git_commit: str | None
    git_branch: str | None


@cache
def build_info() -> BuildInfo:
    """Return what the environment says about the build, else what the checkout says that the code lies in.

    The time of a checkout is that of its commit.
    """
    commit = branch = committed_at = None
    if not settings.HETUFLOW_GIT_COMMIT:
        commit, committed_at, branch = _read_checkout(settings.BASE_DIR)
    built_at: datetime | None = settings.HETUFLOW_BUILD_TIME
    if built_at is not None and built_at.tzinfo is None:
        built_at = built_at.replace(tzinfo=UTC)
    return BuildInfo(
        version=settings.HETUFLOW_VERSION,
        build_time=built_at or committed_at,
        build_environment="production" if settings.PRODUCTION else "local",
        git_commit=settings.HETUFLOW_GIT_COMMIT or commit,
        git_branch=settings.HETUFLOW_GIT_BRANCH or branch,
    )


@cache
def started_at() -> datetime:
    """Return when this process began."""
    return datetime.fromtimestamp(psutil.Process().create_time(), UTC)


def uptime_secs() -> int:
    """Return how long this process has run."""
    return max(0, int((datetime.now(UTC) - started_at()).total_seconds()))


def _read_checkout(folder: Path) -> tuple[str | None, datetime | None, str | None]:
    """Return commit, its time and branch; None each where `folder` is not the top of a checkout."""
    try:
        if _git(folder, "rev-parse", "--show-prefix"):
            return None, None, None  # a checkout of something else that the code was copied into
        commit, committed_at = _git(folder, "show", "-s", "--format=%H %cI", "HEAD").split()
        branch = _git(folder, "branch", "--show-current")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, None, None
    return commit, datetime.fromisoformat(committed_at).astimezone(UTC), branch or None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_SECS,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip()
