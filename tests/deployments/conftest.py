"""A gateway before a service, on each server that runs applications in production."""

import contextlib
import dataclasses
import uuid

import httpx
import pytest
import sqlalchemy as sa
import trustme
from cryptography.hazmat.primitives import serialization

from tests.support import processes, proxy, services


@dataclasses.dataclass
class Deployment:
    """The processes: the gateway, the inner service, and the inner service behind TLS."""

    gateway: processes.Process
    inner: processes.Process
    secure: processes.Process
    proxy: proxy.Proxy
    database: sa.Engine

    @property
    def url(self):
        return f"http://127.0.0.1:{self.gateway.port}"

    def client(self):
        """Return a client of the gateway."""
        return httpx.AsyncClient(base_url=self.url, timeout=20)

    def stored(self, table):
        """Return the keys of a table's records, past both services."""
        with self.database.connect() as connection:
            return set(connection.execute(sa.text(f'SELECT id FROM "{table}"')).scalars())


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Give the file of an authority, and the certificate that it issued for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    files = processes.Certificate(folder / "certificate.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued.cert_chain_pems[0].write_to_path(str(files.certificate))
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(*form))
    return folder / "authority.pem", files


@pytest.fixture(scope="session")
def through():
    with proxy.proxied() as proxied:
        yield proxied


@pytest.fixture(scope="session")
def database(postgres_url):
    """Give the URL of a database with the tables of both services."""
    # Tests of faults close all connections to the database of the session, idle ones among them.
    engine = sa.create_engine(postgres_url.replace("asyncpg", "psycopg"), poolclass=sa.NullPool)
    services.metadata.create_all(engine)
    yield engine, postgres_url
    services.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture(scope="module", params=processes.SERVERS)
def deployment(request, database, authority, through, tmp_path_factory):
    """Give the processes, once they accept connections, on each server in turn."""
    server = processes.SERVERS[request.param]
    if server.missing:
        pytest.skip(f"{', '.join(server.missing)} isn't installed")
    engine, url = database
    trusted, certificate = authority
    environment: dict[str, str] = {"DATABASE": url, "AUTHORITY": str(trusted), "PROXY": through.url}
    logs = tmp_path_factory.mktemp(request.param)

    def process(name, factory):
        return processes.Process(server, f"{services.__name__}:{factory}", environment, logs / f"{name}.log")

    made = {"gateway": process("gateway", "gateway"), "inner": process("inner", "inner")}
    made["secure"] = process("secure", "inner")
    environment |= {
        "INNER": f"http://127.0.0.1:{made['inner'].port}",
        "SECURE_INNER": f"https://localhost:{made['secure'].port}",
        "CLOSED": f"http://127.0.0.1:{processes.unused_port()}",
    }
    with contextlib.ExitStack() as stack:
        for name, each in made.items():
            stack.callback(each.kill)
            each.start(certificate if name == "secure" else None)
        for each in made.values():
            each.wait()
        yield Deployment(**made, proxy=through, database=engine)


@pytest.fixture
def id():
    """Give the key of a record that isn't there yet."""
    return str(uuid.uuid4())
