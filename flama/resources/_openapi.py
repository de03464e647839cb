"""OpenAPI descriptions of a resource's operations."""

import typing as t

from flama import types
from flama.pagination import _openapi
from flama.resources._spec import ResourceSpec
from flama.rest import conditional_requests, filters, idempotency, ndjson, paging, query_parameters
from flama.rest.filters import FieldFilter
from flama.rest.operations import Deleted, Envelope, Operation, Record, Records

__all__ = ["describe_operation"]

_JSON: t.TypeAlias = dict[str, t.Any]

_TEXT: t.Final[_JSON] = {"type": "string"}
_ETAG: t.Final[_JSON] = {"ETag": {"schema": _TEXT, "description": "The state of the record."}}
_LOCATION: t.Final[_JSON] = {"Location": {"schema": _TEXT, "description": "The path of the record."}}
_FILTER: t.Final = (
    'A filter with and, or, not, as JSON: a comparison is ["field", "operator", "value"], '
    'a group {"and": […]}, {"or": […]} or {"not": …}.'
)
_STATE: t.Final = "The ETag of the record that the request applies to."
_ANY_STATE: t.Final = "The request applies to the records in any state."
_REQUESTED_WITH: t.Final = (
    "Any value. Forms of other sites can't send this header. Content-Type: application/json will do as well."
)
_FORGEABLE: t.Final[_JSON] = {"415": {"description": "The request lacks a header that forms of other sites can't send"}}
_ORDER: t.Final = "The fields to order by, separated by commas; - before a field means descending."


def describe_operation(spec: ResourceSpec, operation: Operation, max_records: int | None) -> types.Description:
    """Return the description of an operation: parameters, body with at most ``max_records``, responses."""

    def describe(schemas: types.Schemas) -> _JSON:
        body = _body(spec, operation, schemas, max_records)
        parameters = [*_headers(spec, operation), *_query(spec, operation, schemas)]
        return {
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": {"required": True, "content": _json(body)}} if body else {}),
            "responses": _responses(spec, operation, schemas),
        }

    return describe


def _body(spec: ResourceSpec, operation: Operation, schemas: types.Schemas, max_records: int | None) -> _JSON | None:
    if operation.request is None:
        return None
    many = operation.request is Records
    one = schemas.schema(spec.input.annotation(partial=operation.partial))
    array = {"type": "array", "items": one, **({} if max_records is None else {"maxItems": max_records})}
    if operation.name == "create":
        return {"oneOf": [one, array]}
    return array if many else one


def _headers(spec: ResourceSpec, operation: Operation) -> list[_JSON]:
    found: list[_JSON] = []
    is_required = spec.preconditions and operation.changes
    if operation.kind == "element":
        name = "If-Match" if operation.writes else "If-None-Match"
        found.append(_header(name, conditional_requests.SCHEMA, _STATE, is_required=is_required))
    elif is_required:
        found.append(_header("If-Match", {"type": "string", "enum": ["*"]}, _ANY_STATE, is_required=True))
    if operation.is_forgeable and not spec.simple_requests:
        found.append(_header("X-Requested-With", _TEXT, _REQUESTED_WITH, is_required=True))
    if spec.idempotency and operation.writes:
        found.append(
            _header(
                "Idempotency-Key",
                idempotency.SCHEMA,
                "A unique key of the request. A request with the key of an earlier one gets the same response.",
            )
        )
    return found


def _header(name: str, schema: _JSON, description: str, *, is_required: bool = False) -> _JSON:
    return {"name": name, "in": "header", "required": is_required, "description": description, "schema": schema}


def _query(spec: ResourceSpec, operation: Operation, schemas: types.Schemas) -> list[_JSON]:
    if operation.name == "list":
        schemas_by_name = {
            name: schema for style in paging.STYLES for name, schema in paging.parameter_schemas(style).items()
        }
        orders = [sign + name for name in sorted(spec.ordering) for sign in ("", "-")]
        order = {"type": "array", "items": {"type": "string", "enum": orders}, "minItems": 1, "maxItems": 9}
        found = [_openapi.parameter(name, schema) for name, schema in schemas_by_name.items()]
        found.append({**_parameter(query_parameters.ORDER_BY, order, _ORDER), "style": "form", "explode": False})
        found.append(_parameter(query_parameters.ORDER_DIRECTION, {"type": "string", "enum": ["asc", "desc"]}, ""))
        return found + _filters(spec, schemas)
    if operation.name in ("drop", "drop_where", "update_where"):
        natural = {"type": "integer", "minimum": 0, "maximum": 10**9 - 1}
        most = _parameter(
            query_parameters.MAX_AFFECTED, natural, "Refuse the request if it would affect more records than this."
        )
        return [most, *_filters(spec, schemas)]
    if operation.name == "upsert":
        fields = {"type": "array", "items": {"type": "string", "enum": sorted(spec.updatable)}, "minItems": 1}
        changed = _parameter(query_parameters.SET, fields, "The fields to update in existing records.")
        return [_conflict_parameter(spec), {**changed, "style": "form", "explode": False}]
    return [_conflict_parameter(spec)] if operation.name == "get_or_create" else []


def _conflict_parameter(spec: ResourceSpec) -> _JSON:
    known = [",".join(sorted(each)) for each in spec.unique or () if each.issubset(spec.conflict_fields)]
    schema = {"type": "string", **({"enum": known} if known else {})}
    return _parameter(query_parameters.ON, schema, "The fields that identify an existing record.")


def _filters(spec: ResourceSpec, schemas: types.Schemas) -> list[_JSON]:
    fields = [_field(name, field) for name, field in spec.filters.items() if name not in query_parameters.RESERVED]
    title = f"{spec.title}Filter"
    itself = {"$ref": f"#/components/schemas/{title}"}
    group = schemas.reference(title, filters.group_schema(spec.filters, itself))
    expression = {
        "name": query_parameters.FILTER,
        "in": "query",
        "required": False,
        "description": _FILTER,
        "content": _json(group),
    }
    return [*fields, expression]


def _field(name: str, field: FieldFilter) -> _JSON:
    operators = ", ".join(sorted(field.operators))
    description = f"An operator ({operators}), a colon and a value, not: before it to negate; a value alone is equal."
    schema = {"type": "array", "items": filters.schema(field), "maxItems": 9}
    return {**_parameter(name, schema, description), "style": "form", "explode": True}


def _parameter(name: str, schema: _JSON, description: str) -> _JSON:
    return _openapi.parameter(name, {**schema, **({"description": description} if description else {})})


def _responses(spec: ResourceSpec, operation: Operation, schemas: types.Schemas) -> _JSON:
    status, schema = str(operation.status), spec.output.schema
    if operation.response is Envelope:
        return {status: {"description": "A page of the records", **_pages(schema, schemas)}}
    if operation.response is Deleted:
        deleted = {"description": "Deleted", "content": _json(schemas.schema(Deleted, output=True))}
        return {status: deleted, **(_FORGEABLE if operation.is_forgeable and not spec.simple_requests else {})}
    if operation.response is None:
        return {status: {"description": "Deleted"}}
    one = schemas.schema(schema, output=True)
    array = {"type": "array", "items": one}
    if operation.response is not Record:
        return {status: _response("Done", array)}
    if operation.name == "retrieve":
        return {status: _response("Done", one, **_ETAG), "304": {"description": "The record has not changed"}}
    if operation.found is not None:
        found = _response("The record existed", one, **_ETAG)
        return {status: _response("Done", one, **_ETAG, **_LOCATION), str(operation.found): found}
    if operation.name == "create":
        return {status: _response("Done", {"oneOf": [one, array]}, **_ETAG, **_LOCATION)}
    return {status: _response("Done", one, **_ETAG)}


def _response(description: str, content: _JSON, **headers: _JSON) -> _JSON:
    return {"description": description, "content": _json(content), **({"headers": headers} if headers else {})}


def _pages(schema: t.Any, schemas: types.Schemas) -> _JSON:
    """Return the responses of each page style, which the query's parameters select, and of the stream."""
    each = [_openapi.envelope(style, list.__class_getitem__(schema), schemas) for style in paging.STYLES]
    content = [answer["content"]["application/json"]["schema"] for answer in each]
    stream = {ndjson.MEDIA_TYPE: {"schema": schemas.schema(schema, output=True)}}
    return {"headers": each[0]["headers"], "content": {**_json({"anyOf": content}), **stream}}


def _json(schema: _JSON) -> _JSON:
    return {"application/json": {"schema": schema}}
