"""Type aliases (PEP 695) in annotations: what they stand for."""

import collections.abc
import sys
import types
import typing as t

import typing_extensions as te

__all__ = ["rebuild", "unwrap"]

_ALIASES: t.Final = tuple({te.TypeAliasType, getattr(t, "TypeAliasType", te.TypeAliasType)})
_OPAQUE: t.Final = (t.Literal, collections.abc.Callable)  # whose arguments aren't types, or not types alone


def unwrap(annotation: t.Any) -> t.Any:
    """Return an annotation with each alias in it replaced by the type that it names.

    An alias within its own definition stays, since a recursive type has no end. An annotation without aliases is
    returned itself.

    :raises NameError: an alias names something that isn't there.
    """
    return _unwrap(annotation, ())


def rebuild(annotation: t.Any, change: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
    """Return an annotation with each of its arguments changed, or itself where that changes none of them."""
    if hasattr(annotation, "__metadata__"):
        inner = change(annotation.__origin__)
        return annotation if inner is annotation.__origin__ else t.Annotated[(inner, *annotation.__metadata__)]
    origin, arguments = t.get_origin(annotation), t.get_args(annotation)
    changed = arguments if origin in _OPAQUE else tuple(map(change, arguments))
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    if origin in (t.Union, types.UnionType):
        return t.Union[changed]  # noqa: UP007
    if copy_with := getattr(annotation, "copy_with", None):  # of what typing has, such as Required[…]
        return copy_with(changed)
    return t.cast(t.Any, origin)[changed]


def _unwrap(annotation: t.Any, within: tuple[t.Any, ...]) -> t.Any:
    alias = _alias(annotation)
    if alias is None:
        return rebuild(annotation, lambda argument: _unwrap(argument, within))
    if alias in within:
        return annotation
    return _unwrap(_value(alias, t.get_args(annotation)), (*within, alias))


def _alias(annotation: t.Any) -> t.Any:
    """Return the alias that an annotation is, or is made of by arguments; None where it is no alias."""
    if hasattr(annotation, "__metadata__"):
        return None
    candidate = t.get_origin(annotation) or annotation
    return candidate if isinstance(candidate, _ALIASES) else None


def _value(alias: t.Any, arguments: tuple[t.Any, ...]) -> t.Any:
    value = _evaluate(alias)
    known = dict(_pair(alias.__type_params__, arguments))
    if isinstance(value, t.TypeVar):
        return known.get(value, (value,))[0]
    parameters = getattr(value, "__parameters__", ())
    if not known or not parameters:
        return value
    return value[tuple(argument for each in parameters for argument in known.get(each, (each,)))]


def _pair(
    parameters: tuple[t.Any, ...], arguments: tuple[t.Any, ...]
) -> collections.abc.Iterator[tuple[t.Any, tuple[t.Any, ...]]]:
    """Yield each type parameter with its arguments: one, or of a ``TypeVarTuple`` as many as the others leave."""
    spare, start = len(arguments) - len(parameters) + 1, 0
    for parameter in parameters:
        end = start + (spare if isinstance(parameter, t.TypeVarTuple | te.TypeVarTuple) else 1)
        if arguments[start:end]:
            yield parameter, arguments[start:end]
        start = end


def _evaluate(alias: t.Any) -> t.Any:
    """Return an alias' value, in which names that are written as strings are those of its module."""
    names = vars(sys.modules.get(alias.__module__ or "", t))
    holder = types.SimpleNamespace(__annotations__={"value": alias.__value__})
    return t.get_type_hints(holder, dict(names), include_extras=True)["value"]
