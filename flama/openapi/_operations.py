"""OpenAPI operations: parameters, bodies, responses of one route."""

import collections.abc
import dataclasses
import inspect
import typing as t

import msgspec

from flama import concurrency, exceptions, http, schemas, types
from flama.http.request import JSON as JSON_TYPE
from flama.http.response import encode_json
from flama.injection import Injector, Parameter
from flama.injection.component import signature
from flama.openapi._components import JSON, Components, strip_null
from flama.openapi._request_bodies import is_required, request_body
from flama.pagination import _openapi
from flama.rest.paging import Style
from flama.routing.components import (
    BodyComponent,
    ConnectionComponent,
    ParameterComponent,
    is_query_model,
    iter_providers,
    iter_request_parameters,
    marker,
)
from flama.routing.path import Path
from flama.routing.route import Route

__all__ = ["ERROR", "MountedRoute", "operation"]

ERROR: t.Final = "APIError"
"""The name of the schema of errors."""

_ERROR_CONTENT: t.Final[JSON] = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{ERROR}"}}}
_REFUSALS: t.Final = {401: "It isn't known whom the request is from", 403: "The caller may not do this"}
_SUCCESS: t.Final = "Successful response"
_STREAMS: t.Final = frozenset(
    {
        collections.abc.AsyncGenerator,
        collections.abc.AsyncIterable,
        collections.abc.AsyncIterator,
        collections.abc.Generator,
        collections.abc.Iterator,
    }
)
_RESERVED_HEADERS: t.Final = frozenset({"accept", "authorization", "content-type"})
"""Headers that a document describes in other places: a parameter of this name is ignored (OpenAPI 3.1, 4.8.12)."""


@dataclasses.dataclass(frozen=True)
class MountedRoute:
    """A route in an application: its full path and name, and the injector of its handler's arguments."""

    path: str
    name: str
    route: Route
    injector: Injector


def operation(served: MountedRoute, components: Components) -> JSON:
    """Return the OpenAPI operation of a route.

    :raises ApplicationError: a parameter or the return type of the handler has no schema.
    """
    try:
        return _operation(served, components)
    except (TypeError, NameError, exceptions.ApplicationError) as error:
        raise exceptions.ApplicationError(
            f"The handler '{served.name}' of '{served.path}' can't be described: {error}"
        ) from error


def _operation(served: MountedRoute, components: Components) -> JSON:
    handler, path, style = served.route.handler, Path(served.path), t.cast(Style | None, served.route.pagination)
    found = list(iter_request_parameters(served.injector, handler))
    named = [parameter for parameter, component in found if isinstance(component, ParameterComponent)]
    parameters = [*_parameters(named, path, components), *(_openapi.parameters(style) if style else ())]
    bodily = [parameter for parameter, component in found if not isinstance(component, ParameterComponent)]
    limits = {each.max_records for _, each in found if isinstance(each, BodyComponent | ConnectionComponent)}
    body = request_body(bodily, components, *limits)
    may_fail = style or body is not None or any(_may_fail_validation(parameter, path) for parameter in named)
    returned = signature(handler)[1]
    page = {"200": {"description": _SUCCESS, **_openapi.envelope(style, returned, components)}} if style else None
    described = {
        **_prose(handler),
        **({"tags": list(served.route.tags)} if served.route.tags else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": body} if body else {}),
        "responses": {
            **(page or _responses(returned, components)),
            **({"400": {"description": "Invalid request", "content": _ERROR_CONTENT}} if may_fail else {}),
            **_refusals(served),
            "default": {"description": "Error", "content": _ERROR_CONTENT},
        },
    }
    own = served.route.description
    return described if own is None else _merge_description(described, own(components))


def _refusals(served: MountedRoute) -> JSON:
    """Return the responses to requests without authentication or permission."""
    found = {status for p, c in iter_providers(served.injector, served.route.handler) for status in c.refusals(p)}
    return {str(status): {"description": _REFUSALS[status], "content": _ERROR_CONTENT} for status in sorted(found)}


def _merge_description(described: JSON, own: JSON) -> JSON:
    """Merge the route's own description into an operation: it adds parameters, and overrides the rest."""
    parameters = [*described.get("parameters", ()), *own.get("parameters", ())]
    rest = {status: answer for status, answer in described["responses"].items() if not status.startswith("2")}
    responses = {**own.get("responses", {}), **rest}
    return {**described, **own, **({"parameters": parameters} if parameters else {}), "responses": responses}


def _prose(handler: types.Handler) -> JSON:
    """Return a handler's summary and description: the first paragraph of its docstring, and the rest."""
    summary, _, description = (inspect.getdoc(concurrency.unwrap(handler)) or "").partition("\n\n")
    prose = {"summary": " ".join(summary.split()), "description": description.strip()}
    return {name: text for name, text in prose.items() if text}


def _parameters(taken: collections.abc.Iterable[Parameter], path: Path, components: Components) -> list[JSON]:
    """Return the parameters of a request: those that the handler's arguments need, and all of the path."""
    found: dict[tuple[str, str], JSON] = {}
    models = [parameter for parameter in taken if is_query_model(parameter.annotation)]
    for field in (each for model in models for each in _model_parameters(model, components)):
        known = found.setdefault(("query", field["name"]), field)
        known["required"] = known["required"] or field["required"]
    named = [parameter for parameter in taken if parameter not in models]
    for parameter in (*named, *(Parameter(name, Parameter.empty) for name in path.parameters)):
        place, name = _location(parameter, path)
        described = {"name": name, "in": place, **_parameter(parameter, place, path.parameters.get(name), components)}
        known = found.setdefault((place, name.lower() if place == "header" else name), described)
        known["required"] = known["required"] or described["required"]
    return [
        parameter for (place, name), parameter in found.items() if place != "header" or name not in _RESERVED_HEADERS
    ]


def _location(parameter: Parameter, path: Path) -> tuple[str, str]:
    """Return where a parameter comes from, and its name there."""
    match marker(parameter.annotation):
        case types.Header(name):
            return "header", name or parameter.name.replace("_", "-")
        case types.Cookie(name):
            return "cookie", name or parameter.name
        case types.PathParam(name):
            return "path", name or parameter.name
        case types.QueryParam(name):
            return "query", name or parameter.name
    return ("path" if parameter.name in path.parameters else "query"), parameter.name


def _model_parameters(parameter: Parameter, components: Components) -> collections.abc.Iterator[JSON]:
    """Yield the parameters of a query that is read as a model: one for each field."""
    annotation = schemas.unwrap_optional(parameter.annotation)
    model = components.resolve(components.schema(annotation))
    for name, field in model.get("properties", {}).items():
        schema = strip_null(field)
        description = schema.pop("description", None)
        yield {
            "name": name,
            "in": "query",
            "required": is_required(parameter) and name in model.get("required", ()),
            **({"description": description} if description else {}),
            "schema": schema,
        }


def _parameter(parameter: Parameter, place: str, converter: t.Any, components: Components) -> JSON:
    annotation = parameter.annotation
    if place == "path" and annotation in (Parameter.empty, str):
        annotation = converter.type
    schema = strip_null(components.schema(annotation))
    is_many = schemas.is_many(annotation)
    if is_many and place in ("header", "cookie"):  # each value is sent separately
        schema = {**schema.get("items", schema)}
    description = schema.pop("description", None)
    if not parameter.required and (default := _default(parameter.default)) is not None:
        schema["default"] = default
    return {
        "required": place == "path" or (is_required(parameter) and not is_many),
        **({"description": description} if description else {}),
        "schema": schema,
    }


def _default(value: t.Any) -> t.Any:
    """Return a default as JSON; None if JSON can't represent it."""
    try:
        return msgspec.json.decode(encode_json(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _may_fail_validation(parameter: Parameter, path: Path) -> bool:
    """Whether a value of this parameter can be invalid: the path's converter only matches valid ones."""
    place, name = _location(parameter, path)
    if is_query_model(parameter.annotation):
        return True
    if place == "path":
        return parameter.annotation not in (Parameter.empty, str, path.parameters[name].type)
    return is_required(parameter) or schemas.unwrap_optional(parameter.annotation) is not str


def _responses(returned: t.Any, components: Components) -> JSON:
    """Return the successful responses of a handler with this return type."""
    if returned in (None, type(None)):
        return {"204": {"description": "No content"}}
    value = schemas.unwrap_optional(returned)
    status, content = _response(value, components)
    answered = {status: {"description": _SUCCESS, **({"content": content} if content else {})}}
    return answered if value is returned else {**answered, **_responses(None, components)}


def _response(value: t.Any, components: Components) -> tuple[str, JSON | None]:
    """Return the status of a response, as far as it is known, and its content."""
    if value in (Parameter.empty, t.Any):
        return "2XX", None
    if isinstance(value, type) and issubclass(value, http.Response):
        media_type = getattr(value, "media_type", None)
        return ("3XX" if issubclass(value, http.RedirectResponse) else "2XX"), {media_type: {}} if media_type else None
    if (origin := t.get_origin(value)) in _STREAMS or value in _STREAMS:
        return "200", {_stream_type((*t.get_args(value), None)[0] if origin else None): {}}
    if value is bytes:  # encoded JSON
        return "200", {JSON_TYPE: {}}
    return "200", {JSON_TYPE: {"schema": components.schema(_drop_responses(value), output=True)}}


def _drop_responses(returned: t.Any) -> t.Any:
    """Return a return type without its responses: these aren't encoded as JSON."""
    kinds = schemas.members(returned)
    others = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, http.Response))]
    return returned if len(others) == len(kinds) or not others else t.Union[tuple(others)]  # noqa: UP007


def _stream_type(element: t.Any) -> str:
    """Return the media type of a stream, by the type of its elements."""
    return {str: "text/plain", bytes: "application/octet-stream"}.get(element, "application/x-ndjson")
