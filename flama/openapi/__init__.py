"""OpenAPI: the document of an application's routes, served with Swagger UI."""

from flama.openapi._document import VERSION, document
from flama.openapi._operations import MountedRoute
from flama.openapi._swagger_ui import Documentation

__all__ = ["Documentation", "MountedRoute", "VERSION", "document"]
