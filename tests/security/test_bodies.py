"""Bodies with more in them than their bytes tell, and what they cost everybody else."""

import concurrent.futures
import pathlib
import threading
import time

import httpx
import pytest
import sqlalchemy as sa

from tests.support import bulk, loops, processes


class Watch:
    """Another client, which asks for a page again and again while the block runs, and looks at the service's memory."""

    def __init__(self, process):
        self._process = process
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._read, self._look)]
        self.url = f"http://127.0.0.1:{process.port}"
        self.seconds = []
        self.statuses = set()
        self.memory = 0

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def p99(self):
        """The seconds in which 99 of 100 requests were answered."""
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]

    def _read(self):
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._ended.is_set():
                start = time.perf_counter()
                self.statuses.add(client.get("/item/?page_size=5").status_code)
                self.seconds.append(time.perf_counter() - start)

    def _look(self):
        status = pathlib.Path(f"/proc/{self._process.pid}/status")
        while not self._ended.wait(0.005):
            line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
            self.memory = max(self.memory, int(line.split()[1]) * 1024)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Give a service in a process of its own, on a SQLite file."""
    folder = tmp_path_factory.mktemp("bulk")
    engine = sa.create_engine(f"sqlite:///{folder / 'bulk.db'}")
    bulk.items.create(engine)
    engine.dispose()
    server = processes.SERVERS[f"uvicorn-{loops.chosen()}"]
    environment = {"DATABASE": f"sqlite+aiosqlite:///{folder / 'bulk.db'}"}
    process = processes.Process(server, "tests.support.bulk:app", environment, folder / "log.txt")
    process.start()
    try:
        process.wait()
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("posts", "statuses", "most"),
    [(bulk.lists(), [413] * 4, 300 * 10**6), (bulk.nested(), [400], 400 * 10**6)],
    ids=["lists", "lists in an object"],
)
def test_ten_bodies_of_millions_of_values_hold_nobody_up(service, posts, statuses, most):
    posts, statuses = [(each * 10)[:10] for each in (posts, statuses)]

    with Watch(service) as watch, concurrent.futures.ThreadPoolExecutor(len(posts)) as senders:
        headers = {"content-type": "application/json"}
        answers = senders.map(
            lambda post: httpx.post(watch.url + post[0], content=post[1], headers=headers, timeout=120), posts
        )
        answers = list(answers)

    assert [answer.status_code for answer in answers] == statuses
    assert all(len(answer.content) < 10_000 for answer in answers)
    assert watch.statuses == {200}
    assert watch.p99 < 2  # on cores that do other things as well
    assert watch.memory < most
