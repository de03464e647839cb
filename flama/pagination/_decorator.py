"""Paginated handlers: wrappers that send one page of what a handler returns."""

import collections.abc
import contextlib
import functools
import inspect
import typing as t

from flama import concurrency, exceptions, http, schemas, types
from flama.http.request import query_pairs
from flama.http.response import encode_json
from flama.injection.component import Parameter, signature
from flama.pagination import _fetch, _responses
from flama.rest import cursors, paging

__all__ = ["item_type", "paginate"]

_Context: t.TypeAlias = contextlib.AbstractAsyncContextManager[t.Any]

_SCOPE: t.Final = "pagination_scope"
_END: t.Final = object()
_STREAMS: t.Final = (
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncIterator,
    collections.abc.Generator,
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Sequence,
)


def paginate(handler: types.Handler, style: str) -> types.Handler:
    """Return a handler that responds with one page of what ``handler`` returns.

    The handler returns a list, an async iterable, or the result of a repository's ``list``. From a repository, only the
    records of the page are read. The unit of work must still be open then: the handler yields the list inside of it.

    :raises ApplicationError: there is no such style. In a request: pages by ``cursor`` are ordered by a field that
        isn't in responses, and the application has no secret.
    """
    if style not in paging.STYLES:
        raise exceptions.ApplicationError(
            f"The handler '{_name(handler)}' has pagination '{style}': it is one of {', '.join(paging.STYLES)}"
        )
    open_source = _as_context_manager(handler)
    encode, check_order = _encoder(signature(handler)[1]), _order_check(handler)

    async def run(scope: types.Scope, *args: t.Any, **kwargs: t.Any) -> http.Response:
        query = query_pairs(scope)
        page, bound = _responses.parse_page(style, scope, query, caller_scope=_scope_key((*args, *kwargs.values())))
        async with open_source(*args, **kwargs) as source:
            if isinstance(source, http.Response):
                return source
            try:
                found = await _fetch.fetch_page(style, page, source, bound, check_order)
            except cursors.InvalidCursorError as error:
                raise _responses.query_error(error) from error
            except exceptions.SessionClosedError as error:
                message = f"{error}: let the handler '{run.__name__}' yield the list inside of it, not return it"
                raise exceptions.SessionClosedError(message) from error
        return _responses.page_response(style, page, found, query, encode)

    return _copy_signature(run, handler)


def _scope_key(arguments: collections.abc.Iterable[t.Any]) -> str:
    """Return a text that identifies the records that a handler's workers may read."""
    return "".join(getattr(each, "_scope_key", "") for each in arguments)


def item_type(returned: t.Any) -> t.Any:
    """Return the type of a record, from the return annotation of a handler that returns many."""
    if metadata := types.get_schema_metadata(returned):
        return t.Annotated[types.Schema, metadata]
    if t.get_origin(returned) in (list, *_STREAMS):
        return t.get_args(returned)[0]
    return returned


def _copy_signature(run: t.Any, handler: types.Handler) -> types.Handler:
    """Copy a handler's signature to a function, after a parameter for the scope, with its name and docstring."""
    parameters, _ = signature(handler)
    own = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY if each.keyword else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=each.default,
            annotation=each.annotation,
        )
        for each in parameters
    ]
    scope = inspect.Parameter(_SCOPE, inspect.Parameter.POSITIONAL_ONLY, annotation=types.Scope)
    annotated = {each.name: each.annotation for each in own if each.annotation is not Parameter.empty}
    run.__signature__ = inspect.Signature([scope, *own])
    run.__annotations__ = {_SCOPE: types.Scope, **annotated, "return": http.Response}
    run.__name__ = run.__qualname__ = _name(handler)
    run.__doc__ = inspect.getdoc(concurrency.unwrap(handler))
    return t.cast(types.Handler, run)


def _name(handler: types.Handler) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _encoder(returned: t.Any) -> collections.abc.Callable[[t.Any], bytes]:
    record: t.Any = item_type(schemas.unwrap_optional(returned))
    adapter = None if record is Parameter.empty else schemas.adapter(list.__class_getitem__(record))
    return encode_json if adapter is None else adapter.encode


def _order_check(handler: types.Handler) -> collections.abc.Callable[[tuple[str, ...], type], None]:
    """Return a check that readable cursors only hold fields that are in responses.

    The fields of a response are those of the handler's annotation, or else of the records' class.

    The check raises :class:`~flama.exceptions.ApplicationError`.
    """
    annotation = item_type(schemas.unwrap_optional(signature(handler)[1]))
    is_schema = any(map(schemas.is_model, schemas.members(annotation))) or types.is_schema(annotation)

    @functools.lru_cache(maxsize=64)
    def check(fields: tuple[str, ...], record: type) -> None:
        shown = annotation if is_schema else record
        if hidden := [name for name in fields if not schemas.has_output_field(shown, name)]:
            raise exceptions.ApplicationError(
                f"The pages of the handler '{_name(handler)}' are in the order of {', '.join(map(repr, fields))}, and "
                f"its records are answered without {', '.join(map(repr, hidden))}, which their cursors would reveal: "
                "make the application with Flama(secret=…), which encrypts cursors, or answer with these fields, or "
                "order by others"
            )

    return check


def _as_context_manager(handler: types.Handler) -> collections.abc.Callable[..., _Context]:
    """Return a function that calls a handler in a context: generators are closed when it exits."""
    if concurrency.is_async_generator(handler):
        return lambda *args, **kwargs: _open_generator(handler(*args, **kwargs))
    is_async, is_generator = concurrency.is_async(handler), concurrency.is_generator(handler)

    @contextlib.asynccontextmanager
    async def call(*args: t.Any, **kwargs: t.Any) -> collections.abc.AsyncGenerator[t.Any]:
        if is_async or is_generator:
            result = handler(*args, **kwargs)
            yield await result if is_async else result
        else:
            yield await concurrency.run_in_thread(handler, *args, **kwargs)

    return call


@contextlib.asynccontextmanager
async def _open_generator(generator: collections.abc.AsyncGenerator[t.Any]) -> collections.abc.AsyncGenerator[t.Any]:
    """Yield the records of a generator that yields either each record or one list.

    In the second case the generator is resumed at exit, as by :func:`contextlib.asynccontextmanager`.
    """
    first = await anext(generator, _END)
    if first is _END:
        yield []
    elif getattr(first, "query", None) is None and not isinstance(first, list):
        async with contextlib.aclosing(_prepend(first, generator)) as records:
            yield records
    else:
        try:
            yield first
        except BaseException as error:
            await generator.athrow(error)
            raise
        await _require_end(generator)


async def _prepend(first: t.Any, rest: collections.abc.AsyncGenerator[t.Any]) -> collections.abc.AsyncGenerator[t.Any]:
    async with contextlib.aclosing(rest):
        yield first
        async for record in rest:
            yield record


async def _require_end(generator: collections.abc.AsyncGenerator[t.Any]) -> None:
    if await anext(generator, _END) is not _END:
        await generator.aclose()
        raise exceptions.ApplicationError("A handler that yields a list to be cut in pages yields nothing else")
