"""Injection plans: a function's signature, compiled once to the code that creates its arguments.

For example, a handler ``get(user: User, id: int)`` needs three components: one that creates ``User`` from a ``Token``,
one that creates ``Token`` from the root ``scope``, and one that reads ``id``. The lines of its plan are::

    v0 = make0(scope)
    v1 = await make1(v0)
    v2 = make2(scope)

The caller inserts these lines into a function of its own, which then calls ``get(v1, v2)``.
"""

import collections.abc
import contextlib
import dataclasses
import functools
import itertools
import types
import typing as t

from flama import concurrency, exceptions
from flama._generated import Factory, compile_factory
from flama.injection.component import Component, Components, Depends, Parameter, signature

__all__ = ["Injector", "Plan", "handler_of_frame"]

_STACK: t.Final = "stack"
_FILE_PREFIX: t.Final = "<plan "  # the start of the file name of generated code


@dataclasses.dataclass(frozen=True)
class Plan:
    """The code that creates the arguments of a function.

    ``lines`` are assignments in order, ``arguments`` is the argument list of the call, ``names`` are the globals of
    both. If ``needs_exit_stack`` is true, the lines need an ``AsyncExitStack`` named ``stack``.
    """

    lines: tuple[str, ...]
    arguments: str
    names: dict[str, t.Any]
    needs_exit_stack: bool

    def function(self, source: str, **names: t.Any) -> t.Any:
        """Return the function ``run`` that ``source`` defines, with the plan's names and ``names`` as globals.

        ``{lines}`` and ``{arguments}`` in the source are replaced by the plan's, and ``{lines}`` is indented as its
        line is. The function that is called with the arguments must be named ``handler``.
        """
        given = {**self.names, **names}
        return _compile_source(_render(source, self), tuple(given))(*given.values())


@functools.cache
def _compile_source(source: str, names: tuple[str, ...]) -> Factory:
    """Return the factory of a source's function, which takes the values of ``names``.

    Plans with equal sources share one code object, which makes better use of the processor's cache.
    """
    return compile_factory(source, names, f"{_FILE_PREFIX}{next(_numbers)}>", is_lasting=True)


_numbers: t.Final = itertools.count()


def handler_of_frame(frame: types.FrameType) -> collections.abc.Callable[..., t.Any] | None:
    """Return the function that a frame of generated code calls; None for any other frame."""
    return frame.f_locals.get("handler") if frame.f_code.co_filename.startswith(_FILE_PREFIX) else None


def _render(source: str, plan: Plan) -> str:
    filled: list[str] = []
    for line in source.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        if line.strip() == "{lines}":
            filled += (indent + made for made in plan.lines)
        else:
            filled.append(line.replace("{arguments}", plan.arguments))
    return "\n".join(filled)


@dataclasses.dataclass(frozen=True)
class Injector:
    """A factory of plans, from components and from roots.

    ``roots`` maps an annotation to the expression of a value that exists before any component runs. ``contexts`` maps
    a component to the values that it receives instead of the roots, by annotation.
    """

    components: Components
    roots: collections.abc.Mapping[t.Any, str] = dataclasses.field(default_factory=dict)
    contexts: collections.abc.Mapping[Component, collections.abc.Mapping[t.Any, t.Any]] = dataclasses.field(
        default_factory=dict
    )

    def plan(self, function: collections.abc.Callable[..., t.Any]) -> Plan:
        """Return the plan that creates the arguments of a function.

        :raises ComponentNotFound: no component provides one of its parameters, or a parameter of a component.
        :raises ComponentError: components depend on each other in a cycle.
        """
        lines = _CodeBuilder(self)
        arguments = lines.arguments(function, ())
        return Plan(tuple(lines.lines), arguments, lines.names, lines.needs_exit_stack)


class _CodeBuilder:
    """The lines of a plan under construction, with the variables that they have assigned so far."""

    def __init__(self, injector: Injector) -> None:
        self.injector = injector
        self.lines: list[str] = []
        self.names: dict[str, t.Any] = {}
        self.needs_exit_stack = False
        self._made: dict[t.Any, str] = {}

    def arguments(
        self,
        function: collections.abc.Callable[..., t.Any],
        path: tuple[Component, ...],
        target: Parameter | None = None,
    ) -> str:
        """Return the argument list of a call; ``path`` are the components that need it, ``target`` the parameter."""
        parameters = [(p, self._value(p, function, path, target)) for p in signature(function)[0]]
        return ", ".join(f"{p.name}={value}" if p.keyword else value for p, value in parameters)

    def _value(
        self,
        parameter: Parameter,
        function: collections.abc.Callable[..., t.Any],
        path: tuple[Component, ...],
        target: Parameter | None,
    ) -> str:
        if isinstance(parameter.annotation, Depends):
            return self._depends_value(parameter.annotation, path)
        if parameter.annotation is Parameter and target is not None:
            return self._bind_name("parameter", target)
        context = self.injector.contexts.get(path[-1], {}) if path else {}
        if (value := _lookup(context, parameter.annotation)) is not None:
            return self._bind_name("context", value)
        if root := _lookup(self.injector.roots, parameter.annotation):
            return t.cast(str, root)
        if component := self._find_component(parameter, function):
            return self._component_value(component, parameter, function, path)
        if not parameter.required:
            return self._bind_name("default", parameter.default)
        raise exceptions.ComponentNotFound(
            f"No component able to handle parameter '{parameter.name}' for function '{_function_name(function)}'"
        )

    def _find_component(self, parameter: Parameter, function: collections.abc.Callable[..., t.Any]) -> Component | None:
        try:
            return self.injector.components.find(parameter)
        except exceptions.ComponentError as error:
            raise exceptions.ComponentError(f"{error}, in function '{_function_name(function)}'") from None

    def _provider(
        self, component: Component, parameter: Parameter, function: collections.abc.Callable[..., t.Any]
    ) -> collections.abc.Callable[..., t.Any]:
        try:
            return component.provider(parameter)
        except exceptions.ComponentError as error:
            raise type(error)(f"{error}, in function '{_function_name(function)}'") from error.__cause__

    def _component_value(
        self,
        component: Component,
        parameter: Parameter,
        function: collections.abc.Callable[..., t.Any],
        path: tuple[Component, ...],
    ) -> str:
        if component in path:
            circle = " → ".join(type(c).__name__ for c in (*path, component))
            raise exceptions.ComponentError(f"Components need one another in a circle: {circle}")
        make = self._provider(component, parameter, function)
        key = _cache_key(component, make, parameter)
        if key not in self._made or not component.cacheable:
            self._made[key] = self._add_line(make, self.arguments(make, (*path, component), parameter))
        return self._made[key]

    def _depends_value(self, depends: Depends, path: tuple[Component, ...]) -> str:
        key = depends, path[-1:]  # a component may receive other values than a handler, such as another application
        if key not in self._made:
            self._made[key] = self._add_line(depends.function, self.arguments(depends.function, path))
        return self._made[key]

    def _add_line(self, make: collections.abc.Callable[..., t.Any], arguments: str) -> str:
        form, make = self._call_form(make)
        value = f"v{len(self.lines)}"
        call = f"{self._bind_name('make', make)}({arguments})"
        self.lines.append(f"{value} = {form.format(call)}")
        return value

    def _call_form(
        self, make: collections.abc.Callable[..., t.Any]
    ) -> tuple[str, collections.abc.Callable[..., t.Any]]:
        if concurrency.is_async_generator(make):
            self.needs_exit_stack = True
            return f"await {_STACK}.enter_async_context({{}})", _wrap_manager(contextlib.asynccontextmanager(make))
        if concurrency.is_generator(make):
            self.needs_exit_stack = True
            return f"await {_STACK}.enter_async_context({{}})", _wrap_manager(contextlib.contextmanager(make))
        return ("await {}" if concurrency.is_async(make) else "{}"), make

    def _bind_name(self, prefix: str, value: t.Any) -> str:
        name = f"{prefix}{len(self.names)}"
        self.names[name] = value
        return name


def _wrap_manager(manage: collections.abc.Callable[..., t.Any]) -> collections.abc.Callable[..., t.Any]:
    """Wrap a context manager factory so that exceptions are thrown in, but can't be suppressed."""

    @contextlib.asynccontextmanager
    async def context(*args: t.Any, **kwargs: t.Any) -> collections.abc.AsyncGenerator[t.Any, None]:
        error: BaseException | None = None
        async with contextlib.AsyncExitStack() as stack:
            manager = manage(*args, **kwargs)
            is_async = isinstance(manager, contextlib.AbstractAsyncContextManager)
            value = await stack.enter_async_context(manager) if is_async else stack.enter_context(manager)
            try:
                yield value
            except BaseException as raised:
                error = raised
                raise
        if error is not None:
            raise error

    return context


def _cache_key(component: Component, make: collections.abc.Callable[..., t.Any], parameter: Parameter) -> t.Any:
    """Return the cache key of a value: equal for parameters that share it."""
    if any(p.annotation is Parameter for p in signature(make)[0]):
        return component, make, parameter.name, repr(parameter.annotation)
    return component, make


def _lookup(roots: collections.abc.Mapping[t.Any, t.Any], annotation: t.Any) -> t.Any:
    try:
        return roots.get(annotation)
    except TypeError:  # an unhashable annotation can't be a root
        return None


def _function_name(function: t.Any) -> str:
    if isinstance(getattr(function, "__self__", None), Component):
        return type(function.__self__).__name__ + ".resolve"
    return str(getattr(function, "__name__", function))
