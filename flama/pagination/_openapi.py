"""OpenAPI descriptions of pages: their parameters, their envelope."""

import typing as t

from flama import schemas, types
from flama.injection import Parameter
from flama.pagination._decorator import item_type
from flama.rest import paging

__all__ = ["envelope", "parameter", "parameters"]

_JSON: t.TypeAlias = dict[str, t.Any]

_TITLES: t.Final[dict[str, str]] = {
    "page_number": "PageNumberPaginated",
    "limit_offset": "LimitOffsetPaginated",
    "cursor": "CursorPaginated",
}
_LINKS: t.Final[_JSON] = {"Link": {"schema": {"type": "string"}, "description": "The next page, and the previous one."}}


def parameters(style: paging.Style) -> list[_JSON]:
    """Return the query parameters of a page style."""
    return [parameter(name, schema) for name, schema in paging.parameter_schemas(style).items()]


def parameter(name: str, schema: _JSON) -> _JSON:
    """Return a query parameter; the description of its schema moves to the parameter."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    description = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": "query", "required": False, **description, "schema": bare}


def envelope(style: paging.Style, returned: t.Any, components: types.Schemas) -> _JSON:
    """Return the response with a page of what a handler returns: its headers and content."""
    record = item_type(schemas.unwrap_optional(returned))
    item = {} if record in (Parameter.empty, t.Any) else components.schema(record, output=True)
    name = _TITLES[style] + str(item.get("$ref", "")).rpartition("/")[2]
    properties = {"meta": paging.meta_schema(style), "data": {"type": "array", "items": item}}
    schema = {"title": name, "type": "object", "properties": properties, "required": ["meta", "data"]}
    described = components.reference(name, schema)
    return {"headers": _LINKS, "content": {"application/json": {"schema": described}}}
