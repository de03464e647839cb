"""The repository of the package ``flama`` 2.2.2, for its own environment: each line of input is a call, in JSON.

A line has the service's URL, the resource, the method, what it is called with, and how many elements are enough.
"""

import asyncio
import json
import sys

from flama.client import Client
from flama.ddd.repositories.http import HTTPResourceRepository


async def answer(url, resource, method, args, kwargs, enough):
    """Give what the method gives; of an iterator, its elements, but no more than are enough."""
    kind = type("Repository", (HTTPResourceRepository,), {"_resource": resource})
    async with Client(base_url=url) as client:
        called = getattr(kind(client), method)(*args, **kwargs)
        if method != "list":
            return await called
        found = []
        async for element in called:
            found.append(element)
            if len(found) == enough:
                break
        return found


if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            said = {"result": asyncio.run(answer(**json.loads(line)))}
        except Exception as error:  # noqa: BLE001
            said = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(said), file=output, flush=True)
