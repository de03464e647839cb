"""Components: providers of the values that functions declare as parameters, by type."""

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

    ``keyword`` is true for a keyword-only parameter.
    """

    name: str
    annotation: t.Any
    default: t.Any = inspect.Parameter.empty
    keyword: bool = False

    empty: t.ClassVar[t.Any] = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether the parameter has no default."""
        return self.default is self.empty


@dataclasses.dataclass(frozen=True, slots=True)
class Depends:
    """The annotation of a parameter that receives the result of a function, whose own parameters are injected.

    ``statuses`` are the error statuses that the function may raise, for the OpenAPI document.
    """

    function: collections.abc.Callable[..., t.Any]
    statuses: tuple[int, ...] = ()

    def refusals(self, parameter: Parameter) -> tuple[int, ...]:
        """Return ``statuses``."""
        return self.statuses


_Signature: t.TypeAlias = tuple[tuple[Parameter, ...], t.Any]

# Start-up reads most signatures several times. A method's lacks the first parameter of its function's.
_function_signatures: t.Final = weakref.WeakKeyDictionary[types.FunctionType, _Signature]()
_method_signatures: t.Final = weakref.WeakKeyDictionary[types.FunctionType, _Signature]()


def signature(function: collections.abc.Callable[..., t.Any]) -> _Signature:
    """Return the parameters of a function, without ``*args`` and ``**kwargs``, and its return annotation.

    Annotations are evaluated once, and type aliases in them are resolved.

    :raises ApplicationError: a string annotation contains a name that the function's module doesn't define.
    """
    key = getattr(function, "__func__", function)
    if not isinstance(key, types.FunctionType):
        return _read_signature(function)
    known = _function_signatures if key is function else _method_signatures
    if (found := known.get(key)) is None:
        found = known[key] = _read_signature(function)
    return found


def _read_signature(function: collections.abc.Callable[..., t.Any]) -> _Signature:
    try:
        found = t.get_type_hints(concurrency.unwrap(function), include_extras=True)
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
    """A provider of values of one type, the return annotation of ``resolve``.

    A subclass defines ``resolve`` as a function, a coroutine function, or a generator that yields one value. The code
    after the ``yield`` runs when the request ends, in reverse order. An exception that ended the request is thrown in;
    the generator can't suppress it.

    The parameters of ``resolve`` are injected too; one annotated :class:`Parameter` receives the parameter that the
    value is for. The value is created once per request, or once per parameter if ``cacheable`` is false.
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
        """Start the component, after the application's modules."""

    async def on_shutdown(self) -> None:
        """Stop the component, before the application's modules."""

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether this component provides a parameter: by default, if the annotation is its type."""
        return bool(parameter.annotation == self._provided_type)

    def select(self, parameter: Parameter, others: "collections.abc.Sequence[Component]") -> "Component":
        """Return the component that provides a parameter; ``others``, declared later, can handle it too.

        By default, it is this one. Called once, at start-up.
        """
        return self

    def provider(self, parameter: Parameter) -> collections.abc.Callable[..., t.Any]:
        """Return the callable that creates the value for a parameter: by default ``resolve``.

        Called once, at start-up, so that work which depends on the parameter alone isn't repeated per request.
        """
        return self.resolve

    def refusals(self, parameter: Parameter) -> collections.abc.Collection[int]:
        """Return the error statuses that providing this parameter may cause, for the OpenAPI document."""
        return ()

    @property
    def _provided_type(self) -> t.Any:
        _, returned = signature(self.resolve)
        if concurrency.is_generator(self.resolve) or concurrency.is_async_generator(self.resolve):
            return (*t.get_args(returned), returned)[0]
        return returned


class Components(tuple[Component, ...]):
    """The components of an application; the first that can handle a parameter provides it, or chooses another."""

    def find(self, parameter: Parameter) -> Component | None:
        """Return the component that provides a parameter, None if there is none."""
        candidates = [component for component in self if component.can_handle_parameter(parameter)]
        return candidates[0].select(parameter, candidates[1:]) if candidates else None
