"""Pagination by decorator: a handler that says itself how it is answered in pages."""

import collections.abc
import typing as t

from flama import types
from flama.rest.pages import Style

__all__ = ["Paginator", "paginator", "style_of"]

H = t.TypeVar("H", bound=types.Handler)

_MARK: t.Final = "__pagination__"


class Paginator:
    """What marks handlers; there is one, :data:`paginator`."""

    @staticmethod
    def paginated(pagination: Style) -> collections.abc.Callable[[H], H]:
        """Have the decorated handler be answered in pages of this style, wherever it is served.

        It is as if its route had ``pagination=``, which comes first where it has.
        """

        def decorate(handler: H) -> H:
            setattr(handler, _MARK, pagination)
            return handler

        return decorate


paginator: t.Final = Paginator()


def style_of(handler: types.Handler) -> str | None:
    """Give the style of pages that a handler is marked with, if it is."""
    return t.cast("str | None", getattr(handler, _MARK, None))
