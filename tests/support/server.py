"""An application behind a real socket."""

import collections.abc
import contextlib
import random
import socket
import threading
import time
import typing as t

import uvicorn

from tests.support import loops

__all__ = ["listening", "served"]

_PATIENCE = 10.0


@contextlib.contextmanager
def served(app: t.Any, **options: t.Any) -> collections.abc.Generator[str]:
    """Yield the base URL at which uvicorn serves ``app``, in a thread and on an event loop of its own.

    ``options`` are those of :class:`uvicorn.Config`; the loop is the one that ``--loop`` chose. Start-up and shutdown
    of the application have run when this opens and closes.
    """
    with listening() as listener:
        settings: dict[str, t.Any] = {"lifespan": "on", "log_level": "warning", "loop": loops.chosen(), **options}
        server = uvicorn.Server(uvicorn.Config(app, **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _wait(server, thread)
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)
            if thread.is_alive():
                raise TimeoutError(f"{app!r} did not shut down in {_PATIENCE} seconds")


def listening() -> socket.socket:
    """Give a socket bound to a port below the range from which systems take those of outgoing connections."""
    for port in random.sample(range(20000, 32768), 50):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
        else:
            return listener
    raise OSError("50 ports were tried, and all are taken")


def _wait(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the application did not start: the server's log says why")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the application did not start in {_PATIENCE} seconds")
        time.sleep(0.005)
