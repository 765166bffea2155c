"""Serializer fields that take exactly the JSON type they name; DRF's own would also read "5" or "yes"."""

import json
import uuid
from datetime import datetime
from typing import Any, ClassVar, Final, NoReturn

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from rest.kinds import BadValue, read_instant, read_uuid

MAX_INTEGER: Final = 2**31 - 1
MAX_DOCUMENT_BYTES: Final = 256 * 1024


class TextField(serializers.CharField):
    """A string; white space around it is kept."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        kwargs.setdefault("max_length", 65_536)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NameField(TextField):
    """A string of 1 to 255 characters, without white space around it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": True, "max_length": 255, **kwargs})


class WholeNumberField(serializers.IntegerField):
    """A JSON integer that fits the database's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": MAX_INTEGER, **kwargs})

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if type(data) not in (int, float):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class InstantField(serializers.DateTimeField):
    """An RFC 3339 time with its offset."""

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return read_instant(data)
        except BadValue as error:
            raise ValidationError(str(error), "invalid") from error


class IdField(serializers.UUIDField):
    """A UUID as a string."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        try:
            return read_uuid(data)
        except BadValue as error:
            raise ValidationError(str(error), "invalid") from error


class AnyJsonField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value of a bearable size; `schema` says in the OpenAPI document which."""

    schema: ClassVar[dict[str, Any]] = {}
    default_error_messages = {"too_large": _("larger than {limit} bytes")}

    def to_internal_value(self, data: Any) -> Any:
        if len(json.dumps(data)) > MAX_DOCUMENT_BYTES:
            self.fail("too_large", limit=MAX_DOCUMENT_BYTES)
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class ObjectField(AnyJsonField):
    """A JSON object."""

    schema = {"type": "object", "additionalProperties": {}}
    default_error_messages = {"invalid": _("expected an object")}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        value: dict[str, Any] = super().to_internal_value(data)
        return value


class StringMapField(ObjectField):
    """An object of strings, such as labels."""

    schema = {
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 255},
        "additionalProperties": {"type": "string"},
    }
    default_error_messages = {"strings": _('expected an object of strings such as {{"env": "prod"}}')}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        value = super().to_internal_value(data)
        if not all(name and len(name) <= 255 and isinstance(text, str) for name, text in value.items()):
            self.fail("strings")
        return value


class TextListField(AnyJsonField):
    """A list of strings in an answer, such as tags."""

    schema = {"type": "array", "items": {"type": "string"}}


def refuse(errors: dict[str, str], *, code: str = "invalid") -> NoReturn:
    """Raise a ValidationError with one entry for each name."""
    raise ValidationError({name: [ErrorDetail(message, code)] for name, message in errors.items()})
