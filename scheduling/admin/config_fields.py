"""Form fields for TaskConfig, made from its types: a field added there appears in the form by itself."""

import typing
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from django import forms
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from scheduling.admin.fields import ArgumentsField, CodeWidget, PairsField
from scheduling.admin.words import MISSING
from scheduling.task_config import ResourceLimits, TaskConfig

# What people read beside each field: its label and a sentence about it.
_TEXTS: Final[Mapping[str, tuple[Promise, Promise | str]]] = {
    "cmd": (_("command"), _("bash, sh, python and node take the script below; the others take arguments.")),
    "args": (
        _("arguments"),
        _("One a line, or a JSON list. Where there are arguments, the script is not used."),
    ),
    "working_dir": (_("working directory"), _("Empty: a folder of its own for each attempt.")),
    "timeout_secs": (_("timeout in seconds"), _("After this the command is stopped, with all it started.")),
    "max_retries": (_("retries"), _("How often a failed attempt is tried again. 0: never.")),
    "retry_interval_secs": (_("retry after seconds"), _("The first pause; the next depend on the backoff.")),
    "retry_backoff": (_("backoff"), ""),
    "capture_output": (_("keep the output"), ""),
    "max_output_size": (_("output limit in bytes"), _("What goes beyond is cut. 10485760 is 10 MiB.")),
    "labels": (
        _("labels"),
        _("NAME=value, one a line: only agents that carry all of them run this job."),
    ),
    "max_memory_mb": (_("memory limit in MiB"), ""),
    "max_cpu_percent": (_("CPU limit in percent"), _("100 is one core.")),
    "max_execution_time_secs": (_("limit of run time in seconds"), _("The smaller of this and the timeout.")),
    "max_output_size_bytes": (_("hard output limit in bytes"), ""),
    "concurrency_policy": (_("when the run before still runs"), ""),
    "max_concurrency": (_("at most at once"), _("Empty: no limit, or 1 where overlap is not allowed.")),
    "misfire_policy": (_("when runs were missed"), _("After an outage, for instance.")),
    "misfire_grace_secs": (_("late by so many seconds is on time"), ""),
    "kill_grace_secs": (
        _("seconds between stop and kill"),
        _("A command that is stopped gets so long to end by itself."),
    ),
    "on_lease_lost": (_("when the agent loses the server"), ""),
}
_CHOICES: Final[Mapping[str, Mapping[str, Promise]]] = {
    "retry_backoff": {
        "fixed": _("fixed: the same pause each time"),
        "linear": _("linear: 1, 2, 3 … times the pause"),
        "exponential": _("exponential: 1, 2, 4 … times the pause"),
        "exponential_jitter": _("exponential with jitter: a random part of it"),
    },
    "concurrency_policy": {
        "allow": _("allow: run beside it"),
        "forbid": _("forbid: skip the new run"),
        "replace": _("replace: stop the old run"),
        "queue": _("queue: wait for its end"),
    },
    "misfire_policy": {
        "skip": _("skip: run none of them"),
        "run_once": _("run once: one for all"),
        "run_all": _("run all: every one, late"),
    },
    "on_lease_lost": {
        "keep": _("keep: let the command run on"),
        "kill": _("kill: stop the command"),
    },
}

_TOLD_ELSEWHERE: Final = {"cmd", "args"}
_ALWAYS_TOLD: Final = {"timeout_secs", "max_retries", "concurrency_policy", "misfire_policy", "labels"}


def config_fields() -> dict[str, forms.Field]:
    """Return a form field for each field of TaskConfig, those of its limits in place of the limits."""
    fields: dict[str, forms.Field] = {}
    for struct in (TaskConfig, ResourceLimits):
        defaults = {field.name: field for field in msgspec.structs.fields(struct)}
        for name, hint in typing.get_type_hints(struct, include_extras=True).items():
            if hint is not ResourceLimits:
                fields[name] = _field(name, hint, is_required=defaults[name].required)
    return fields


def config_initial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's values for a stored configuration, with the defaults where it has none."""
    complete: dict[str, Any] = msgspec.to_builtins(
        msgspec.convert({"cmd": "bash", **config}, TaskConfig), builtin_types=()
    )
    return complete | dict(complete.pop("resource_limits", {}))


def config_facts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a configuration says of time, place and limits, in words.

    What is asked for most, and whatever else differs from the defaults.
    """
    values, usual = config_initial(config), config_initial({})
    return [
        (str(field.label), _in_words(name, values[name]))
        for name, field in config_fields().items()
        if name not in _TOLD_ELSEWHERE and (name in _ALWAYS_TOLD or values[name] != usual[name])
    ]


def _in_words(name: str, value: Any) -> str:
    if name in _CHOICES:
        return str(_CHOICES[name].get(value, value))
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or MISSING
    return MISSING if value is None else str(value)


def config_from(cleaned: Mapping[str, Any], changed: set[str]) -> dict[str, Any]:
    """Return the changed part of a configuration from the form's values."""
    limits = {field.name for field in msgspec.structs.fields(ResourceLimits)}
    names = {field.name for field in msgspec.structs.fields(TaskConfig)} & changed
    config = {name: _stored(cleaned[name]) for name in names}
    if limits & changed:
        config["resource_limits"] = {
            name: cleaned[name] for name in sorted(limits) if cleaned[name] is not None
        }
    return config


def _stored(value: Any) -> Any:
    """Return what a configuration says for "nothing": null, where a form says an empty text."""
    return None if value == "" else value


def _field(name: str, hint: Any, *, is_required: bool) -> forms.Field:
    label, help_text = _TEXTS.get(name, (name.replace("_", " "), ""))
    common: dict[str, Any] = {"label": capfirst(cast("str", label)), "help_text": help_text}
    hint, is_optional = _without_none(hint)
    bounds = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if typing.get_origin(kind) is Literal:
        words = _CHOICES.get(name, {})
        choices = [(value, words.get(value, value)) for value in typing.get_args(kind)]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **common)
    if kind is int:
        return forms.IntegerField(
            min_value=next((int(meta.ge) for meta in bounds if meta.ge is not None), None),
            max_value=next((int(meta.le) for meta in bounds if meta.le is not None), None),
            required=not is_optional,
            widget=UnfoldAdminIntegerFieldWidget(),
            **common,
        )
    return _MAKERS[typing.get_origin(kind) or kind](required=is_required, **common)


def _text(*, required: bool, **common: Any) -> forms.Field:
    return forms.CharField(required=required, widget=UnfoldAdminTextInputWidget(), **common)


def _switch(*, required: bool, **common: Any) -> forms.Field:
    return forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget(), **common)


def _lines(*, required: bool, **common: Any) -> forms.Field:
    return ArgumentsField(widget=CodeWidget(rows=3), **common)


def _pairs(*, required: bool, **common: Any) -> forms.Field:
    return PairsField(widget=CodeWidget(rows=3, placeholder="zone=eu"), **common)


_MAKERS: Final[Mapping[type, Callable[..., forms.Field]]] = {
    str: _text,
    bool: _switch,
    list: _lines,
    dict: _pairs,
}


def _without_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [part for part in typing.get_args(hint) if part is not NoneType]
        return rest[0], len(rest) < len(typing.get_args(hint))
    return hint, False
