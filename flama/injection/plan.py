"""Plans: a function's signature, compiled once to the straight code that makes its arguments.

For a handler ``get(user: User, id: int)``, a component that makes ``User`` from a ``Token``, one that makes ``Token``
from the root ``scope``, and one that reads ``id``, the plan's lines are::

    v0 = make0(scope)
    v1 = await make1(v0)
    v2 = make2(scope)

after which ``function(v1, v2)`` is called. Whoever asks for a plan puts these lines into a function of its own.
"""

import collections.abc
import contextlib
import dataclasses
import functools
import itertools
import linecache
import textwrap
import types
import typing as t

from flama import concurrency, exceptions
from flama.injection.component import Component, Components, Depends, Parameter, signature

__all__ = ["Injector", "Plan", "planned_for"]

_STACK: t.Final = "stack"
_FILE: t.Final = "<plan "  # of the code that is made of plans


@dataclasses.dataclass(frozen=True)
class Plan:
    """The code that makes a function's arguments.

    ``lines`` bind the values in order, ``arguments`` is what goes between the call's parentheses, ``names`` are the
    globals of both. ``stacked`` tells that the lines need an ``AsyncExitStack`` named ``stack``.
    """

    lines: tuple[str, ...]
    arguments: str
    names: dict[str, t.Any]
    stacked: bool

    def function(self, source: str, **names: t.Any) -> t.Any:
        """Make the function ``run`` that ``source`` defines, with the plan's names and these.

        ``{lines}`` and ``{arguments}`` in the source stand for the plan's; a line of ``{lines}`` keeps its indent. What
        is called with the arguments goes by the name of ``handler``.
        """
        given = {**self.names, **names}
        return _binder(_filled(source, self), tuple(given))(*given.values())


@functools.cache
def _binder(source: str, names: tuple[str, ...]) -> collections.abc.Callable[..., t.Any]:
    """What makes the function of a source from the values of its names.

    Plans of the same lines share their code, which a processor's cache then holds for all of them.
    """
    code = f"def bind({', '.join(names)}):\n{textwrap.indent(source, '    ')}\n    return run\n"
    file = f"{_FILE}{next(_numbers)}>"
    linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file  # tracebacks show its lines
    namespace: dict[str, t.Any] = {}
    exec(compile(code, file, "exec"), namespace)  # noqa: S102 - the code is the plan's, nothing of a request's
    return t.cast("collections.abc.Callable[..., t.Any]", namespace["bind"])


_numbers: t.Final = itertools.count()


def planned_for(frame: types.FrameType) -> collections.abc.Callable[..., t.Any] | None:
    """Give the function that is called by the plan whose code runs in this frame, if one does."""
    return frame.f_locals.get("handler") if frame.f_code.co_filename.startswith(_FILE) else None


def _filled(source: str, plan: Plan) -> str:
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
    """Makes plans from components, and from roots: the values that are there at the beginning, by annotation.

    ``contexts`` are the values that a component is passed in place of the roots, by annotation, by component.
    """

    components: Components
    roots: collections.abc.Mapping[t.Any, str] = dataclasses.field(default_factory=dict)
    contexts: collections.abc.Mapping[Component, collections.abc.Mapping[t.Any, t.Any]] = dataclasses.field(
        default_factory=dict
    )

    def plan(self, function: collections.abc.Callable[..., t.Any]) -> Plan:
        """Give the plan that makes this function's arguments.

        :raises ComponentNotFound: nothing provides one of its parameters, or one that a component needs.
        :raises ComponentError: components need one another in a circle.
        """
        lines = _Lines(self)
        arguments = lines.arguments(function, ())
        return Plan(tuple(lines.lines), arguments, lines.names, lines.stacked)


class _Lines:
    """The lines of one plan as they grow: which values there are so far."""

    def __init__(self, injector: Injector) -> None:
        self.injector = injector
        self.lines: list[str] = []
        self.names: dict[str, t.Any] = {}
        self.stacked = False
        self._made: dict[t.Any, str] = {}

    def arguments(
        self,
        function: collections.abc.Callable[..., t.Any],
        path: tuple[Component, ...],
        asking: Parameter | None = None,
    ) -> str:
        """What goes between the parentheses of a call, for which ``path`` of components, ``asking`` for what."""
        parameters = [(p, self._value(p, function, path, asking)) for p in signature(function)[0]]
        return ", ".join(f"{p.name}={value}" if p.keyword else value for p, value in parameters)

    def _value(
        self,
        parameter: Parameter,
        function: collections.abc.Callable[..., t.Any],
        path: tuple[Component, ...],
        asking: Parameter | None,
    ) -> str:
        if isinstance(parameter.annotation, Depends):
            return self._returned(parameter.annotation, path)
        if parameter.annotation is Parameter and asking is not None:
            return self._named("parameter", asking)
        context = self.injector.contexts.get(path[-1], {}) if path else {}
        if (value := _get(context, parameter.annotation)) is not None:
            return self._named("context", value)
        if root := _get(self.injector.roots, parameter.annotation):
            return t.cast(str, root)
        if component := self._found(parameter, function):
            return self._component_value(component, parameter, function, path)
        if not parameter.required:
            return self._named("default", parameter.default)
        raise exceptions.ComponentNotFound(
            f"No component able to handle parameter '{parameter.name}' for function '{_title(function)}'"
        )

    def _found(self, parameter: Parameter, function: collections.abc.Callable[..., t.Any]) -> Component | None:
        try:
            return self.injector.components.find(parameter)
        except exceptions.ComponentError as error:
            raise exceptions.ComponentError(f"{error}, in function '{_title(function)}'") from None

    def _provider(
        self, component: Component, parameter: Parameter, function: collections.abc.Callable[..., t.Any]
    ) -> collections.abc.Callable[..., t.Any]:
        try:
            return component.provider(parameter)
        except exceptions.ComponentError as error:
            raise type(error)(f"{error}, in function '{_title(function)}'") from error.__cause__

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
        key = _key(component, make, parameter)
        if key not in self._made or not component.cacheable:
            self._made[key] = self._line(make, self.arguments(make, (*path, component), parameter))
        return self._made[key]

    def _returned(self, depends: Depends, path: tuple[Component, ...]) -> str:
        key = depends, path[-1:]  # a component is passed other values than a handler, such as another application
        if key not in self._made:
            self._made[key] = self._line(depends.function, self.arguments(depends.function, path))
        return self._made[key]

    def _line(self, make: collections.abc.Callable[..., t.Any], arguments: str) -> str:
        form, make = self._form(make)
        value = f"v{len(self.lines)}"
        call = f"{self._named('make', make)}({arguments})"
        self.lines.append(f"{value} = {form.format(call)}")
        return value

    def _form(self, make: collections.abc.Callable[..., t.Any]) -> tuple[str, collections.abc.Callable[..., t.Any]]:
        if concurrency.is_async_generator(make):
            self.stacked = True
            return f"await {_STACK}.enter_async_context({{}})", _managed(contextlib.asynccontextmanager(make))
        if concurrency.is_generator(make):
            self.stacked = True
            return f"await {_STACK}.enter_async_context({{}})", _managed(contextlib.contextmanager(make))
        return ("await {}" if concurrency.is_async(make) else "{}"), make

    def _named(self, prefix: str, value: t.Any) -> str:
        name = f"{prefix}{len(self.names)}"
        self.names[name] = value
        return name


def _managed(manage: collections.abc.Callable[..., t.Any]) -> collections.abc.Callable[..., t.Any]:
    """What makes the context of a generator that learns of an exception, but can't make it go away."""

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


def _key(component: Component, make: collections.abc.Callable[..., t.Any], parameter: Parameter) -> t.Any:
    """What two parameters have in common when one value serves both."""
    if any(p.annotation is Parameter for p in signature(make)[0]):
        return component, make, parameter.name, repr(parameter.annotation)
    return component, make


def _get(roots: collections.abc.Mapping[t.Any, t.Any], annotation: t.Any) -> t.Any:
    try:
        return roots.get(annotation)
    except TypeError:  # an unhashable annotation is none of the roots
        return None


def _title(function: t.Any) -> str:
    if isinstance(getattr(function, "__self__", None), Component):
        return type(function.__self__).__name__ + ".resolve"
    return str(getattr(function, "__name__", function))
