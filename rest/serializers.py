"""Bodies of requests and answers that all resources share."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

ERROR_TYPES: Final = ("validation_error", "client_error", "server_error")


class RequestSerializer(serializers.Serializer[Any]):
    """Reads a request body: an unknown or read-only field is an error, so that no typo is silently lost.

    `entity` is the serializer of what is created or changed; its other fields are the read-only ones.
    """

    entity: ClassVar[type[serializers.Serializer[Any]] | None] = None

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, QueryDict) and not data:
            data = {}
        errors: dict[str, Any] = {}
        if isinstance(data, Mapping):
            known = set(self.entity().fields) if self.entity is not None else set()
            for name in sorted(set(data) - set(self.fields), key=str):
                is_known = name in known
                message = _("This field is read-only.") if is_known else _("Unknown field.")
                errors[name] = [ErrorDetail(str(message), "read_only" if is_known else "unknown_field")]
        try:
            value: dict[str, Any] = super().to_internal_value(data)
        except ValidationError as error:
            if isinstance(error.detail, dict):
                errors |= error.detail
        if errors:
            raise ValidationError(errors)
        return value


class NoBody(RequestSerializer):
    """A request that says everything with its path; the body may be absent or `{}`."""


class PageInfoSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(
        help_text="Exact up to 10,000, where that many can be counted at once; else an estimate."
    )
    page = serializers.IntegerField()
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


class ErrorResponseSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=ERROR_TYPES)
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]
