"""Pagination by decorator: a handler that declares its page style."""

import collections.abc
import typing as t

from flama import types
from flama.rest.paging import Style

__all__ = ["Paginator", "paginator", "style_of"]

H = t.TypeVar("H", bound=types.Handler)

_MARK: t.Final = "__pagination__"


class Paginator:
    """A decorator of handlers; use the instance :data:`paginator`."""

    @staticmethod
    def paginated(pagination: Style) -> collections.abc.Callable[[H], H]:
        """Paginate the decorated handler in this style, on every route.

        A route's own ``pagination=`` takes precedence.
        """

        def decorate(handler: H) -> H:
            setattr(handler, _MARK, pagination)
            return handler

        return decorate


paginator: t.Final = Paginator()


def style_of(handler: types.Handler) -> str | None:
    """Return the page style of a decorated handler, or None."""
    return t.cast("str | None", getattr(handler, _MARK, None))
