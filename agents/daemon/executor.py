"""From a dispatched task to what is executed: the program with its arguments, and its environment (pure).

A command gets an environment of its own: a few variables of the machine, what the job and the task set, and
what Hetuflow tells it. Nothing else of the daemon's environment, in which its token may be.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from agents.protocol.messages import COMMAND_KINDS, CommandKind, DispatchedTask

_PROGRAMS: Final[dict[CommandKind, tuple[str, ...]]] = {
    "bash": ("bash",),
    "sh": ("sh",),
    "python": ("python3", "python"),
    "uv": ("uv",),
    "node": ("node", "nodejs"),
    "npx": ("npx",),
    "cargo": ("cargo",),
    "java": ("java",),
}
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
_KERNEL_LIMITS: Final = ("max_memory_mb", "max_cpu_percent")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_]")


class CannotExecute(Exception):
    """This machine has nothing to run such a command with."""


def available_commands() -> list[CommandKind]:
    """Return the kinds of command that this machine can run; `exec` needs nothing."""
    return [kind for kind in COMMAND_KINDS if kind == "exec" or _find(kind)]


def arguments(task: DispatchedTask) -> list[str]:
    """Return the program and its arguments, as they are: no shell sees them unless the job asks for one.

    Raises CannotExecute.
    """
    if task.cmd == "exec":
        if not task.args or not task.args[0]:
            raise CannotExecute("exec needs the program as its first argument")
        return list(task.args)
    program = _find(task.cmd)
    if program is None:
        raise CannotExecute(f"{task.cmd} is not installed on this machine")
    return [program, *task.args]


def environment(task: DispatchedTask, *, own: Mapping[str, str], result_file: str) -> dict[str, str]:
    """Return the environment of the task's command; `own` is that of the daemon."""
    inherited = {name: value for name, value in own.items() if name in _INHERITED or name.startswith("LC_")}
    parameters = {
        f"HETUFLOW_PARAM_{_NOT_IN_A_NAME.sub('_', name).upper()}": _as_text(value)
        for name, value in task.parameters.items()
    }
    return {
        "PATH": os.defpath,
        **inherited,
        **task.environment,
        **parameters,
        "HETUFLOW_TASK_ID": str(task.task_id),
        "HETUFLOW_JOB_ID": str(task.job_id),
        "HETUFLOW_JOB_NAME": task.job_name,
        "HETUFLOW_INSTANCE_ID": str(task.instance_id),
        "HETUFLOW_ATTEMPT": str(task.attempt),
        "HETUFLOW_SCHEDULED_AT": task.scheduled_at,
        "HETUFLOW_PARAMETERS": json.dumps(task.parameters, ensure_ascii=False),
        "HETUFLOW_RESULT_FILE": result_file,
    }


def working_directory(task: DispatchedTask, *, own: Mapping[str, str]) -> str:
    """Return where the command starts: where the job says, else at home, as a login would."""
    return task.working_dir or own.get("HOME") or "/"


def scheduled_at(task: DispatchedTask) -> float | None:
    """Return the planned instant in seconds since the epoch; None where it is not a time."""
    try:
        return datetime.fromisoformat(task.scheduled_at).timestamp()
    except ValueError:
        return None


def timeout_secs(task: DispatchedTask) -> float:
    """Return the shorter of the job's time-out and its limit on execution time."""
    limit = task.resource_limits.get("max_execution_time_secs")
    return min(task.timeout_secs, float(limit)) if limit else task.timeout_secs


def max_output_bytes(task: DispatchedTask) -> int:
    """Return the smaller of the job's output cap and its limit on output."""
    limit = task.resource_limits.get("max_output_size_bytes")
    return min(task.max_output_size, int(limit)) if limit is not None else task.max_output_size


def kernel_limits(task: DispatchedTask) -> dict[str, Any]:
    """Return the limits that the kernel is to keep; the others are kept by the shim."""
    return {name: limit for name, limit in task.resource_limits.items() if name in _KERNEL_LIMITS and limit}


def _find(kind: CommandKind) -> str | None:
    return next((path for name in _PROGRAMS[kind] if (path := shutil.which(name))), None)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
