"""OpenAPI: the document that describes an application's routes, the page that shows it."""

from flama.openapi.docs import Documentation
from flama.openapi.document import VERSION, document
from flama.openapi.operations import Served

__all__ = ["Documentation", "Served", "VERSION", "document"]
