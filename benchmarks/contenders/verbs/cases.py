"""What the contenders are asked to do."""

import collections.abc
import dataclasses
import time
import typing as t

import measure
from contenders.verbs.contender import Contender, Record, user

__all__ = ["CASES", "MANY", "USERS", "Case", "sample"]

USERS: t.Final = 1000
MANY: t.Final = 100_000
BULK: t.Final = 10_000
CALLS: t.Final = 100


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb: what it is given when it is called for the nth time, and what it is expected to give."""

    name: str
    given: collections.abc.Callable[[int], tuple[t.Any, ...]]
    expected: collections.abc.Callable[[int], t.Any]


RETRIEVE: t.Final = Verb("retrieve", lambda number: (f"user-{number}",), user)
CREATE: t.Final = Verb("create", lambda number: (user(number, "new"),), lambda number: user(number, "new"))
UPDATE: t.Final = Verb(
    "update", lambda number: (f"user-{number}", "Bob"), lambda number: {**user(number), "name": "Bob"}
)
DELETE: t.Final = Verb("delete", lambda number: (f"user-{number}",), lambda _: None)
LIST: t.Final = Verb("list", lambda _: (), lambda _: [user(number) for number in range(USERS)])
STREAM: t.Final = Verb("stream", lambda _: (), lambda _: MANY)
CREATE_MANY: t.Final = Verb("bulk", lambda _: (_new_users(),), lambda _: _new_users())


def _new_users() -> list[Record]:
    return [user(number, "new") for number in range(BULK)]


@dataclasses.dataclass(frozen=True)
class Case:
    """Calls of a verb in a transaction that has begun, or each in a transaction of its own; all is rolled back."""

    title: str
    verb: Verb
    bar: float
    calls: int = CALLS
    users: int = USERS
    begun: bool = True
    writes: bool = False
    rounds: int = 10
    peer_rounds: int = 3


CASES: t.Final = {
    "retrieve": Case("retrieve", RETRIEVE, 1.4),
    "create": Case("create, among others of a transaction", CREATE, 1.4, writes=True),
    "update": Case("update, among others of a transaction", UPDATE, 1.4, writes=True),
    "delete": Case("delete, among others of a transaction", DELETE, 1.4, writes=True),
    "create-first": Case("create, the first of its transaction", CREATE, 1.4, begun=False, writes=True),
    "update-first": Case("update, the first of its transaction", UPDATE, 1.4, begun=False, writes=True),
    "delete-first": Case("delete, the first of its transaction", DELETE, 1.4, begun=False, writes=True),
    "list": Case("list of 1,000 rows", LIST, 1.3, calls=3),
    "stream": Case("stream of 100,000 rows", STREAM, 1.5, calls=1, users=MANY, rounds=4, peer_rounds=1),
    "bulk": Case("create of 10,000 rows at once", CREATE_MANY, 1.5, calls=1, writes=True, rounds=4, peer_rounds=1),
}


async def sample(case: Case, contender: Contender) -> float:
    """Give the seconds of CPU that a call takes, when every answer is right."""
    call = getattr(contender, case.verb.name)
    given = [case.verb.given(number) for number in range(case.calls)]
    seconds = await (_among_others if case.begun else _firsts)(contender, call, given, case.verb.expected)
    return seconds / case.calls


async def _among_others(contender: Contender, call: t.Any, given: t.Any, expected: t.Any) -> float:
    await contender.begin()
    await contender.retrieve(f"user-{USERS - 1}")
    with measure.cpu() as spent:
        answers = [await call(*arguments) for arguments in given]
    for number, answer in enumerate(answers):
        _check(contender, answer, expected(number))
    await contender.rollback()
    return spent.seconds


async def _firsts(contender: Contender, call: t.Any, given: t.Any, expected: t.Any) -> float:
    nanoseconds = 0
    with measure.cpu():
        for number, arguments in enumerate(given):
            begun = time.process_time_ns()
            await contender.begin()
            answer = await call(*arguments)
            nanoseconds += time.process_time_ns() - begun
            _check(contender, answer, expected(number))
            await contender.rollback()
    return nanoseconds / 1e9


def _check(contender: Contender, answer: t.Any, expected: t.Any) -> None:
    match expected:
        case dict():
            answer = contender.plain(answer)
        case list():
            answer = [contender.plain(record) for record in answer]
    assert answer == expected, f"{answer!r:.200} where {expected!r:.200} was expected"
