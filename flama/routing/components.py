"""What a handler can ask for of its request: the built-in components."""

import collections.abc
import datetime
import decimal
import enum
import typing as t
import uuid

import starlette.requests

from flama import exceptions, http, schemas, types
from flama.http import request
from flama.injection import Component, Parameter
from flama.routing.path import Path

__all__ = ["BodyComponent", "ConnectionComponent", "ParameterComponent", "is_textual"]

_Reader: t.TypeAlias = collections.abc.Callable[..., t.Any]


class ConnectionComponent(Component):
    """Gives what a connection is made of: its URL, headers, body, and the objects that stand for all of it."""

    def __init__(self, limit: int | None) -> None:
        async def body(scope: types.Scope, receive: types.Receive) -> bytes:
            return await request.read_body(scope, receive, limit)

        async def data(scope: types.Scope, receive: types.Receive) -> t.Any:
            return await request.data(scope, receive, limit)

        def whole(scope: types.Scope, receive: types.Receive, send: types.Send) -> http.Request:
            return http.Request(scope, receive, send, limit)

        self._readers: dict[t.Any, _Reader] = {
            **_READERS,
            types.Body: body,
            types.RequestData: data,
            http.Request: whole,
            starlette.requests.Request: whole,
        }

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Tell whether the annotation is one of those things."""
        return _hashable(parameter.annotation) and parameter.annotation in self._readers

    def provider(self, parameter: Parameter) -> _Reader:
        """Give the function that reads it."""
        return self._readers[parameter.annotation]


def _path(scope: types.Scope) -> types.Path:
    return types.Path(scope["path"])


def _method(scope: types.Scope) -> str:
    return str(scope["method"])


def _scheme(scope: types.Scope) -> types.Scheme:
    return types.Scheme(scope.get("scheme", "http"))


def _server(scope: types.Scope) -> types.Server | None:
    return types.Server(*server) if (server := scope.get("server")) else None


def _url(scope: types.Scope) -> types.URL:
    return types.URL(starlette.requests.HTTPConnection(scope).url)


def _query_string(scope: types.Scope) -> types.QueryString:
    return types.QueryString(scope["query_string"].decode("latin-1"))


def _query_params(scope: types.Scope) -> http.QueryParams:
    return http.QueryParams(scope["query_string"])


def _path_params(scope: types.Scope) -> types.PathParams:
    return types.PathParams(scope.get("path_params") or {})


def _headers(scope: types.Scope) -> http.Headers:
    return http.Headers(scope=scope)


def _cookies(scope: types.Scope) -> types.Cookies:
    return types.Cookies(starlette.requests.HTTPConnection(scope).cookies)


def _web_socket(scope: types.Scope, receive: types.Receive, send: types.Send) -> http.WebSocket:
    return http.WebSocket(scope, receive, send)


_Query = t.NewType("_Query", dict[str, list[str]])  # parsed once for all the parameters that are read from it


def _query(scope: types.Scope) -> _Query:
    return _Query(request.query(scope))


_READERS: t.Final[dict[t.Any, _Reader]] = {
    _Query: _query,
    types.Path: _path,
    types.Method: _method,
    types.Scheme: _scheme,
    types.Server: _server,
    types.URL: _url,
    types.QueryString: _query_string,
    types.PathParams: _path_params,
    types.Cookies: _cookies,
    http.Headers: _headers,
    http.QueryParams: _query_params,
    http.WebSocket: _web_socket,
}


class BodyComponent(Component):
    """Gives what a schema makes of a request's body: JSON, or a form."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Tell whether the annotation is a schema, or an uploaded file."""
        annotation = schemas.without_none(parameter.annotation)
        return annotation is http.UploadFile or schemas.adapter(annotation) is not None

    def provider(self, parameter: Parameter) -> _Reader:
        """Give the function that reads the body, and validates it."""
        if schemas.without_none(parameter.annotation) is http.UploadFile:
            return self._file_reader(parameter)
        return self._schema_reader(
            parameter, t.cast(schemas.Adapter, schemas.adapter(schemas.without_none(parameter.annotation)))
        )

    def _schema_reader(self, parameter: Parameter, adapter: schemas.Adapter) -> _Reader:
        limit, absent = self._limit, _absent(parameter)

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            if request.content_type(scope) == "application/json":
                body = await request.read_json(scope, receive, limit)
                return adapter.decode(body) if body or absent is Parameter.empty else absent
            form = await request.read_form(scope, receive, limit)
            return adapter.convert({name: form.getlist(name) for name in form})

        return read

    def _file_reader(self, parameter: Parameter) -> _Reader:
        name, limit, absent = parameter.name, self._limit, _absent(parameter)

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            file = (await request.read_form(scope, receive, limit)).get(name, absent)
            if file is Parameter.empty or isinstance(file, str):
                raise _missing(name)
            return file

        return read


class ParameterComponent(Component):
    """Gives parameters by name: from the path, else from the query; from a header or a cookie when annotated so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Tell whether the path has a parameter of this name, or the annotation is of a type that strings can be."""
        named_by_path = parameter.name in self._path.parameters
        return is_textual(parameter.annotation) or (named_by_path and parameter.annotation is Parameter.empty)

    def provider(self, parameter: Parameter) -> _Reader:
        """Give the function that reads the parameter."""
        match _marker(parameter):
            case types.Header(name):
                return _converted(parameter, _header_values(name or parameter.name.replace("_", "-")))
            case types.Cookie(name):
                return _converted(parameter, _cookie_values(name or parameter.name))
            case types.PathParam(name):
                return self._path_reader(parameter, name or parameter.name)
            case types.QueryParam(name):
                return _converted(parameter, _query_values(name or parameter.name), _Query)
        if parameter.name in self._path.parameters:
            return self._path_reader(parameter, parameter.name)
        return _converted(parameter, _query_values(parameter.name), _Query)

    def _path_reader(self, parameter: Parameter, name: str) -> _Reader:
        if name not in self._path.parameters:
            raise exceptions.ComponentNotFound(f"Path '{self._path.template}' has no parameter '{name}'")
        converter = self._path.parameters[name]
        if parameter.annotation not in (converter.type, Parameter.empty):
            return _converted(parameter, lambda scope: [str(scope["path_params"][name])])

        def read(scope: types.Scope) -> t.Any:
            return scope["path_params"][name]

        return read


def is_textual(annotation: t.Any) -> bool:
    """Tell whether a type is one whose values are written as text: numbers, dates, enums …, and lists of them."""
    if t.get_origin(annotation) is t.Literal:
        return True
    if arguments := t.get_args(annotation):
        inner = arguments[:1] if hasattr(annotation, "__metadata__") else arguments
        return all(argument in (type(None), ...) or is_textual(argument) for argument in inner)
    annotation = getattr(annotation, "__supertype__", annotation)  # a NewType's own
    return isinstance(annotation, type) and issubclass(annotation, _TEXTUAL)


_TEXTUAL: t.Final = (
    str, int, float, bool, bytes, uuid.UUID, decimal.Decimal, enum.Enum,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip


def _marker(parameter: Parameter) -> t.Any:
    kinds = (types.Header, types.Cookie, types.PathParam, types.QueryParam)
    return next((m for m in getattr(parameter.annotation, "__metadata__", ()) if isinstance(m, kinds)), None)


def _header_values(name: str) -> _Reader:
    key = name.lower().encode("latin-1")
    return lambda scope: [value.decode("latin-1") for header, value in scope["headers"] if header == key]


def _cookie_values(name: str) -> _Reader:
    return lambda scope: [value] if (value := _cookies(scope).get(name)) is not None else []


def _query_values(name: str) -> _Reader:
    return lambda query: query.get(name, ())


def _converted(parameter: Parameter, values: _Reader, source: t.Any = types.Scope) -> _Reader:
    """The function that makes the parameter's value from the strings that ``values`` finds for it in a source."""
    many = schemas.is_many(parameter.annotation)
    convert = schemas.parameter_reader(parameter.annotation, many=many)
    name, absent = parameter.name, [] if many and parameter.required else _absent(parameter)

    def read(source: t.Any) -> t.Any:
        sent = values(source)
        if not sent:
            if absent is Parameter.empty:
                raise _missing(name)
            return absent
        try:
            return convert(sent if many else sent[-1])
        except ValueError as error:
            raise exceptions.ValidationError(schemas.invalid(error.args[0], (name,))) from error

    read.__annotations__["source"] = source
    return read


def _absent(parameter: Parameter) -> t.Any:
    """What the parameter is when nothing was sent for it: its default, or None when that is allowed."""
    if parameter.required and schemas.without_none(parameter.annotation) is not parameter.annotation:
        return None
    return parameter.default


def _missing(name: str) -> exceptions.ValidationError:
    return exceptions.ValidationError(
        {name: {"type": "missing", "loc": [name], "msg": "Field required", "input": None}}
    )


def _hashable(annotation: t.Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
