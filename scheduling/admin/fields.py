"""Form fields for values that are lists and mappings: written as lines by people, as JSON when need be."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.protocol.strict_json import StrictJsonError, parse_strict
from scheduling.admin import words

_HINT: Final = _("Tab indents. Press Escape first to leave the field by Tab.")


class CodeWidget(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A textarea in a monospaced font that browsers neither correct nor capitalise."""

    def __init__(self, *, rows: int, placeholder: str = "") -> None:
        super().__init__(
            attrs={
                "class": "hf-code",
                "rows": rows,
                "spellcheck": "false",
                "autocapitalize": "off",
                "autocomplete": "off",
                "wrap": "off",
                "placeholder": placeholder,
            }
        )


class EditorWidget(CodeWidget):
    """A textarea that scripts make an editor of, with line numbers and colours; without them it stays one.

    `language` is one for which there are colours, or with `by` that of the command chosen in another field.
    """

    class Media:
        css: ClassVar = {"all": ("hetuflow/editor.css",)}
        js = (
            *(
                f"vendor/prism-1.30.0/prism-{part}.min.js"
                for part in ("core", "clike", "bash", "python", "javascript", "json")
            ),
            "hetuflow/editor.js",
        )

    def __init__(self, *, rows: int, language: str = "json", by: str = "", placeholder: str = "") -> None:
        super().__init__(rows=rows, placeholder=placeholder)
        self.attrs |= {"data-editor": language, "data-editor-hint": _HINT}
        if by:
            self.attrs["data-editor-by"] = by


class ScriptField(forms.CharField):
    """A text that is kept as it was typed, with Unix line ends: browsers send CRLF."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value) or "").replace("\r\n", "\n")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or "") != self.to_python(data))


class StructuredField(forms.CharField):
    """A text that stands for a value; subclasses say how they read and write it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **{"required": False, **kwargs})

    def read(self, text: str) -> Any:
        """Return the value that `text` stands for; raise ValidationError."""
        raise NotImplementedError

    def write(self, value: Any) -> str:
        """Return a text that reads as `value`."""
        raise NotImplementedError

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) and value is not None:
            return value
        return self.read((value or "").replace("\r\n", "\n"))

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else self.write(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except ValidationError:
            return True

    def run_validators(self, value: Any) -> None:
        """Leave it to the service: Django's validators of texts know nothing of lists."""


class ArgumentsField(StructuredField):
    """A list of strings: one a line, or a JSON list where a string has line breaks or outer spaces."""

    def read(self, text: str) -> list[str]:
        if text.lstrip().startswith("["):
            value = parse_json(text)
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return value
            raise ValidationError(_('Expected a JSON list of strings such as ["-c", "date"].'))
        return [line for line in text.split("\n") if line.strip()]

    def write(self, value: Sequence[str] | None) -> str:
        items = list(value or [])
        if items[:1] and items[0].startswith("["):
            return json.dumps(items, ensure_ascii=False)
        if all(item and item == item.strip() and "\n" not in item for item in items):
            return "\n".join(items)
        return json.dumps(items, ensure_ascii=False)


class TagsField(StructuredField):
    """A list of words with commas between them."""

    def read(self, text: str) -> list[str]:
        return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))

    def write(self, value: Sequence[str] | None) -> str:
        return ", ".join(value or [])


class PairsField(StructuredField):
    """A mapping of names to strings: NAME=value lines, or JSON where a value has line breaks."""

    def read(self, text: str) -> dict[str, str]:
        if text.lstrip().startswith("{"):
            value = parse_json(text)
            if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
                return value
            raise ValidationError(_('Expected a JSON object of strings such as {"STAGE": "test"}.'))
        pairs: dict[str, str] = {}
        for line in text.split("\n"):
            if not line.strip():
                continue
            name, separator, value = line.partition("=")
            if not separator or not name.strip():
                raise ValidationError(_("“%(line)s” is not NAME=value."), params={"line": line.strip()[:80]})
            if name.strip() in pairs:
                raise ValidationError(_("%(name)s is given twice."), params={"name": name.strip()})
            pairs[name.strip()] = value
        return pairs

    def write(self, value: Mapping[str, str] | None) -> str:
        pairs = dict(value or {})
        if any("\n" in item or "\r" in item for item in pairs.values()) or any(
            name != name.strip() or "=" in name for name in pairs
        ):
            return json.dumps(pairs, ensure_ascii=False, indent=2)
        return "\n".join(f"{name}={item}" for name, item in pairs.items())


class JSONObjectField(StructuredField):
    """A JSON object; empty is {}."""

    def read(self, text: str) -> dict[str, Any]:
        if not text.strip():
            return {}
        value = parse_json(text)
        if not isinstance(value, dict):
            raise ValidationError(_('Expected a JSON object such as {"day": "monday"}.'))
        return value

    def write(self, value: Mapping[str, Any] | None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=2) if value else ""


class SchemaField(JSONObjectField):
    """A JSON Schema as JSON; empty is none."""

    def read(self, text: str) -> Any:
        return super().read(text) if text.strip() else None


class JSONValueField(StructuredField):
    """Any JSON value; empty is `absent`."""

    def __init__(self, *, absent: object, **kwargs: Any) -> None:
        self._absent = absent
        super().__init__(**kwargs)

    def read(self, text: str) -> Any:
        if text.strip():
            return parse_json(text)
        return self._nothing()

    def write(self, value: Any) -> str:
        return "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)

    def prepare_value(self, value: Any) -> Any:
        """Return what was typed as it is, and a value of a schema as JSON, a text as well."""
        return value if self._is_typed(value) else self.write(value)

    def _nothing(self) -> object:
        if self.required:
            raise ValidationError(self.error_messages["required"], "required")
        return self._absent

    def _is_typed(self, value: Any) -> bool:
        return isinstance(value, str) and value != self.initial


class LinesField(JSONValueField):
    """A list of simple values, one a line; empty is `absent`."""

    def __init__(self, *, reader: Callable[[str], Any], **kwargs: Any) -> None:
        self._reader = reader
        super().__init__(**kwargs)

    def read(self, text: str) -> Any:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return [self._item(line) for line in lines] if lines else self._nothing()

    def write(self, value: Any) -> str:
        return "\n".join(str(item) for item in value or [])

    def _item(self, line: str) -> Any:
        try:
            return self._reader(line)
        except ValueError:
            raise ValidationError(_("“%(line)s” is not a number."), params={"line": line[:80]}) from None


def fields_to_read(model: type[models.Model], names: Iterable[str]) -> list[Any]:
    """Return what a page shows under these names to be read: instants tell UTC, as Django's do not."""
    instants = {each.name: each for each in model._meta.fields if isinstance(each, models.DateTimeField)}
    return [_told(instants[name]) if name in instants else name for name in names]


@cache
def _told(field: "models.DateTimeField[Any, Any]") -> Callable[[models.Model], SafeString | str]:

    @admin.display(description=field.verbose_name)
    def told(obj: models.Model) -> SafeString | str:
        instant = field.value_from_object(obj)
        return words.MISSING if instant is None else words.shown(instant)

    told.__name__ = field.name
    return told


def parse_json(text: str) -> Any:
    """Return the value that a text stands for; raise ValidationError, with the place that is wrong."""
    try:
        return parse_strict(text)
    except StrictJsonError as error:
        said = str(error).removeprefix("not JSON: ")
        if error.position is not None:
            before = text[: error.position]
            place = {"line": before.count("\n") + 1, "column": len(before) - before.rfind("\n")}
            said = gettext("line %(line)s, column %(column)s: %(error)s") % {
                **place,
                "error": said.partition(" at character ")[0],
            }
        raise ValidationError(_("This is not valid JSON: %(error)s"), params={"error": said}) from None
