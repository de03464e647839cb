"""The principal of a request, determined by a function of the application."""

import collections.abc
import typing as t
import uuid

from flama import exceptions, schemas, types
from flama.injection import Component, ComponentError, Parameter
from flama.injection.component import Depends, signature
from flama.routing.components import is_optional, is_parameter_type

__all__ = ["PrincipalComponent", "PrincipalKey"]

_KEYS: t.Final = ("principal_key", "id", "sub")


class PrincipalKey:
    """The annotation of a parameter that receives a string unique to the principal; None for an anonymous request."""


class PrincipalComponent(Component):
    """A component that provides the result of the application's principal function, whose parameters are injected.

    It provides parameters annotated :data:`flama.types.Principal`, or with the function's return class. The function
    is called at most once per request, and only if its result is needed.

    :raises UnauthenticatedError: during a request, if the function returns None and the annotation doesn't allow it.
    """

    def __init__(self, function: types.Handler) -> None:
        returned = schemas.unwrap_optional(signature(function)[1])
        self._class = returned if _is_principal_type(returned) else None

        def require_principal(found: t.Any) -> t.Any:
            if found is None:
                detail = "it brings no credentials, or none that are known"
                raise exceptions.UnauthenticatedError(resource="request", detail=detail)
            return found

        def pass_principal(found: t.Any) -> t.Any:
            return found

        def read_key(found: t.Any) -> str | None:
            return None if found is None else _key_text(found)

        for reader in (require_principal, pass_principal, read_key):
            reader.__annotations__["found"] = Depends(function)
        self._required, self._optional, self._key = require_principal, pass_principal, read_key

    def can_handle_parameter(self, parameter: Parameter) -> bool:
        """Whether the annotation is that of a principal, or the function's return class."""
        kind = schemas.unwrap_optional(parameter.annotation)
        is_of_class = self._class is not None and bool(kind == self._class)
        return is_of_class or kind is PrincipalKey or bool(kind == types.Principal)

    def provider(self, parameter: Parameter) -> collections.abc.Callable[..., t.Any]:
        """Return the function that provides the principal, or its key.

        :raises ComponentError: the principal's class has no attribute that identifies a principal.
        """
        if parameter.annotation is PrincipalKey:
            self._check_key()
            return self._key
        return self._optional if is_optional(parameter) else self._required

    def refusals(self, parameter: Parameter) -> tuple[int, ...]:
        """Return 401 if the parameter requires a principal."""
        return (401,) if self.provider(parameter) is self._required else ()

    def _check_key(self) -> None:
        if isinstance(self._class, type) and not _may_have_key(self._class):
            raise ComponentError(
                f"{self._class.__name__}, which the application's principal is, has none of {', '.join(_KEYS)}, by "
                "which idempotency keys of one principal are told from those of others"
            )


def _is_principal_type(returned: t.Any) -> bool:
    """Whether a parameter of this type is the principal, rather than a parameter of the request."""
    if returned in (Parameter.empty, t.Any, None) or is_parameter_type(returned):
        return False
    kinds = schemas.members(returned)
    return all(isinstance(kind, type) and kind.__module__ != "builtins" for kind in kinds)


def _may_have_key(cls: type) -> bool:
    if issubclass(cls, str | int | uuid.UUID | collections.abc.Mapping):
        return True
    declared = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", ())}
    slots = {name for base in cls.__mro__ for name in getattr(base, "__slots__", ())}
    # attributes set in __init__ can't be seen in a class that declares none
    return not declared | slots or any(hasattr(cls, name) or name in declared | slots for name in _KEYS)


def _key_text(principal: t.Any) -> str:
    value = principal if isinstance(principal, str | int | uuid.UUID) else _find_key(principal)
    if not isinstance(value, str | int | uuid.UUID):
        raise exceptions.ApplicationError(
            f"The principal is a {type(principal).__name__}, which has no {', '.join(_KEYS)} that is a string, an "
            "integer or a UUID: idempotency keys of one principal can't be told from those of others"
        )
    return f"{type(value).__name__}:{value}"


def _find_key(principal: t.Any) -> t.Any:
    if isinstance(principal, collections.abc.Mapping):
        return next((principal[name] for name in _KEYS if principal.get(name) is not None), None)
    found = (getattr(principal, name, None) for name in _KEYS)
    return next((value for value in found if value is not None), None)
