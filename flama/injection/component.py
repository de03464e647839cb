"""Components: what makes the values that functions ask for by type."""

import collections.abc
import dataclasses
import inspect
import types
import typing as t
import weakref

from flama import concurrency, exceptions
from flama._annotations import unwrap

__all__ = ["Component", "Components", "Depends", "Parameter", "signature"]


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function: its name, annotation and default.

    ``keyword`` is true for a parameter that can only be passed by name.
    """

    name: str
    annotation: t.Any
    default: t.Any = inspect.Parameter.empty
    keyword: bool = False

    empty: t.ClassVar[t.Any] = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether the function can't do without."""
        return self.default is self.empty


@dataclasses.dataclass(frozen=True, slots=True)
class Depends:
    """The annotation of a parameter that receives what a function returns, whose own parameters are injected.

    ``statuses`` are those with which the function may refuse a request, for its description.
    """

    function: collections.abc.Callable[..., t.Any]
    statuses: tuple[int, ...] = ()

    def refusals(self, parameter: Parameter) -> tuple[int, ...]:
        """Return these statuses."""
        return self.statuses


_Signature: t.TypeAlias = tuple[tuple[Parameter, ...], t.Any]

# Start-up reads the signature of most functions several times. That of a method lacks its first parameter.
_of_functions: t.Final = weakref.WeakKeyDictionary[types.FunctionType, _Signature]()
_of_methods: t.Final = weakref.WeakKeyDictionary[types.FunctionType, _Signature]()


def signature(function: collections.abc.Callable[..., t.Any]) -> _Signature:
    """Return a function's parameters, without ``*args`` and ``**kwargs``, and what it is annotated to return.

    Annotations are evaluated once, and their type aliases replaced by what they stand for.

    :raises ApplicationError: an annotation is written as a string that names nothing in the function's module.
    """
    key = getattr(function, "__func__", function)
    if not isinstance(key, types.FunctionType):
        return _read_signature(function)
    known = _of_functions if key is function else _of_methods
    if (found := known.get(key)) is None:
        found = known[key] = _read_signature(function)
    return found


def _read_signature(function: collections.abc.Callable[..., t.Any]) -> _Signature:
    try:
        found = t.get_type_hints(concurrency.underlying(function), include_extras=True)
        hints = {name: unwrap(annotation) for name, annotation in found.items()}
    except NameError as error:
        name = getattr(function, "__qualname__", function)
        raise exceptions.ApplicationError(f"An annotation of '{name}' can't be evaluated: {error}") from error
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = tuple(
        Parameter(p.name, hints.get(p.name, Parameter.empty), p.default, p.kind is inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(function).parameters.values()
        if p.kind not in variadic
    )
    return parameters, hints.get("return", Parameter.empty)


class Component:
    """Makes a value of the type that ``resolve`` is annotated to return.

    A subclass defines ``resolve``, as a function, a coroutine function, or a generator of one value whose rest runs
    when the request ends: in reverse order, with the exception that ended it thrown in, which it can't swallow. Its own
    parameters are injected too; one annotated :class:`Parameter` receives the parameter that the value is for.

    The value is made once a request, unless ``cacheable`` is false: then once for every such parameter.
    """

    cacheable: t.ClassVar[bool] = True
    resolve: collections.abc.Callable[..., t.Any]

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        by_type = "resolve" in vars(cls) and cls.can_handle_parameter is Component.can_handle_parameter
        if by_type and inspect.signature(cls.resolve).return_annotation is inspect.Signature.empty:
            raise exceptions.ComponentError(
                f"Component '{cls.__qualname__}' must annotate what its 'resolve' returns, "
                "or override 'can_handle_parameter'"
            )

    async def on_startup(self) -> None:
        """Start, after the application's modules."""

    async def on_shutdown(self) -> None:
        """Stop, before the application's modules."""

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Return whether this makes the value for a parameter: by default, if the annotation is the provided type."""
        return bool(parameter.annotation == self._provides)

    def chosen(self, parameter: Parameter, others: "collections.abc.Sequence[Component]") -> "Component":
        """Return the component that makes a parameter's value, where components declared later can handle it, too.

        By default this one. Called once, at start-up.
        """
        return self

    def provider(self, parameter: Parameter) -> collections.abc.Callable[..., t.Any]:
        """Return the callable that makes the value for this parameter: by default ``resolve``.

        Called once, at start-up; whatever can be known of the parameter then needs no work in a request.
        """
        return self.resolve

    def refusals(self, parameter: Parameter) -> collections.abc.Collection[int]:
        """Return the statuses with which making this parameter's value may refuse a request, for its description."""
        return ()

    @property
    def _provides(self) -> t.Any:
        _, returned = signature(self.resolve)
        if concurrency.is_generator(self.resolve) or concurrency.is_async_generator(self.resolve):
            return (*t.get_args(returned), returned)[0]
        return returned


class Components(tuple[Component, ...]):
    """The components of an application; the first that can handle a parameter makes its value, or chooses another."""

    def find(self, parameter: Parameter) -> Component | None:
        """Return the component that makes this parameter's value, or None."""
        able = [component for component in self if component.can_handle_parameter(parameter)]
        return able[0].chosen(parameter, able[1:]) if able else None
