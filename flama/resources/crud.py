"""CRUD resources: an endpoint for each operation on a repository."""

import codecs
import collections.abc
import contextlib
import functools
import importlib
import typing as t

from flama import exceptions, http, schemas, types
from flama.ddd.components import WorkerComponent
from flama.http.request import JSON, content_type, query_pairs, read_body
from flama.resources import _bulk_endpoints, _item_endpoints, _list_endpoint, _openapi
from flama.resources._callers import worker_for
from flama.resources._request import Endpoint, ResourceRequest
from flama.resources.resource import ResourceRoute
from flama.resources.rest import RESTResource, workers_of
from flama.rest.operations import OPERATIONS, REQUESTED_WITH, Operation, path
from flama.routing import Route

__all__ = ["CRUDResource"]

_ENDPOINTS: t.Final[dict[str, Endpoint]] = {
    "create": _item_endpoints.create,
    "list": _list_endpoint.list_records,
    "retrieve": _item_endpoints.retrieve,
    "update": _item_endpoints.update,
    "partial_update": _item_endpoints.partial_update,
    "delete": _item_endpoints.delete,
    "replace": _bulk_endpoints.replace,
    "partial_replace": _bulk_endpoints.partial_replace,
    "drop": _bulk_endpoints.drop,
    "get_or_create": _item_endpoints.get_or_create,
    "upsert": _bulk_endpoints.upsert,
    "update_where": _bulk_endpoints.update_where,
    "drop_where": _bulk_endpoints.drop,
}
"""The endpoint of each operation. ``drop_where`` is ``drop`` with filters."""

_ID: t.Final = "resource_id"


class CRUDResource(RESTResource, abstract=True):
    """A REST resource with an endpoint for each operation of :data:`flama.rest.operations.OPERATIONS`.

    A method with the name of an operation replaces its endpoint. Operations in ``without`` have no endpoint, nor have
    those that the repository doesn't support. ::

        class Users(CRUDResource):
            model = user_table
            without = ("drop", "replace")
    """

    without: t.ClassVar[collections.abc.Collection[str]] = ()

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: t.Any) -> None:
        super().__init_subclass__(abstract=abstract, **kwargs)
        if not abstract:
            cls._check_operations()

    @classmethod
    def _check_operations(cls) -> None:
        if unknown := [name for name in cls.without if name not in OPERATIONS]:
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__} is without {unknown}: the operations are {', '.join(OPERATIONS)}"
            )
        is_listed = cls.spec.table is not None and "list" not in cls.without and not hasattr(cls, "list")
        if is_listed and not schemas.has_output_field(cls.spec.output.schema, cls.spec.key):
            raise exceptions.ResourceFilterInvalid(
                f"{cls.__name__} has responses without its key '{cls.spec.key}', which cursors would reveal, as every "
                "order of a list ends with it: add the key to the schema, or set without = ('list',)"
            )

    def routes(self, app: types.App) -> list[Route]:
        """Return the resource's routes for an application: its decorated methods, and the operations."""
        own = super().routes(app)
        marked = {method for method in dir(self) if ResourceRoute.of(getattr(self, method, None)) is not None}
        names = [name for name in _ENDPOINTS if name not in self.without and name not in marked]
        return [*own, *self._operations(app, names)]

    def _operations(self, app: t.Any, names: list[str]) -> collections.abc.Iterator[Route]:
        worker, repository, is_made = self.worker_for(workers_of(app))
        limit = schemas.RecordLimit(app.max_records if self.spec.max_records is None else self.spec.max_records)
        if is_made and any(not hasattr(self, name) for name in names):
            app.add_component(WorkerComponent(t.cast(t.Any, worker)()))
        for name in names:
            operation, overriding = OPERATIONS[name], getattr(self, name, None)
            if overriding is None and name not in self.spec.operations:
                continue
            if overriding is not None:
                self._check_worker_parameters(overriding)
            pattern = f"/{{{_ID}}}/" if operation.kind == "element" else path(operation)
            yield Route(
                pattern,
                overriding or self._handler(operation, worker, repository, limit, app.max_body_size),
                name.replace("_", "-"),
                (operation.method,),
                tags=(self.name,),
                description=None if overriding else _openapi.describe_operation(self.spec, operation, limit.most),
            )
            if operation.verb and self.spec.key_type is not str:  # a text could be a record's key
                yield _method_not_allowed_route(pattern, operation.method)

    def _handler(
        self,
        operation: Operation,
        worker: type,
        repository: str,
        limit: schemas.RecordLimit,
        max_body_size: int | None,
    ) -> types.Handler:
        spec, endpoint = self.spec, self._endpoint(operation)

        async def serve(scope: t.Any, worker: t.Any, id: t.Any = None, receive: t.Any = None) -> http.Response:
            body = b""
            if receive is not None:
                body = await read_body(scope, receive, max_body_size, limit.check_start)
                body = body.removeprefix(codecs.BOM_UTF8)  # some clients put it before JSON
            request = ResourceRequest(spec, operation, scope, body, id, worker, repository, query_pairs(scope), limit)
            return await endpoint(request)

        handler = _make_handler(operation, serve)
        annotations = {
            "scope": types.Scope,
            "receive": types.Receive,
            "worker": worker_for(spec, operation, worker, repository),
            _ID: self.spec.key_type,
        }
        code = handler.__code__
        names = code.co_varnames[: code.co_argcount]
        handler.__annotations__ = {name: annotations[name] for name in names} | {"return": http.Response}
        handler.__name__ = handler.__qualname__ = operation.name
        handler.__doc__ = endpoint.__doc__
        return t.cast(types.Handler, handler)

    def _endpoint(self, operation: Operation) -> Endpoint:
        endpoint = _ENDPOINTS[operation.name]
        if operation.is_forgeable and not self.spec.simple_requests:
            endpoint = _refuse_forgeable(endpoint)
        if not self.spec.idempotency or not operation.writes:
            return endpoint
        module = importlib.import_module("flama.resources._idempotency")  # SQLAlchemy is optional
        return t.cast(Endpoint, module.idempotent(endpoint))


def _refuse_forgeable(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that refuses requests which forms of other sites could send (CSRF)."""

    @functools.wraps(endpoint)
    async def serve(request: ResourceRequest) -> http.Response:
        if request.header(REQUESTED_WITH) is None and not _is_json(request.scope):
            raise exceptions.HTTPException(415, _SIMPLE)
        return await endpoint(request)

    return serve


def _is_json(scope: types.Scope) -> bool:
    with contextlib.suppress(exceptions.NoCodecAvailable):
        return content_type(scope) == JSON
    return False


_SIMPLE: t.Final = (
    "A POST without a body needs a header that no other site's form can send: Content-Type: application/json, or "
    "X-Requested-With with any value"
)


def _method_not_allowed_route(path: str, method: str) -> Route:
    """Return a route that refuses all other methods, which otherwise match the path of a record."""
    refused = exceptions.MethodNotAllowedException("", (method, "OPTIONS"))

    async def refuse(scope: types.Scope) -> http.Response:
        if scope["method"] == "OPTIONS":
            return http.Response(None, 204, refused.headers)
        raise exceptions.MethodNotAllowedException(scope["method"], (method, "OPTIONS"))

    return Route(path, refuse, "", ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"), include_in_schema=False)


def _make_handler(
    operation: Operation, serve: collections.abc.Callable[..., collections.abc.Awaitable[http.Response]]
) -> t.Any:
    """Return the handler of an operation, with only the parameters that it needs."""

    async def handle_collection(scope: t.Any, worker: t.Any) -> http.Response:
        return await serve(scope, worker)

    async def handle_collection_with_body(scope: t.Any, receive: t.Any, worker: t.Any) -> http.Response:
        return await serve(scope, worker, None, receive)

    async def handle_item(scope: t.Any, worker: t.Any, resource_id: t.Any) -> http.Response:
        return await serve(scope, worker, resource_id)

    async def handle_item_with_body(scope: t.Any, receive: t.Any, worker: t.Any, resource_id: t.Any) -> http.Response:
        return await serve(scope, worker, resource_id, receive)

    has_body = operation.request is not None
    if operation.kind == "element":
        return handle_item_with_body if has_body else handle_item
    return handle_collection_with_body if has_body else handle_collection
