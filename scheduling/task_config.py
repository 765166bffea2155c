"""What a job runs and how: the document's TaskConfig, as one typed structure (pure).

It is stored as JSON on the job, and a frozen copy of it on every task, so that editing a job never changes
what is already planned. Durations are seconds, sizes bytes.
"""

import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from access.sentences import said as _
from agents.protocol.messages import CommandKind, LeaseLostAction
from scheduling.library_words import library_words

Seconds = Annotated[int, Meta(ge=0, le=30 * 86_400)]
Timeout = Annotated[int, Meta(ge=1, le=30 * 86_400)]
Argument = Annotated[str, Meta(max_length=128 * 1024)]
RetryBackoff = Literal["fixed", "linear", "exponential", "exponential_jitter"]
ConcurrencyPolicy = Literal["allow", "forbid", "replace", "queue"]
MisfirePolicy = Literal["skip", "run_once", "run_all"]
Labels = dict[Annotated[str, Meta(min_length=1, max_length=255)], Annotated[str, Meta(max_length=255)]]

# All arguments of one task travel in one frame of at most 256 KiB, beside everything else.
MAX_CONFIG_BYTES: Final = 96 * 1024


class ResourceLimits(Struct, forbid_unknown_fields=True, kw_only=True):
    max_memory_mb: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    max_cpu_percent: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    max_execution_time_secs: Timeout | None = None
    max_output_size_bytes: Annotated[int, Meta(ge=0, le=2**40)] | None = None


class TaskConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """How one task runs. Without `max_concurrency`, the policy `allow` sets no limit; the others mean one."""

    cmd: CommandKind
    args: Annotated[list[Argument], Meta(max_length=4096)] = field(default_factory=list)
    working_dir: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    timeout_secs: Timeout = 3600
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 0
    retry_interval_secs: Seconds = 10
    retry_backoff: RetryBackoff = "fixed"
    capture_output: bool = True
    max_output_size: Annotated[int, Meta(ge=0, le=2**40)] = 10 * 1024 * 1024
    labels: Labels = field(default_factory=dict)
    resource_limits: ResourceLimits = field(default_factory=ResourceLimits)
    concurrency_policy: ConcurrencyPolicy = "allow"
    max_concurrency: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    misfire_policy: MisfirePolicy = "run_once"
    misfire_grace_secs: Seconds = 60
    kill_grace_secs: Annotated[int, Meta(ge=0, le=3600)] = 10
    on_lease_lost: LeaseLostAction = "keep"

    @property
    def concurrency_limit(self) -> int | None:
        """How many attempts of the job may run at once; None is no limit."""
        if self.max_concurrency is None and self.concurrency_policy != "allow":
            return 1
        return self.max_concurrency


class TaskConfigError(ValueError):
    """The configuration is refused; `errors` has one message for each offending field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors.items()))
        self.errors = errors


_FIELD_TYPES: Final = typing.get_type_hints(TaskConfig, include_extras=True)
_NUL: Final = "\x00"


def clean_task_config(raw: object) -> dict[str, Any]:
    """Return `raw` as a complete configuration, defaults filled in; raise TaskConfigError."""
    if not isinstance(raw, Mapping):
        raise TaskConfigError({"": _('expected an object such as {"cmd": "bash", "args": ["-c", "date"]}')})
    errors = {str(name): _("unknown field") for name in raw.keys() - _FIELD_TYPES.keys()}
    if "cmd" not in raw:
        errors["cmd"] = _("required: one of %(kinds)s", kinds=", ".join(typing.get_args(CommandKind)))
    for name in raw.keys() & _FIELD_TYPES.keys():
        try:
            msgspec.convert(raw[name], _FIELD_TYPES[name])
        except msgspec.ValidationError as error:
            errors[name] = _readable(name, raw[name], error)
    if errors:
        raise TaskConfigError(errors)
    cleaned: dict[str, Any] = msgspec.to_builtins(load_task_config(raw))
    if _NUL in "".join(
        [*cleaned["args"], cleaned["working_dir"] or "", *cleaned["labels"], *cleaned["labels"].values()]
    ):
        raise TaskConfigError({"args": _("must not hold the character NUL")})
    if len(msgspec.json.encode(cleaned)) > MAX_CONFIG_BYTES:
        raise TaskConfigError(
            {"args": _("the configuration is larger than %(most)s bytes", most=MAX_CONFIG_BYTES)}
        )
    return cleaned


def load_task_config(stored: Mapping[str, Any]) -> TaskConfig:
    """Return the structure of a configuration that was cleaned before it was stored."""
    return msgspec.convert(dict(stored), TaskConfig)


def _readable(name: str, value: object, error: msgspec.ValidationError) -> str:
    choices = typing.get_args(_FIELD_TYPES[name])
    if typing.get_origin(_FIELD_TYPES[name]) is Literal:
        return _(
            "%(value)s is unknown; expected one of %(choices)s",
            value=repr(value),
            choices=", ".join(map(str, choices)),
        )
    return library_words(str(error).replace(" - at `$", f" - at `{name}"))
