"""Pages in a document: what asks for one, the envelope that it comes in."""

import typing as t

from flama import schemas, types
from flama.injection import Parameter
from flama.pagination.handlers import element
from flama.rest import pages

__all__ = ["envelope", "parameter", "parameters"]

_JSON: t.TypeAlias = dict[str, t.Any]

_TITLES: t.Final[dict[str, str]] = {
    "page_number": "PageNumberPaginated",
    "limit_offset": "LimitOffsetPaginated",
    "cursor": "CursorPaginated",
}
_LINKS: t.Final[_JSON] = {"Link": {"schema": {"type": "string"}, "description": "The next page, and the previous one."}}


def parameters(style: pages.Style) -> list[_JSON]:
    """Give the description of the parameters that ask for a page."""
    return [parameter(name, schema) for name, schema in pages.described(style).items()]


def parameter(name: str, schema: _JSON) -> _JSON:
    """Give the description of a parameter of the query, of which a schema's own says what it is for."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    description = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": "query", "required": False, **description, "schema": bare}


def envelope(style: pages.Style, returned: t.Any, definitions: types.Schemas) -> _JSON:
    """Give the description of the answer with a page of what a handler returns."""
    record = element(schemas.without_none(returned))
    item = {} if record in (Parameter.empty, t.Any) else definitions.schema(record, output=True)
    name = _TITLES[style] + str(item.get("$ref", "")).rpartition("/")[2]
    properties = {"meta": pages.meta_schema(style), "data": {"type": "array", "items": item}}
    schema = {"title": name, "type": "object", "properties": properties, "required": ["meta", "data"]}
    described = definitions.reference(name, schema)
    return {"headers": _LINKS, "content": {"application/json": {"schema": described}}}
