"""A form field for each parameter that a job's schema describes, made by the server: no script needed.

The fields help to write a value down; whether it fits the schema, the service decides.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from scheduling.admin import words
from scheduling.admin.fields import CodeWidget, EditorWidget, JSONValueField, LinesField
from scheduling.parameters_schema import properties_of

Schema = Mapping[str, Any]
# What a field returns for "nothing was said": no JSON value, so null stays one.
ABSENT: Final[Any] = object()
# From so many characters on, a text gets several lines.
_LONG_TEXT: Final = 200
_INSTANT: Final = "%Y-%m-%dT%H:%M:%S"


class _DateWidget(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    input_type = "date"


class _InstantWidget(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    input_type = "datetime-local"


class _DateField(forms.DateField):
    """A day, as `2026-03-01`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_formats=["%Y-%m-%d"], widget=_DateWidget(), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value

    def clean(self, value: Any) -> Any:
        day = super().clean(value)
        return ABSENT if day is None else day.isoformat()


class _InstantField(forms.CharField):
    """An instant, as `2026-03-01T12:00:00Z`; browsers have a picker for it, which has the reader's clocks."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=_InstantWidget(attrs={"step": 1}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        instant = _instant(value)
        return value if instant is None else words.told(instant, _INSTANT)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return ABSENT
        instant = _instant(text)
        if instant is None:
            raise ValidationError(_("Expected a time such as 2026-03-01T12:00:00."))
        return f"{instant.astimezone(UTC).strftime(_INSTANT)}Z"


class _TextField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def clean(self, value: Any) -> Any:
        return super().clean((value or "").replace("\r\n", "\n")) or ABSENT


class _IntegerField(forms.IntegerField):
    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        return ABSENT if number is None else number


class _NumberField(forms.FloatField):
    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        if number is None:
            return ABSENT
        return int(number) if number.is_integer() and abs(number) < 2**53 else number


class _OneOfField(forms.TypedChoiceField):
    """One of some JSON values."""

    def __init__(self, *, values: list[tuple[Any, str]], is_optional: bool, **kwargs: Any) -> None:
        nothing = [("", "–")] if is_optional else []
        choices = [*nothing, *((json.dumps(value), label) for value, label in values)]
        super().__init__(
            choices=choices,
            coerce=json.loads,
            empty_value=ABSENT,
            widget=UnfoldAdminSelectWidget(),
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else _chosen(value, self.choices)


class _SomeOfField(forms.TypedMultipleChoiceField):
    """A list of some JSON values."""

    def __init__(self, *, values: list[tuple[Any, str]], **kwargs: Any) -> None:
        super().__init__(
            choices=[(json.dumps(value), label) for value, label in values],
            coerce=json.loads,
            empty_value=ABSENT,
            widget=UnfoldAdminCheckboxSelectMultipleWidget(),
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        return [_chosen(each, self.choices) for each in value or []]


def parameter_fields(schema: Schema) -> dict[str, forms.Field]:
    """Return a field for each parameter of a sound schema, by the name of the parameter.

    The required ones come first, in the order in which the schema requires them: objects keep none.
    """
    properties, required = properties_of(schema), schema.get("required", ())
    names = dict.fromkeys([*(name for name in required if name in properties), *properties])
    return {name: _field(name, properties[name], is_required=name in required) for name in names}


def takes_others(schema: Schema) -> bool:
    """Whether there may be parameters that the schema does not describe."""
    return schema.get("additionalProperties") is not False


def _field(name: str, schema: Schema, *, is_required: bool) -> forms.Field:
    common: dict[str, Any] = {
        "label": str(schema.get("title") or name),
        "help_text": str(schema.get("description", "")),
        # Where there is a default, leaving the field empty asks for it.
        "required": is_required and "default" not in schema,
        "initial": schema.get("default"),
    }
    if values := _values(schema):
        return _OneOfField(values=values, is_optional=not is_required, **common)
    kind, examples = _kind(schema), schema.get("examples")
    placeholder = str(examples[0]) if isinstance(examples, list) and examples else ""
    return _MAKERS.get(kind, _json)(schema, placeholder, common)


def _kind(schema: Schema) -> str:
    """Return the one type that a parameter has, without null; "" where there are several or none."""
    named = schema.get("type", "")
    kinds = [kind for kind in named if kind != "null"] if isinstance(named, list) else [named]
    return str(kinds[0]) if len(kinds) == 1 else ""


def _values(schema: Schema) -> list[tuple[Any, str]]:
    """Return the values of which a parameter is one, each with its name."""
    if "const" in schema:
        return [(schema["const"], _named(schema["const"]))]
    return [(value, _named(value)) for value in schema.get("enum", ())]


def _named(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chosen(value: Any, choices: Any) -> str:
    """Return the key of a choice for a JSON value, or for the key itself, as it comes back from a form."""
    keys = {key for key, _label in choices}
    return value if isinstance(value, str) and value in keys else json.dumps(value)


def _text(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    match schema.get("format"):
        case "date":
            return _DateField(**common)
        case "date-time":
            help_text = words.entered_in_zone(common["help_text"])
            return _InstantField(**(common | {"help_text": help_text}))
    is_long = schema.get("maxLength", 0) > _LONG_TEXT or "\n" in str(common["initial"] or "")
    widget = (
        CodeWidget(rows=4, placeholder=placeholder)
        if is_long
        else UnfoldAdminTextInputWidget(attrs={"placeholder": placeholder})
    )
    bounds = {"min_length": schema.get("minLength"), "max_length": schema.get("maxLength")}
    return _TextField(widget=widget, **bounds, **common)


def _integer(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    widget = UnfoldAdminIntegerFieldWidget(attrs={"placeholder": placeholder})
    return _IntegerField(widget=widget, **_bounds(schema), **common)


def _number(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    widget = UnfoldAdminDecimalFieldWidget(attrs={"placeholder": placeholder, "step": "any"})
    return _NumberField(widget=widget, **_bounds(schema), **common)


def _bounds(schema: Schema) -> dict[str, Any]:
    return {"min_value": schema.get("minimum"), "max_value": schema.get("maximum")}


def _boolean(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    if not common["required"] and common["initial"] is None:
        return _OneOfField(values=[(True, _("yes")), (False, _("no"))], is_optional=True, **common)
    return forms.BooleanField(widget=UnfoldBooleanSwitchWidget(), **(common | {"required": False}))


def _array(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    items = schema.get("items")
    items = items if isinstance(items, Mapping) else {}
    if values := _values(items):
        return _SomeOfField(values=values, **common)
    reader = _ITEMS.get(_kind(items))
    if reader is None:
        return _json(schema, placeholder, common)
    help_text = f"{common['help_text']} {_('One a line.')}".strip()
    widget = CodeWidget(rows=3, placeholder=placeholder)
    return LinesField(reader=reader, absent=ABSENT, widget=widget, **(common | {"help_text": help_text}))


def _json(schema: Schema, placeholder: str, common: dict[str, Any]) -> forms.Field:
    help_text = f"{common['help_text']} {_('JSON.')}".strip()
    widget = EditorWidget(rows=4, placeholder=placeholder)
    return JSONValueField(absent=ABSENT, widget=widget, **(common | {"help_text": help_text}))


def _instant(value: Any) -> datetime | None:
    """Return the instant that a text stands for, by the reader's clocks unless it says an offset."""
    try:
        instant = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if instant is None:
        return None
    return timezone.make_aware(instant) if instant.tzinfo is None else instant


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


_ITEMS: Final[Mapping[str, Callable[[str], Any]]] = {"string": str, "integer": int, "number": _finite}
_MAKERS: Final[Mapping[str, Callable[[Schema, str, dict[str, Any]], forms.Field]]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": _array,
}
