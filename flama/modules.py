"""Modules: named parts of an application that start and stop with it."""

import collections.abc
import typing as t

from flama import exceptions, types

__all__ = ["Module", "Modules"]


class Module:
    """A named part of an application, reached as ``app.<name>``.

    A subclass sets ``name``. The application sets ``app`` when it is created.

    :raises ApplicationError: a subclass has no name, or one that isn't a string.
    """

    name: str
    app: types.App

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        name = getattr(cls, "name", None)
        if not isinstance(name, str):
            raise exceptions.ApplicationError(
                f"Module {cls.__qualname__} needs a class attribute 'name' that is a string, not {name!r}"
            )

    async def on_startup(self) -> None:
        """Start the module; modules start in the order of declaration, before the application's start-up handlers."""

    async def on_shutdown(self) -> None:
        """Stop the module; the modules that have started stop in the reverse order."""


class Modules(dict[str, Module]):
    """The modules of an application by name, in the order in which they start.

    :raises ApplicationError: two modules have the same name.
    """

    def __init__(self, app: types.App, modules: collections.abc.Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            if module.name in self:
                raise exceptions.ApplicationError(f"Collision in module names: {module.name}")
            module.app = app
            self[module.name] = module
