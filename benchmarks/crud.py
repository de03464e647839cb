"""What a repository's verbs cost beside the driver's own statements, and beside what others make of them."""

import argparse
import asyncio
import collections.abc
import contextlib
import dataclasses
import itertools
import pathlib
import shutil
import sqlite3
import statistics
import sys
import tempfile
import typing as t

import measure
from contenders import database, postgres
from contenders.environments import NotInstalledError
from contenders.verbs.cases import CASES, Case
from contenders.verbs.contender import user
from contenders.verbs.process import Place, Process

LIBRARIES = ("sqlalchemy", "aiosqlite", "asyncpg", "psycopg")
PROCESSES = 3
GROWTH = 10
HAND = "the driver by hand"
SAVEPOINTS = "by hand, a savepoint for each write"
FLAMA = "flama"
# the driver's figures of those rounds in which the peers took part
BESIDE = "the driver beside the peers"

PEERS = {
    "advanced-alchemy": Place("advanced_alchemy", "AdvancedAlchemy", "advanced-alchemy"),
    "SQLModel": Place("sqlmodel", "SQLModelSession", "sqlmodel"),
    "Piccolo": Place("piccolo", "Piccolo", "piccolo"),
    "Tortoise": Place("tortoise", "TortoiseORM", "tortoise"),
    "the package flama 2.2.2": Place("flama_package", "FlamaPackage", "flama-2.2.2"),
}


@dataclasses.dataclass(frozen=True)
class Backend:
    """A database by a driver, and who works on it."""

    title: str
    drivername: str
    hand: Place
    savepoints: Place | None = None
    peers: dict[str, Place] = dataclasses.field(default_factory=dict)

    @property
    def contenders(self) -> dict[str, Place]:
        """All of them, by name."""
        savepoints = {SAVEPOINTS: self.savepoints} if self.savepoints else {}
        ours = {FLAMA: Place("flama", "Flama"), "SQLAlchemy Core": Place("sqlalchemy", "Core")}
        return {HAND: self.hand, **savepoints, **ours, **self.peers}


BACKENDS = {
    "aiosqlite": Backend("SQLite, aiosqlite", "sqlite+aiosqlite", Place("aiosqlite", "Aiosqlite"), peers=PEERS),
    "asyncpg": Backend(
        "PostgreSQL, asyncpg",
        "postgresql+asyncpg",
        Place("asyncpg", "Asyncpg"),
        savepoints=Place("asyncpg", "AsyncpgSavepoints"),
        peers=PEERS,
    ),
    "psycopg": Backend(
        "PostgreSQL, psycopg",
        "postgresql+psycopg",
        Place("psycopg", "Psycopg"),
        savepoints=Place("psycopg", "PsycopgSavepoints"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found out on one database."""

    figures: dict[str, measure.Figures] = dataclasses.field(default_factory=dict)
    grown: dict[str, float] = dataclasses.field(default_factory=dict)
    about: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)


async def _answer(backend: Backend, names: collections.abc.Iterable[str]) -> Answer:
    answer = Answer()
    contenders = _installed(backend, answer)
    ordered = sorted(names, key=lambda name: CASES[name].users)
    for turn in range(PROCESSES):
        with contextlib.ExitStack() as stack:
            processes = {name: stack.enter_context(Process(place)) for name, place in contenders.items()}
            answer.about.update({name: process.ask("about") for name, process in processes.items()})
            for users, cases in itertools.groupby(ordered, key=lambda name: CASES[name].users):
                async with _database(backend, users) as url_for:
                    for name, process in processes.items():
                        process.ask("open", url_for(name))
                    for case in cases:
                        print(f"measuring {case} on {backend.title}, {turn + 1} of {PROCESSES}", file=sys.stderr)
                        await _measure(case, backend, processes, answer)
                    for process in processes.values():
                        process.ask("close")
                    if turn == 0 and "stream" in ordered and users == CASES["stream"].users:
                        answer.grown.update(_grown(contenders, answer, url_for))
    return answer


def _installed(backend: Backend, answer: Answer) -> dict[str, Place]:
    contenders = backend.contenders
    for name, place in backend.contenders.items():
        try:
            _ = place.command
        except NotInstalledError as error:
            answer.missing[name] = str(error)
            del contenders[name]
    return contenders


async def _measure(name: str, backend: Backend, processes: dict[str, Process], answer: Answer) -> None:
    case = CASES[name]
    samples: dict[str, measure.Sample] = {}
    for contender, process in processes.items():
        if not _left_out(contender, case, answer):
            samples[contender] = _sample(process, name)
            await samples[contender]()  # what is made once is made now
            process.ask("settle")
    if backend.drivername.startswith("postgresql"):
        measure.settle(*await postgres.processes())
    together = await measure.interleaved(samples, case.peer_rounds)
    ours = {contender: sample for contender, sample in samples.items() if contender not in PEERS}
    alone = await measure.interleaved(ours, case.rounds - case.peer_rounds)
    figures = answer.figures.setdefault(name, {})
    for contender, spent in together.items():
        figures.setdefault(contender, []).extend(spent + alone.get(contender, []))
    figures.setdefault(BESIDE, []).extend(together[HAND])


def _sample(process: Process, name: str) -> measure.Sample:
    async def sample() -> float:
        return process.ask("sample", name)

    return sample


def _left_out(contender: str, case: Case, answer: Answer) -> bool:
    if contender == SAVEPOINTS:
        return not (case.writes and case.begun)
    return case.verb.name in answer.about[contender]["lacks"]


def _grown(
    contenders: dict[str, Place], answer: Answer, url_for: collections.abc.Callable[[str], str]
) -> collections.abc.Iterator[tuple[str, float]]:
    """Give by how many MB a process of its own grows while it streams."""
    for name, place in contenders.items():
        if not _left_out(name, CASES["stream"], answer):
            with Process(place) as process:
                process.ask("open", url_for(name))
                yield name, process.ask("grow")
                process.ask("close")


@contextlib.asynccontextmanager
async def _database(
    backend: Backend, users: int
) -> collections.abc.AsyncIterator[collections.abc.Callable[[str], str]]:
    """Make a database of so many users, and give what tells a contender's address of it.

    A SQLite file keeps settings that a contender makes, so that each has a copy. All begin with the write-ahead log.
    """
    records = [user(number) for number in range(users)]
    if not backend.drivername.startswith("sqlite"):
        async with postgres.fresh() as address:
            database.create_on(address.set(drivername="postgresql+psycopg"), records)
            url = address.set(drivername=backend.drivername).render_as_string(False)
            yield lambda _: url
        return
    with tempfile.TemporaryDirectory() as folder:
        original = pathlib.Path(folder) / "users.db"
        database.create(str(original), records)
        with contextlib.closing(sqlite3.connect(original)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")

        def url_for(contender: str) -> str:
            copy = original.with_name(f"{contender.replace(' ', '-')}.db")
            shutil.copyfile(original, copy)
            return f"{backend.drivername}:///{copy}"

        yield url_for


def _section(backend: Backend, name: str, answer: Answer) -> collections.abc.Iterator[str]:
    case, figures = CASES[name], answer.figures[name]
    yield f"### {backend.title}: {case.title}"
    yield ""
    rows = [measure.Row(contender, BESIDE if contender in PEERS else HAND) for contender in figures]
    rows = [row for row in rows if row.name != BESIDE]
    yield from measure.table(figures, rows, unit="CPU µs", scale=1e6, of=HAND)
    yield ""
    yield from _verdict(case, figures)
    for contender, about in answer.about.items():
        if case.verb.name in about["lacks"]:
            yield f"{contender} isn't in this table: {about['lacks'][case.verb.name]}."
    if name == "stream":
        yield ""
        yield from _growth(answer.grown)
    yield ""


def _verdict(case: Case, figures: measure.Figures) -> collections.abc.Iterator[str]:
    like = SAVEPOINTS if SAVEPOINTS in figures else HAND
    ratio = _ratio(figures, like)
    holds = "holds" if ratio <= case.bar else "**missed**"
    yield f"flama at most {case.bar} times {like}: {holds}, with {ratio:.3f}."
    if like == SAVEPOINTS:
        yield f"It is {_ratio(figures, HAND):.2f} times the driver without savepoints, which doesn't promise the same."


def _ratio(figures: measure.Figures, base: str) -> float:
    return statistics.median(measure.ratios(figures, FLAMA, base))


def _growth(grown: dict[str, float]) -> collections.abc.Iterator[str]:
    more = grown[FLAMA] - grown[HAND]
    yield "How far the process grows at most while it streams: " + (
        ", ".join(f"{name} {megabytes:.1f} MB" for name, megabytes in grown.items()) + "."
    )
    holds = "holds" if more <= GROWTH else "**missed**"
    yield f"flama at most {GROWTH} MB more than {HAND}: {holds}, with {more:.1f} MB."


def _peers(answers: collections.abc.Iterable[Answer]) -> collections.abc.Iterator[str]:
    about: dict[str, dict[str, t.Any]] = {}
    missing: dict[str, str] = {}
    for answer in answers:
        about |= {name: told for name, told in answer.about.items() if name in PEERS}
        missing |= answer.missing
    for name, told in about.items():
        yield f"- {name}: {', '.join(f'{library} {version}' for library, version in told['versions'].items())}"
    for name, reason in missing.items():
        yield f"- **{name} is missing**, as it couldn't be installed: {reason}"
    if about or missing:
        yield ""


def main() -> int:
    """Answer for the cases and databases named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="case", help=", ".join(CASES))
    parser.add_argument("--on", choices=BACKENDS, action="append", help="which database, all unless named")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    answers = {on: asyncio.run(_answer(BACKENDS[on], names)) for on in options.on or BACKENDS}
    lines = [*_peers(answers.values())]
    lines += [line for on, answer in answers.items() for name in names for line in _section(BACKENDS[on], name, answer)]
    if options.cases or options.on:
        print("\n".join(lines))
    else:
        measure.report("What a repository's verbs cost", lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
