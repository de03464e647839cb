"""Resolution of type aliases (PEP 695) in annotations."""

import collections.abc
import sys
import types
import typing as t

import typing_extensions as te

__all__ = ["rebuild", "unwrap"]

_ALIASES: t.Final = tuple({te.TypeAliasType, getattr(t, "TypeAliasType", te.TypeAliasType)})
_OPAQUE: t.Final = (t.Literal, collections.abc.Callable)  # their arguments aren't types, or not only types


def unwrap(annotation: t.Any) -> t.Any:
    """Return an annotation with each alias in it replaced by the type that it names.

    An alias within its own definition isn't replaced, since a recursive type has no end. An annotation without aliases
    is returned itself.

    :raises NameError: an alias refers to a name that doesn't exist.
    """
    return _unwrap(annotation, ())


def rebuild(annotation: t.Any, change: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
    """Return an annotation with ``change`` applied to its arguments; the annotation itself if that changes nothing."""
    if hasattr(annotation, "__metadata__"):
        inner = change(annotation.__origin__)
        return annotation if inner is annotation.__origin__ else t.Annotated[(inner, *annotation.__metadata__)]
    origin, arguments = t.get_origin(annotation), t.get_args(annotation)
    changed = arguments if origin in _OPAQUE else tuple(map(change, arguments))
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    if origin in (t.Union, types.UnionType):
        return t.Union[changed]  # noqa: UP007
    if copy_with := getattr(annotation, "copy_with", None):  # typing's own forms, such as Required[…]
        return copy_with(changed)
    return t.cast(t.Any, origin)[changed]


def _unwrap(annotation: t.Any, within: tuple[t.Any, ...]) -> t.Any:
    alias = _find_alias(annotation)
    if alias is None:
        return rebuild(annotation, lambda argument: _unwrap(argument, within))
    if alias in within:
        return annotation
    return _unwrap(_resolve(alias, t.get_args(annotation)), (*within, alias))


def _find_alias(annotation: t.Any) -> t.Any:
    """Return the alias of an annotation, which may have arguments; None if the annotation isn't an alias."""
    if hasattr(annotation, "__metadata__"):
        return None
    candidate = t.get_origin(annotation) or annotation
    return candidate if isinstance(candidate, _ALIASES) else None


def _resolve(alias: t.Any, arguments: tuple[t.Any, ...]) -> t.Any:
    value = _evaluate(alias)
    substitutions = dict(_pair(alias.__type_params__, arguments))
    if isinstance(value, t.TypeVar):
        return substitutions.get(value, (value,))[0]
    parameters = getattr(value, "__parameters__", ())
    if not substitutions or not parameters:
        return value
    return value[tuple(argument for each in parameters for argument in substitutions.get(each, (each,)))]


def _pair(
    parameters: tuple[t.Any, ...], arguments: tuple[t.Any, ...]
) -> collections.abc.Iterator[tuple[t.Any, tuple[t.Any, ...]]]:
    """Yield each type parameter with its arguments: one, or for a ``TypeVarTuple`` those that the others leave."""
    spare, start = len(arguments) - len(parameters) + 1, 0
    for parameter in parameters:
        end = start + (spare if isinstance(parameter, t.TypeVarTuple | te.TypeVarTuple) else 1)
        if arguments[start:end]:
            yield parameter, arguments[start:end]
        start = end


def _evaluate(alias: t.Any) -> t.Any:
    """Return an alias' value; names in strings are resolved in the alias' module."""
    names = vars(sys.modules.get(alias.__module__ or "", t))
    holder = types.SimpleNamespace(__annotations__={"value": alias.__value__})
    return t.get_type_hints(holder, dict(names), include_extras=True)["value"]
