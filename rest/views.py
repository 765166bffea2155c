"""What every resource does the same way: query, list, read, create, change and delete.

A view set names its query table, its serializers, the permissions that its actions need and, in three
methods, the services that write; the routes of both spellings (`POST /create` and `POST /`,
`POST /{id}/update` and `PATCH /{id}`) lead to one method.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from access.actors import Actor
from rest import permissions
from rest.idempotency import idempotent
from rest.openapi.documentation import EMPTY, Documentation
from rest.pages import array_response, page_result
from rest.permissions import Rows
from rest.querying import QueryTable
from rest.schema import ResourceSchema
from rest.serializers import NoBody, RequestSerializer

Json = list[Any]
# Which of Django's permissions on the resource an action needs, unless the view set says otherwise.
_VERBS: Final = {
    "list": "view",
    "query": "view",
    "retrieve": "view",
    "create": "add",
    "partial_update": "change",
    "destroy": "delete",
}


class ResourceViewSet(GenericViewSet[Any]):
    """One resource; `request_serializers` read the bodies of actions.

    `resource` is the model as in Django's permissions (`scheduling.job`); `needs` names the permissions of
    actions that every resource does not have; `parents` are other objects that keys of paths name, looked up
    before the action runs. `agent_actions` are those that an agent's own token is good for, on
    `rows_of_agent`.
    """

    resource: ClassVar[str]
    namespace_path: ClassVar[str | None] = None
    needs: ClassVar[Mapping[str, str]] = {}
    parents: ClassVar[Mapping[str, Rows]] = {}
    agent_actions: ClassVar[frozenset[str]] = frozenset()
    documentation: ClassVar[Documentation] = EMPTY
    table: ClassVar[QueryTable]
    entity_serializer: ClassVar[type[BaseSerializer[Any]]]
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]]
    schema = ResourceSchema()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Return what the browsable API shows as the form of the current action."""
        return self.request_serializers.get(self.action or "", self.entity_serializer)

    @property
    def needed_permission(self) -> str:
        """The permission that the current action needs."""
        action = self.action or ""
        if action in self.needs:
            return self.needs[action]
        if action not in _VERBS:
            raise ImproperlyConfigured(f"{type(self).__name__}.{action} names no permission")
        app, model = self.resource.split(".")
        return f"{app}.{_VERBS[action]}_{model}"

    @property
    def view_permission(self) -> str:
        """The permission with which the resource's rows are seen."""
        app, model = self.resource.split(".")
        return f"{app}.view_{model}"

    @property
    def places(self) -> Mapping[str, Rows]:
        """Where the keys of the path are looked up."""
        return {"pk": Rows(self.rows, self.namespace_path, self.view_permission), **self.parents}

    def rows(self) -> QuerySet[Any]:
        """Return all rows of the resource, whoever asks."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows that the caller may see."""
        agent = getattr(self.request.user, "agent", None)
        if agent is not None:
            return self.rows_of_agent(agent)
        return permissions.seen(
            self.rows(),
            authority=permissions.authority_for(self.request),
            permission=self.view_permission,
            namespace_path=self.namespace_path,
        )

    def rows_of_agent(self, agent: Any) -> QuerySet[Any]:
        """Return the rows that an agent may see, with its own token."""
        return self.rows().none()

    def list(self, request: Request, **_path: Any) -> Response:
        """List, filtered by query parameters."""
        query = self.table.read_params(request.query_params)
        return Response(page_result(self.get_queryset(), query, self.represent_many))

    def query(self, request: Request, **_path: Any) -> Response:
        """List, filtered by the body."""
        query = self.table.read_body(request.data)
        return Response(page_result(self.get_queryset(), query, self.represent_many))

    def retrieve(self, request: Request, pk: Any) -> Response:
        """Read one."""
        return Response(self.represent(self.get_queryset().get(pk=pk)))

    @idempotent()
    def create(self, request: Request, **_path: Any) -> Response:
        """Create one."""
        entity = self.perform_create(self.read_body())
        return Response(self.represent_created(entity), status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, pk: Any) -> Response:
        """Change the given fields; absent ones stay."""
        entity = self.get_queryset().get(pk=pk)
        return Response(self.represent(self.perform_update(entity, self.read_body(entity))))

    def destroy(self, request: Request, pk: Any) -> Response:
        """Delete one."""
        self.perform_destroy(self.get_queryset().get(pk=pk))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def perform_create(self, data: dict[str, Any]) -> Any:
        """Create the entity that a validated body describes, by a service, and return it."""
        raise NotImplementedError

    def perform_update(self, entity: Any, data: dict[str, Any]) -> Any:
        """Change the entity by a service and return it."""
        raise NotImplementedError

    def perform_destroy(self, entity: Any) -> None:
        """Delete or archive the entity by a service."""
        raise NotImplementedError

    def read_body(self, entity: Model | None = None) -> dict[str, Any]:
        """Return the validated body of the current action; raise ValidationError."""
        reader = self.request_serializers.get(self.action or "", NoBody)
        serializer = reader(
            entity, data=self.request.data, partial=entity is not None, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data

    def represent(self, entity: Any) -> Any:
        """Return one entity as JSON."""
        return self.represent_many([entity])[0]

    def represent_created(self, entity: Any) -> Any:
        """Return a new entity as JSON."""
        return self.represent(entity)

    def represent_many(self, entities: Sequence[Any]) -> Json:
        """Return entities as JSON, in a constant number of statements."""
        context = self.get_serializer_context()
        return [*self.entity_serializer(entities, many=True, context=context).data]

    def array(self, queryset: QuerySet[Any], *, counted: QuerySet[Any] | None = None) -> Response:
        """Answer the newest of a queryset as a bare array; it may be the beginning of what is `counted`."""
        newest = queryset.order_by(*self.table.default_order)
        return array_response(newest, self.represent_many, counted=counted)

    def authorize(self, permission: str, namespace: str) -> None:
        """Raise PermissionDenied where the caller lacks a permission in a namespace that the body names."""
        permissions.authorize(self.request, permission, namespace)

    def permit(self, namespace: str) -> None:
        """Ask once more whether the caller may, of the namespace that a row has when a service locked it.

        Raises NotFound or PermissionDenied, as before the call.
        """
        if not permissions.authority_for(self.request).may_in(namespace, self.view_permission):
            raise NotFound
        self.authorize(self.needed_permission, namespace)

    @property
    def actor(self) -> Actor:
        """Who asks, for the services and what they write down."""
        return permissions.actor_for(self.request)
