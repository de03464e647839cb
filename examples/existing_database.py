"""The ellipsoids of the database that PROJ ships: reflected, served, read through a repository."""

import anyio
from pyproj import datadir
from sqlalchemy import MetaData, NullPool, Table, create_engine

from flama import Flama
from flama.client import Client
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule

path = f"file:{datadir.get_data_dir()}/proj.db?mode=ro&uri=true"
app = Flama(modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{path}")])


class EllipsoidRepository(SQLAlchemyTableRepository):
    _table = Table("ellipsoid", MetaData(), autoload_with=create_engine(f"sqlite:///{path}", poolclass=NullPool))


@app.get("/ellipsoid/")
async def ellipsoids(page: int = 1, page_size: int = 100) -> dict[str, object]:
    async with app.sqlalchemy.engine.connect() as connection:
        rows = [row async for row in EllipsoidRepository(connection).list(order_by="name")]
    return {"meta": {"page": page, "page_size": page_size}, "data": rows[page_size * (page - 1) : page_size * page]}


class RemoteEllipsoidRepository(HTTPResourceRepository):
    _resource = "/ellipsoid"


async def main() -> None:
    async with Client(app=app) as client:
        shapes = [shape async for shape in RemoteEllipsoidRepository(client).list()]
    print(f"{len(shapes)} ellipsoids, of {len({shape['celestial_body_code'] for shape in shapes})} celestial bodies")
    print("The one of GPS:", next(shape for shape in shapes if (shape["auth_name"], shape["code"]) == ("EPSG", 7030)))


anyio.run(main)
