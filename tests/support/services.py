"""Two services, each for a process of its own: a gateway with a table of orders, and before it the service of items.

Servers make them by ``tests.support.services:inner`` and ``tests.support.services:gateway``. Where they are, what they
trust and by which token the one knows the other comes from the environment: see :class:`Settings`.
"""

import os
import signal
import ssl
import threading
import typing as t

import pydantic
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.ddd import HTTPResourceRepository, Remote, Worker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.middleware import Middleware
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

__all__ = ["TOKEN", "Settings", "gateway", "inner", "metadata"]

TOKEN: t.Final = "Bearer s3cret"

metadata = sa.MetaData()

item_table = sa.Table(
    "item",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(40), nullable=False),
)

order_table = sa.Table(
    "order",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("item", sa.String(40), nullable=False),
)


class Settings(t.TypedDict):
    """The environment of both services."""

    DATABASE: str
    INNER: str  # the base URLs of the inner service, without TLS and with it
    SECURE_INNER: str
    AUTHORITY: str  # the file of the certificate that signed the inner service's
    PROXY: str
    CLOSED: str  # a base URL where nobody listens


class Item(pydantic.BaseModel):
    """What the inner service has."""

    id: str
    name: str


class Order(pydantic.BaseModel):
    """What the gateway has, and makes an item for."""

    id: str
    name: str


class _Authorization(Middleware):
    # Under /private, a token has to be sent; under /forbidden, none is enough.

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        path = scope.get("path", "")
        sent = dict(scope.get("headers", ())).get(b"authorization", b"").decode()
        if path.startswith("/private/") and sent != TOKEN:
            raise exceptions.UnauthenticatedError(resource="item")
        if path.startswith("/forbidden/"):
            raise exceptions.PermissionDeniedError(resource="item")
        await self.app(scope, receive, send)


def inner() -> Flama:
    """Return the service of items: for all, for those who send the token, and for nobody."""
    _end_with_the_tests()
    app = Flama(modules=[SQLAlchemyModule(os.environ["DATABASE"])], middleware=[_Authorization()])
    for prefix in ("", "/private", "/forbidden"):
        resource = type(f"item{prefix.replace('/', '_')}", (CRUDResource,), {"model": item_table})
        app.resources.add_resource(f"{prefix}/item/", resource)
    return app


class _Remote(HTTPResourceRepository):
    _resource = "/item"


class _Orders(SQLAlchemyTableRepository):
    _table = order_table


class _Shop(Worker):
    orders: _Orders
    remote_items: _Remote


_OrderBody: t.TypeAlias = t.Annotated[types.Schema, types.SchemaMetadata(Order)]


def gateway() -> Flama:
    """Return the gateway: items at ``/{way}/item/`` for each way to the inner service, and orders of its own."""
    _end_with_the_tests()
    app = Flama(modules=[SQLAlchemyModule(os.environ["DATABASE"])])
    for way, remote in _ways().items():
        _add_items(app, way, remote)
    app.add_component(WorkerComponent(worker=_Shop(remote_items=Remote(os.environ["INNER"]))))

    @app.post("/order/")
    async def create_order(worker: _Shop, data: _OrderBody) -> _OrderBody:
        async with worker:
            await worker.orders.create({"id": data["id"], "item": data["id"]})
            await worker.remote_items.create({"id": data["id"], "name": data["name"]})
        return data

    return app


def _add_items(app: Flama, way: str, remote: Remote) -> None:
    """Serve the inner service's items, as they are reached by one way, each way having a worker of its own."""
    repository = type(way, (_Remote,), {})
    worker = type(f"{way}_worker", (Worker,), {"__annotations__": {"items": t.Annotated[repository, remote]}})
    app.add_component(WorkerComponent(worker=worker()))
    app.resources.add_resource(f"/{way}/item/", type(way, (CRUDResource,), {"repository": repository, "schema": Item}))


def _ways() -> dict[str, Remote]:
    url, secure, proxy = os.environ["INNER"], os.environ["SECURE_INNER"], os.environ["PROXY"]
    trusting = ("verify", ssl.create_default_context(cafile=os.environ["AUTHORITY"]))
    return {
        "plain": Remote(url),
        "secure": Remote(secure, client=(trusting,)),
        "untrusted": Remote(secure),
        "misnamed": Remote(secure.replace("localhost", "127.0.0.1"), client=(trusting,)),
        "proxied": Remote(url, client=(("proxy", proxy),)),
        "tunnelled": Remote(secure, client=(("proxy", proxy), trusting)),
        "unproxied": Remote(url, client=(("proxy", os.environ["CLOSED"]),)),
        "private": Remote(f"{url}/private", client=(("headers", {"authorization": TOKEN}),)),
        "anonymous": Remote(f"{url}/private"),
        "forbidden": Remote(f"{url}/forbidden", client=(("headers", {"authorization": TOKEN}),)),
        "unresolved": Remote("http://nowhere.invalid"),
        "closed": Remote(os.environ["CLOSED"]),
        "elsewhere": Remote(f"{url}/elsewhere"),
        "not_tls": Remote(url.replace("http:", "https:"), client=(trusting,)),
        "not_http": Remote(secure.replace("https:", "http:")),
    }


def _end_with_the_tests() -> None:
    """End this process and its server's others when the process that started them is gone, however it went."""

    def watch() -> None:
        while os.read(0, 1):  # standard input is a pipe that only the tests hold open
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
