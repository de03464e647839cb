"""Handlers whose answer is one page of what they give."""

import collections.abc
import contextlib
import functools
import inspect
import typing as t

from flama import concurrency, exceptions, http, schemas, types
from flama.http.request import query_pairs
from flama.http.response import json
from flama.injection.component import Parameter, signature
from flama.pagination import answers, slices
from flama.rest import cursors, pages

__all__ = ["element", "paginated"]

_Opened: t.TypeAlias = contextlib.AbstractAsyncContextManager[t.Any]

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


def paginated(handler: types.Handler, style: str) -> types.Handler:
    """Give the handler that answers with a page of what another gives, cut as a request asks in this style.

    That gives a list, something to iterate over asynchronously, or what a repository lists, of which the page alone is
    asked for. A unit of work has to be open for that: the handler yields the list from within it.

    :raises ApplicationError: there is no such style. While it answers: pages by ``cursor`` are in the order of a field
        that isn't answered, and the application has no secret.
    """
    if style not in pages.STYLES:
        raise exceptions.ApplicationError(
            f"The handler '{_name(handler)}' has pagination '{style}': it is one of {', '.join(pages.STYLES)}"
        )
    opened, encode, check_order = _opener(handler), _encoder(signature(handler)[1]), _order_check(handler)

    async def run(scope: types.Scope, *args: t.Any, **kwargs: t.Any) -> http.Response:
        query = query_pairs(scope)
        page, bound = answers.requested(style, scope, query, caller_scope=_scope_of((*args, *kwargs.values())))
        async with opened(*args, **kwargs) as source:
            if isinstance(source, http.Response):
                return source
            try:
                found = await slices.of(style, page, source, bound, check_order)
            except cursors.InvalidCursorError as error:
                raise answers.refused(error) from error
            except exceptions.SessionClosedError as error:
                message = f"{error}: let the handler '{run.__name__}' yield the list inside of it, not return it"
                raise exceptions.SessionClosedError(message) from error
        return answers.answer(style, page, found, query, encode)

    return _disguised(run, handler)


def _scope_of(arguments: collections.abc.Iterable[t.Any]) -> str:
    """Return what tells the records of a handler's workers from those of other callers' workers."""
    return "".join(getattr(each, "_scope_key", "") for each in arguments)


def element(returned: t.Any) -> t.Any:
    """Give the type of the records, of which a handler is annotated to return many in whichever form."""
    if metadata := types.get_schema_metadata(returned):
        return t.Annotated[types.Schema, metadata]
    if t.get_origin(returned) in (list, *_STREAMS):
        return t.get_args(returned)[0]
    return returned


def _disguised(run: t.Any, handler: types.Handler) -> types.Handler:
    """Give a function the parameters of a handler, behind the scope, and its name and documentation."""
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
    run.__doc__ = inspect.getdoc(concurrency.underlying(handler))
    return t.cast(types.Handler, run)


def _name(handler: types.Handler) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _encoder(returned: t.Any) -> collections.abc.Callable[[t.Any], bytes]:
    record: t.Any = element(schemas.without_none(returned))
    adapter = None if record is Parameter.empty else schemas.adapter(list.__class_getitem__(record))
    return json if adapter is None else adapter.encode


def _order_check(handler: types.Handler) -> collections.abc.Callable[[tuple[str, ...], type], None]:
    """Return what raises an error where readable cursors would hold fields that aren't answered.

    Records are answered as the handler is annotated, or else as their class has it.
    """
    annotation = element(schemas.without_none(signature(handler)[1]))
    is_schema = any(map(schemas.is_model, schemas.members(annotation))) or types.is_schema(annotation)

    @functools.lru_cache(maxsize=64)
    def check(fields: tuple[str, ...], record: type) -> None:
        shown = annotation if is_schema else record
        if hidden := [name for name in fields if not schemas.answers(shown, name)]:
            raise exceptions.ApplicationError(
                f"The pages of the handler '{_name(handler)}' are in the order of {', '.join(map(repr, fields))}, and "
                f"its records are answered without {', '.join(map(repr, hidden))}, which their cursors would reveal: "
                "make the application with Flama(secret=…), which encrypts cursors, or answer with these fields, or "
                "order by others"
            )

    return check


def _opener(handler: types.Handler) -> collections.abc.Callable[..., _Opened]:
    """Give what calls a handler: what it gives is there for as long as the context is."""
    if concurrency.is_async_generator(handler):
        return lambda *args, **kwargs: _yielded(handler(*args, **kwargs))
    is_async, is_generator = concurrency.is_async(handler), concurrency.is_generator(handler)

    @contextlib.asynccontextmanager
    async def returned(*args: t.Any, **kwargs: t.Any) -> collections.abc.AsyncGenerator[t.Any]:
        if is_async or is_generator:
            given = handler(*args, **kwargs)
            yield await given if is_async else given
        else:
            yield await concurrency.run_in_thread(handler, *args, **kwargs)

    return returned


@contextlib.asynccontextmanager
async def _yielded(generator: collections.abc.AsyncGenerator[t.Any]) -> collections.abc.AsyncGenerator[t.Any]:
    """Give what a generator yields, record by record or as a whole; it ends as a context's generator would."""
    first = await anext(generator, _END)
    if first is _END:
        yield []
    elif getattr(first, "query", None) is None and not isinstance(first, list):
        async with contextlib.aclosing(_with(first, generator)) as records:
            yield records
    else:
        try:
            yield first
        except BaseException as error:
            await generator.athrow(error)
            raise
        await _ended(generator)


async def _with(first: t.Any, rest: collections.abc.AsyncGenerator[t.Any]) -> collections.abc.AsyncGenerator[t.Any]:
    async with contextlib.aclosing(rest):
        yield first
        async for record in rest:
            yield record


async def _ended(generator: collections.abc.AsyncGenerator[t.Any]) -> None:
    if await anext(generator, _END) is not _END:
        await generator.aclose()
        raise exceptions.ApplicationError("A handler that yields a list to be cut in pages yields nothing else")
