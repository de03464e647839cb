"""Whom a request is from: the principal, as an application's own function says."""

import collections.abc
import typing as t
import uuid

from flama import exceptions, schemas, types
from flama.injection import Component, ComponentError, Parameter
from flama.injection.component import Depends, signature
from flama.routing.components import is_optional, is_textual

__all__ = ["PrincipalComponent", "PrincipalKey"]

_KEYS: t.Final = ("principal_key", "id", "sub")


class PrincipalKey:
    """The annotation of a parameter that receives a text which tells one principal from all others; None of nobody."""


class PrincipalComponent(Component):
    """Passes what the application's function returns for a request, whose parameters are injected as a handler's are.

    It serves parameters that are annotated with :data:`flama.types.Principal`, or with the class that the function is
    annotated to return. The function is called at most once in a request, and only where its value is needed.

    :raises UnauthenticatedError: in a request: the function returns None, and the annotation doesn't allow that.
    """

    def __init__(self, function: types.Handler) -> None:
        returned = schemas.without_none(signature(function)[1])
        self._class = returned if _is_distinct(returned) else None

        def required(found: t.Any) -> t.Any:
            if found is None:
                detail = "it brings no credentials, or none that are known"
                raise exceptions.UnauthenticatedError(resource="request", detail=detail)
            return found

        def optional(found: t.Any) -> t.Any:
            return found

        def key(found: t.Any) -> str | None:
            return None if found is None else _text_of(found)

        for reader in (required, optional, key):
            reader.__annotations__["found"] = Depends(function)
        self._required, self._optional, self._key = required, optional, key

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether the annotation is that of a principal, or the class that the function returns."""
        kind = schemas.without_none(parameter.annotation)
        is_of_class = self._class is not None and bool(kind == self._class)
        return is_of_class or kind is PrincipalKey or bool(kind == types.Principal)

    def provider(self, parameter: Parameter) -> collections.abc.Callable[..., t.Any]:
        """Return the function that passes the principal, or its key.

        :raises ComponentError: its class has nothing that tells one principal from another.
        """
        if parameter.annotation is PrincipalKey:
            self._check_key()
            return self._key
        return self._optional if is_optional(parameter) else self._required

    def refusals(self, parameter: Parameter) -> tuple[int, ...]:
        """Return 401 where there has to be a principal."""
        return (401,) if self.provider(parameter) is self._required else ()

    def _check_key(self) -> None:
        if isinstance(self._class, type) and not _may_have_key(self._class):
            raise ComponentError(
                f"{self._class.__name__}, which the application's principal is, has none of {', '.join(_KEYS)}, by "
                "which idempotency keys of one principal are told from those of others"
            )


def _is_distinct(returned: t.Any) -> bool:
    """Whether parameters of this type mean the principal, rather than what a request has of any such type."""
    if returned in (Parameter.empty, t.Any, None) or is_textual(returned):
        return False
    kinds = schemas.members(returned)
    return all(isinstance(kind, type) and kind.__module__ != "builtins" for kind in kinds)


def _may_have_key(cls: type) -> bool:
    if issubclass(cls, str | int | uuid.UUID | collections.abc.Mapping):
        return True
    declared = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", ())}
    slots = {name for base in cls.__mro__ for name in getattr(base, "__slots__", ())}
    # what __init__ sets is not to be seen in a class that declares nothing
    return not declared | slots or any(hasattr(cls, name) or name in declared | slots for name in _KEYS)


def _text_of(principal: t.Any) -> str:
    value = principal if isinstance(principal, str | int | uuid.UUID) else _key_of(principal)
    if not isinstance(value, str | int | uuid.UUID):
        raise exceptions.ApplicationError(
            f"The principal is a {type(principal).__name__}, which has no {', '.join(_KEYS)} that is a string, an "
            "integer or a UUID: idempotency keys of one principal can't be told from those of others"
        )
    return f"{type(value).__name__}:{value}"


def _key_of(principal: t.Any) -> t.Any:
    if isinstance(principal, collections.abc.Mapping):
        return next((principal[name] for name in _KEYS if principal.get(name) is not None), None)
    found = (getattr(principal, name, None) for name in _KEYS)
    return next((value for value in found if value is not None), None)
