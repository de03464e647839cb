"""Operations: what one route takes, what it answers."""

import collections.abc
import dataclasses
import inspect
import typing as t

import msgspec

from flama import concurrency, exceptions, http, schemas, types
from flama.http.request import JSON as JSON_TYPE
from flama.http.response import json
from flama.injection import Injector, Parameter
from flama.injection.component import signature
from flama.openapi.bodies import body, is_required
from flama.openapi.definitions import JSON, Definitions, without_null
from flama.pagination import descriptions
from flama.rest.pages import Style
from flama.routing.components import (
    BodyComponent,
    ConnectionComponent,
    ParameterComponent,
    asked,
    is_query_model,
    marker,
    needed,
)
from flama.routing.path import Path
from flama.routing.route import Route

__all__ = ["ERROR", "Served", "operation"]

ERROR: t.Final = "APIError"
"""The name of the schema that errors have."""

_FAILED: t.Final[JSON] = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{ERROR}"}}}
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
_OF_THE_DOCUMENT: t.Final = frozenset({"accept", "authorization", "content-type"})
"""Headers that a document describes in other places: a parameter of this name is ignored (OpenAPI 3.1, 4.8.12)."""


@dataclasses.dataclass(frozen=True)
class Served:
    """A route as an application serves it: its path and name there, what makes its handler's arguments."""

    path: str
    name: str
    route: Route
    injector: Injector


def operation(served: Served, definitions: Definitions) -> JSON:
    """Give the description of what a route does.

    :raises ApplicationError: something that the handler takes or answers can't be described.
    """
    try:
        return _operation(served, definitions)
    except (TypeError, NameError, exceptions.ApplicationError) as error:
        raise exceptions.ApplicationError(
            f"The handler '{served.name}' of '{served.path}' can't be described: {error}"
        ) from error


def _operation(served: Served, definitions: Definitions) -> JSON:
    handler, path, style = served.route.handler, Path(served.path), t.cast(Style | None, served.route.pagination)
    found = list(asked(served.injector, handler))
    named = [parameter for parameter, component in found if isinstance(component, ParameterComponent)]
    parameters = [*_parameters(named, path, definitions), *(descriptions.parameters(style) if style else ())]
    bodily = [parameter for parameter, component in found if not isinstance(component, ParameterComponent)]
    limits = {each.max_records for _, each in found if isinstance(each, BodyComponent | ConnectionComponent)}
    request_body = body(bodily, definitions, *limits)
    may_fail = style or request_body is not None or any(_can_be_wrong(parameter, path) for parameter in named)
    returned = signature(handler)[1]
    page = {"200": {"description": _SUCCESS, **descriptions.envelope(style, returned, definitions)}} if style else None
    described = {
        **_prose(handler),
        **({"tags": list(served.route.tags)} if served.route.tags else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": request_body} if request_body else {}),
        "responses": {
            **(page or _responses(returned, definitions)),
            **({"400": {"description": "Invalid request", "content": _FAILED}} if may_fail else {}),
            **_refusals(served),
            "default": {"description": "Error", "content": _FAILED},
        },
    }
    return described if served.route.description is None else _told(described, served.route.description(definitions))


def _refusals(served: Served) -> JSON:
    """The responses with which a route refuses those who may not use it."""
    found = {status for p, c in needed(served.injector, served.route.handler) for status in c.refusals(p)}
    return {str(status): {"description": _REFUSALS[status], "content": _FAILED} for status in sorted(found)}


def _told(described: JSON, told: JSON) -> JSON:
    """The description of an operation with what its route tells of it: more parameters, what it takes and answers."""
    parameters = [*described.get("parameters", ()), *told.get("parameters", ())]
    rest = {status: answer for status, answer in described["responses"].items() if not status.startswith("2")}
    responses = {**told.get("responses", {}), **rest}
    return {**described, **told, **({"parameters": parameters} if parameters else {}), "responses": responses}


def _prose(handler: types.Handler) -> JSON:
    """The first paragraph of the docstring, and the rest of it."""
    summary, _, description = (inspect.getdoc(concurrency.underlying(handler)) or "").partition("\n\n")
    prose = {"summary": " ".join(summary.split()), "description": description.strip()}
    return {name: text for name, text in prose.items() if text}


def _parameters(taken: collections.abc.Iterable[Parameter], path: Path, definitions: Definitions) -> list[JSON]:
    """The parameters that a request has: those that somebody asks for, and all of the path's."""
    found: dict[tuple[str, str], JSON] = {}
    models = [parameter for parameter in taken if is_query_model(parameter.annotation)]
    for field in (each for model in models for each in _model_parameters(model, definitions)):
        known = found.setdefault(("query", field["name"]), field)
        known["required"] = known["required"] or field["required"]
    named = [parameter for parameter in taken if parameter not in models]
    for parameter in (*named, *(Parameter(name, Parameter.empty) for name in path.parameters)):
        place, name = _place(parameter, path)
        described = {"name": name, "in": place, **_parameter(parameter, place, path.parameters.get(name), definitions)}
        known = found.setdefault((place, name.lower() if place == "header" else name), described)
        known["required"] = known["required"] or described["required"]
    return [
        parameter for (place, name), parameter in found.items() if place != "header" or name not in _OF_THE_DOCUMENT
    ]


def _place(parameter: Parameter, path: Path) -> tuple[str, str]:
    """Where a parameter comes from, under which name."""
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


def _model_parameters(parameter: Parameter, definitions: Definitions) -> collections.abc.Iterator[JSON]:
    """The parameters of a query that is read as a model: its fields."""
    annotation = schemas.without_none(parameter.annotation)
    model = definitions.resolved(definitions.schema(annotation))
    for name, field in model.get("properties", {}).items():
        schema = without_null(field)
        description = schema.pop("description", None)
        yield {
            "name": name,
            "in": "query",
            "required": is_required(parameter) and name in model.get("required", ()),
            **({"description": description} if description else {}),
            "schema": schema,
        }


def _parameter(parameter: Parameter, place: str, converter: t.Any, definitions: Definitions) -> JSON:
    annotation = parameter.annotation
    if place == "path" and annotation in (Parameter.empty, str):
        annotation = converter.type
    schema = without_null(definitions.schema(annotation))
    is_many = schemas.is_many(annotation)
    if is_many and place in ("header", "cookie"):  # each value is sent by itself
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
    """A default as JSON has it; None for one that JSON can't hold, which a document can't tell."""
    try:
        return msgspec.json.decode(json(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _can_be_wrong(parameter: Parameter, path: Path) -> bool:
    """Whether a request can be refused for this parameter: a path of another look is no path of this route."""
    place, name = _place(parameter, path)
    if is_query_model(parameter.annotation):
        return True
    if place == "path":
        return parameter.annotation not in (Parameter.empty, str, path.parameters[name].type)
    return is_required(parameter) or schemas.without_none(parameter.annotation) is not str


def _responses(returned: t.Any, definitions: Definitions) -> JSON:
    """What a handler answers that returns a value of this type."""
    if returned in (None, type(None)):
        return {"204": {"description": "No content"}}
    value = schemas.without_none(returned)
    status, content = _answer(value, definitions)
    answered = {status: {"description": _SUCCESS, **({"content": content} if content else {})}}
    return answered if value is returned else {**answered, **_responses(None, definitions)}


def _answer(value: t.Any, definitions: Definitions) -> tuple[str, JSON | None]:
    """The status, as far as it is known, and the content of an answer."""
    if value in (Parameter.empty, t.Any):
        return "2XX", None
    if isinstance(value, type) and issubclass(value, http.Response):
        media_type = getattr(value, "media_type", None)
        return ("3XX" if issubclass(value, http.RedirectResponse) else "2XX"), {media_type: {}} if media_type else None
    if (origin := t.get_origin(value)) in _STREAMS or value in _STREAMS:
        return "200", {_stream_type((*t.get_args(value), None)[0] if origin else None): {}}
    if value is bytes:  # which are JSON already
        return "200", {JSON_TYPE: {}}
    return "200", {JSON_TYPE: {"schema": definitions.schema(_without_responses(value), output=True)}}


def _without_responses(returned: t.Any) -> t.Any:
    """The type of what is answered as JSON: a response is as its handler makes it."""
    kinds = schemas.members(returned)
    others = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, http.Response))]
    return returned if len(others) == len(kinds) or not others else t.Union[tuple(others)]  # noqa: UP007


def _stream_type(element: t.Any) -> str:
    """The media type of a stream, by what its elements are."""
    return {str: "text/plain", bytes: "application/octet-stream"}.get(element, "application/x-ndjson")
