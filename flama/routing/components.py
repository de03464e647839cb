"""The built-in components, which provide the parts of a request to handlers."""

import collections.abc
import datetime
import decimal
import enum
import typing as t
import uuid

import msgspec
import starlette.requests
import starlette.websockets

from flama import exceptions, http, schemas, types
from flama._annotations import unwrap
from flama.http import request
from flama.injection import Component, Injector, Parameter
from flama.injection.component import Depends, signature
from flama.routing.path import Path

__all__ = [
    "BodyComponent",
    "ConnectionComponent",
    "ParameterComponent",
    "body_parameters",
    "has_form",
    "is_file",
    "is_optional",
    "is_parameter_type",
    "is_query_model",
    "iter_providers",
    "iter_request_parameters",
    "marker",
]

_Reader: t.TypeAlias = collections.abc.Callable[..., t.Any]


class ConnectionComponent(Component):
    """A component for the parts of a connection: its URL, headers, body, and the request or web socket itself."""

    def __init__(self, limit: int | None, max_records: int | None = None) -> None:
        self.max_records = max_records
        records = schemas.RecordLimit(max_records)

        async def body(scope: types.Scope, receive: types.Receive) -> bytes:
            return await request.read_body(scope, receive, limit)

        async def data(scope: types.Scope, receive: types.Receive) -> t.Any:
            return await request.read_data(scope, receive, limit, records)

        def make_request(scope: types.Scope, receive: types.Receive, send: types.Send) -> http.Request:
            return http.Request(scope, receive, send, limit)

        self._readers: dict[t.Any, _Reader] = {
            **_READERS,
            types.Body: body,
            types.RequestData: data,
            http.Request: make_request,
            starlette.requests.Request: make_request,
        }

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether the annotation is the type of such a part."""
        return _is_hashable(parameter.annotation) and parameter.annotation in self._readers

    def provider(self, parameter: Parameter) -> _Reader:
        """Return the function that reads it."""
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
    request.check_query(scope["query_string"])
    return http.QueryParams(scope["query_string"])


def _path_params(scope: types.Scope) -> types.PathParams:
    return types.PathParams(scope.get("path_params") or {})


def _headers(scope: types.Scope) -> http.Headers:
    return http.Headers(scope=scope)


def _cookies(scope: types.Scope) -> types.Cookies:
    return types.Cookies(starlette.requests.HTTPConnection(scope).cookies)


def _web_socket(scope: types.Scope, receive: types.Receive, send: types.Send) -> http.WebSocket:
    return http.WebSocket(scope, receive, send)


def _decode_member(decoder: msgspec.json.Decoder[t.Any], body: bytes) -> bytes | None:
    """Return the JSON of a body's member; None if the member is missing."""
    try:
        (member,) = msgspec.structs.astuple(decoder.decode(body or b"{}"))
        return None if member is None else bytes(member)
    except msgspec.ValidationError as error:
        wrong = {"type": "dict_type", "loc": (), "msg": "Input should be an object", "input": None}
        raise exceptions.ValidationError(schemas.error_detail([wrong])) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exceptions.DecodeError(f"Invalid JSON: {error}") from error


_Query = t.NewType("_Query", dict[str, list[str]])  # parsed once per request


def _query(scope: types.Scope) -> _Query:
    return _Query(request.parse_query(scope))


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
    starlette.websockets.WebSocket: _web_socket,
}


class BodyComponent(Component):
    """A component that provides the body of a request, JSON or a form, validated by a schema.

    With ``by_name``, a JSON body is an object with a member per parameter, of the parameter's name. Its lists of models
    may have at most ``max_records`` items.
    """

    def __init__(self, limit: int | None, max_records: int | None = None, *, by_name: bool = False) -> None:
        self.max_records = max_records
        self._limit = limit
        self._by_name = by_name

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether the annotation is a schema, an uploaded file, or a list of files."""
        annotation = schemas.unwrap_optional(parameter.annotation)
        if is_file(annotation):
            return True
        return schemas.is_structured(annotation) and marker(annotation) is None

    def provider(self, parameter: Parameter) -> _Reader:
        """Return the function that reads and validates the body.

        :raises ComponentError: the annotation has no schema.
        """
        annotation = schemas.unwrap_optional(parameter.annotation)
        if is_file(annotation):
            return self._file_reader(parameter, many=schemas.is_many(annotation))
        adapter = _adapter(parameter, annotation)
        records = schemas.RecordLimit(self.max_records, adapter.lists)
        decode = _decoder(parameter, adapter, records)
        read_form = self._form_reader(adapter, is_taken=has_form(annotation))
        if self._by_name:
            return self._member_reader(parameter, decode, read_form)
        return self._body_reader(parameter, decode, read_form, records)

    def _form_reader(self, adapter: schemas.Adapter, *, is_taken: bool) -> _Reader:
        limit = self._limit

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            if not is_taken:
                raise exceptions.NoCodecAvailable(request.content_type(scope), (request.JSON,))
            form = await request.read_form(scope, receive, limit)
            return adapter.convert({name: form.getlist(name) for name in form})

        return read

    def _body_reader(
        self, parameter: Parameter, decode: _Reader, read_form: _Reader, records: schemas.RecordLimit
    ) -> _Reader:
        limit, absent = self._limit, _default_when_missing(parameter)

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            body = await request.read_json(scope, receive, limit, records.check_start)
            if body is None:
                return await read_form(scope, receive)
            return await decode(body) if body or absent is Parameter.empty else absent

        return read

    def _member_reader(self, parameter: Parameter, decode: _Reader, read_form: _Reader) -> _Reader:
        name, limit, absent = parameter.name, self._limit, _default_when_missing(parameter)
        # a struct skips the other members of a body, at no cost in memory
        fields = [("member", msgspec.Raw, None)]
        members = msgspec.json.Decoder(msgspec.defstruct("Members", fields, rename={"member": name}))

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            body = await request.read_json(scope, receive, limit)
            if body is None:
                return await read_form(scope, receive)
            member = _decode_member(members, body)
            if member is None:
                if absent is Parameter.empty:
                    raise _missing_error(name)
                return absent
            try:
                return await decode(member)
            except exceptions.ValidationError as error:
                errors = reversed([*t.cast("dict[str, t.Any]", error.detail).values()])
                raise exceptions.ValidationError(schemas.error_detail(errors, (name,))) from error

        return read

    def _file_reader(self, parameter: Parameter, *, many: bool) -> _Reader:
        name, limit, absent = parameter.name, self._limit, _default_when_missing(parameter)

        async def read(scope: types.Scope, receive: types.Receive) -> t.Any:
            files = (await request.read_form(scope, receive, limit)).getlist(name)
            if not files and absent is not Parameter.empty:
                return absent
            if not files or any(isinstance(file, str) for file in files):
                raise _missing_error(name)
            return files if many else files[-1]

        return read


def iter_request_parameters(
    injector: Injector, function: types.Handler, path: tuple[Component, ...] = ()
) -> collections.abc.Iterator[tuple[Parameter, Component]]:
    """Yield the parameters that built-in components provide to a function, directly or through other components."""
    for parameter, component in iter_providers(injector, function, path):
        if isinstance(component, _BUILT_IN):
            yield parameter, component


def iter_providers(
    injector: Injector, function: types.Handler, path: tuple[Component, ...] = ()
) -> collections.abc.Iterator[tuple[Parameter, Component | Depends]]:
    """Yield the providers of a function's arguments and their own dependencies, each with the parameter it provides."""
    for parameter in signature(function)[0]:
        if isinstance(parameter.annotation, Depends):
            yield parameter, parameter.annotation
            yield from iter_providers(injector, parameter.annotation.function, path)
            continue
        component = None if _is_root(parameter, injector) else injector.components.find(parameter)
        if component is None or component in path:
            continue
        yield parameter, component
        if not isinstance(component, _BUILT_IN):
            yield from iter_providers(injector, component.provider(parameter), (*path, component))


def _is_root(parameter: Parameter, injector: Injector) -> bool:
    return parameter.annotation is Parameter or any(parameter.annotation == root for root in injector.roots)


def body_parameters(injector: Injector, handler: types.Handler) -> list[str]:
    """Return the names of the parameters that a handler reads from a body; two or more are members of a JSON object.

    :raises ComponentError: the handler reads files as well as a value that a form can't contain.
    """
    found = [
        parameter
        for parameter, component in iter_request_parameters(injector, handler)
        if isinstance(component, BodyComponent)
    ]
    kinds = {parameter.name: schemas.unwrap_optional(parameter.annotation) for parameter in found}
    files = [name for name, kind in kinds.items() if is_file(kind)]
    others = [name for name in kinds if name not in files]
    if files and (wrong := [name for name in others if not has_form(kinds[name])]):
        title = getattr(handler, "__name__", handler)
        raise exceptions.ComponentError(
            f"Parameter '{wrong[0]}' can't be read from a form, and the file '{files[0]}' from nothing else, "
            f"in function '{title}'"
        )
    return others


def _adapter(parameter: Parameter, annotation: t.Any) -> schemas.Adapter:
    try:
        return t.cast(schemas.Adapter, schemas.adapter(annotation))
    except exceptions.ApplicationError as error:
        raise exceptions.ComponentError(
            f"Parameter '{parameter.name}' can't be read from a request: {error}"
        ) from error


def _decoder(parameter: Parameter, adapter: schemas.Adapter, records: schemas.RecordLimit) -> _Reader:
    """Return the decoder of a JSON body; null becomes None if the parameter is optional."""
    is_nullable = is_optional(parameter)

    async def decode(body: bytes) -> t.Any:
        if is_nullable and body.strip() == b"null":
            return None
        records.check(body)
        if len(body) <= schemas.LARGE:
            return adapter.decode(body)
        async with schemas.decoding_slot():
            return await schemas.decode_large(adapter, body)

    return decode


def is_file(annotation: t.Any) -> bool:
    """Whether a type is an uploaded file, or a list of files."""
    return annotation in (http.UploadFile, list[http.UploadFile])


def is_optional(parameter: Parameter) -> bool:
    """Whether a parameter's annotation allows None."""
    return schemas.unwrap_optional(parameter.annotation) is not parameter.annotation


def has_form(annotation: t.Any) -> bool:
    """Whether a form can contain values of a type: of a schema, or of a union of schemas.

    Lists of schemas count, so that validation refuses a form for them.
    """
    if types.is_schema(annotation):
        return True
    element = t.get_args(annotation)[0] if t.get_origin(annotation) is list else annotation
    return all(map(schemas.is_model, schemas.members(element)))


class ParameterComponent(Component):
    """A component that provides parameters by name: from the path, or else from the query.

    Annotations choose a header or a cookie instead. A schema annotated with :class:`~flama.types.QueryParam` is created
    from all the parameters of the query.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether the path has a parameter of this name, or strings convert to the annotation's type."""
        named_by_path = parameter.name in self._path.parameters
        return (
            is_parameter_type(parameter.annotation)
            or is_query_model(parameter.annotation)
            or (named_by_path and parameter.annotation is Parameter.empty)
        )

    def provider(self, parameter: Parameter) -> _Reader:
        """Return the function that reads the parameter.

        :raises ComponentError: strings don't convert to its type.
        """
        if is_query_model(parameter.annotation):
            return _query_model_reader(parameter)
        match marker(parameter.annotation):
            case types.Header(name):
                return _parameter_reader(parameter, _header_values(name or parameter.name.replace("_", "-")))
            case types.Cookie(name):
                return _parameter_reader(parameter, _cookie_values(name or parameter.name))
            case types.PathParam(name):
                return self._path_reader(parameter, name or parameter.name)
            case types.QueryParam(name):
                return _parameter_reader(parameter, _query_values(name or parameter.name), _Query)
        if parameter.name in self._path.parameters:
            return self._path_reader(parameter, parameter.name)
        return _parameter_reader(parameter, _query_values(parameter.name), _Query)

    def _path_reader(self, parameter: Parameter, name: str) -> _Reader:
        if name not in self._path.parameters:
            raise exceptions.ComponentNotFound(f"Path '{self._path.template}' has no parameter '{name}'")
        converter = self._path.parameters[name]
        if parameter.annotation not in (converter.type, Parameter.empty):
            return _parameter_reader(parameter, lambda scope: [str(scope["path_params"][name])])

        def read(scope: types.Scope) -> t.Any:
            return scope["path_params"][name]

        return read


_BUILT_IN: t.Final = (ParameterComponent, BodyComponent, ConnectionComponent)


def is_parameter_type(annotation: t.Any) -> bool:
    """Whether values of a type are written as text: numbers, dates, enums and so on, and collections of them."""
    kinds = [kind for kind in schemas.members(annotation) if kind is not type(None)]
    return bool(kinds) and all(_is_scalar(kind) or _is_collection(kind) for kind in kinds)


def _is_collection(annotation: t.Any) -> bool:
    arguments = [argument for argument in t.get_args(annotation) if argument is not ...]
    return bool(arguments) and schemas.is_many(annotation) and all(map(_is_scalar, arguments))


def _is_scalar(annotation: t.Any) -> bool:
    kinds = [kind for kind in schemas.members(annotation) if kind is not type(None)]
    if len(kinds) != 1:
        return bool(kinds) and all(map(_is_scalar, kinds))
    kind = getattr(kinds[0], "__supertype__", kinds[0])  # a NewType's own
    is_text = isinstance(kind, type) and not t.get_args(kind) and issubclass(kind, _PARAMETER_TYPES)
    return t.get_origin(kind) is t.Literal or is_text


def is_query_model(annotation: t.Any) -> bool:
    """Whether a type is a schema whose fields are parameters of the query."""
    return isinstance(marker(annotation), types.QueryParam) and schemas.is_model(_query_model(annotation))


def _query_model(annotation: t.Any) -> t.Any:
    kinds = schemas.members(schemas.unwrap_optional(annotation))
    return kinds[0] if len(kinds) == 1 else None


_PARAMETER_TYPES: t.Final = (
    str, int, float, bool, bytes, uuid.UUID, decimal.Decimal, enum.Enum,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip


def marker(annotation: t.Any) -> t.Any:
    """Return the marker in an annotation that names a parameter's source, such as ``Header``; None without one."""
    kinds = (types.Header, types.Cookie, types.PathParam, types.QueryParam)
    own = [each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, kinds)]
    inner = [found for each in t.get_args(annotation) if (found := marker(each)) is not None]
    return next(iter((*own, *inner)), None)


def _query_model_reader(parameter: Parameter) -> _Reader:
    model = _query_model(parameter.annotation)
    adapter, absent = _adapter(parameter, model), _default_when_missing(parameter)
    fields = {name: unwrap(annotation) for name, annotation in schemas.annotations(model).items()}
    if wrong := [name for name, annotation in fields.items() if not is_parameter_type(annotation)]:
        raise exceptions.ComponentError(
            f"Parameter '{parameter.name}' can't be read from a query, which has no objects as in {model.__name__}: "
            f"{', '.join(wrong)}"
        )

    def read(query: _Query) -> t.Any:
        if absent is not Parameter.empty and fields.keys().isdisjoint(query):
            return absent
        return adapter.convert(query)

    return read


def _header_values(name: str) -> _Reader:
    key = name.lower().encode("latin-1")
    return lambda scope: [value.decode("latin-1") for header, value in scope["headers"] if header == key]


def _cookie_values(name: str) -> _Reader:
    return lambda scope: [value] if (value := _cookies(scope).get(name)) is not None else []


def _query_values(name: str) -> _Reader:
    return lambda query: query.get(name, ())


def _parameter_reader(parameter: Parameter, values: _Reader, source: t.Any = types.Scope) -> _Reader:
    """Return the function that converts the strings which ``values`` finds in a source to the parameter's value."""
    many = schemas.is_many(parameter.annotation)
    convert = _converter(parameter, many=many)
    name, absent = parameter.name, [] if many and parameter.required else _default_when_missing(parameter)

    def read(source: t.Any) -> t.Any:
        sent = values(source)
        if not sent:
            if absent is Parameter.empty:
                raise _missing_error(name)
            return absent
        try:
            return convert(sent)
        except ValueError as error:
            raise exceptions.ValidationError(schemas.error_detail(error.args[0], (name,))) from error

    read.__annotations__["source"] = source
    return read


def _converter(parameter: Parameter, *, many: bool) -> _Reader:
    """Return the converter of all strings, or of the last one; for a union of both, their number decides."""
    try:
        one, all_ = (schemas.parameter_reader(parameter.annotation, many=each) for each in (False, True))
    except exceptions.ApplicationError as error:
        raise exceptions.ComponentError(
            f"Parameter '{parameter.name}' can't be read from a request: {error}"
        ) from error
    if many:
        return all_
    if any(map(schemas.is_many, schemas.members(parameter.annotation))):
        return lambda sent: one(sent[0]) if len(sent) == 1 else all_(sent)
    return lambda sent: one(sent[-1])


def _default_when_missing(parameter: Parameter) -> t.Any:
    """Return the value of a parameter that was not sent: its default, or None if it is optional."""
    if parameter.required and is_optional(parameter):
        return None
    return parameter.default


def _missing_error(name: str) -> exceptions.ValidationError:
    return exceptions.ValidationError(
        {name: {"type": "missing", "loc": [name], "msg": "Field required", "input": None}}
    )


def _is_hashable(annotation: t.Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
