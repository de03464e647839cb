"""Dependency injection by type."""

from flama.exceptions import ComponentError, ComponentNotFound
from flama.injection.component import Component, Components, Parameter
from flama.injection.plan import Injector, Plan

__all__ = ["Component", "ComponentError", "ComponentNotFound", "Components", "Injector", "Parameter", "Plan"]
