"""Resources: collections of records, served over HTTP."""

import typing as t

from flama import _lazy

if t.TYPE_CHECKING:
    from flama.resources._spec import ResourceSpec
    from flama.resources.crud import CRUDResource
    from flama.resources.flama_worker import FlamaWorker
    from flama.resources.module import ResourcesModule
    from flama.resources.resource import Resource, ResourceRoute, resource_method
    from flama.resources.rest import RESTResource

__all__ = [
    "CRUDResource",
    "FlamaWorker",
    "RESTResource",
    "Resource",
    "ResourceRoute",
    "ResourceSpec",
    "ResourcesModule",
    "resource_method",
]

__getattr__, __dir__ = _lazy.lazy(
    __name__,
    {
        "CRUDResource": "flama.resources.crud",
        "FlamaWorker": "flama.resources.flama_worker",
        "RESTResource": "flama.resources.rest",
        "Resource": "flama.resources.resource",
        "ResourceRoute": "flama.resources.resource",
        "ResourceSpec": "flama.resources._spec",
        "ResourcesModule": "flama.resources.module",
        "resource_method": "flama.resources.resource",
    },
)
