"""What every repository promises, as tests that any of them can be held to."""

import collections.abc
import contextlib
import decimal
import itertools
import types
import typing as t
import uuid

import hypothesis
import pytest
from hypothesis import strategies as st

from flama import exceptions, query
from flama.query import F

__all__ = ["CAPABILITIES", "RepositoryContract"]

CAPABILITIES: t.Final[collections.abc.Mapping[str, str]] = types.MappingProxyType(
    {
        "clauses": "conditions made by F, wherever filters go",
        "composite": "keys of several fields",
        "deferred": "references that are checked when the unit ends",
        "filters": "fields by keyword, in every verb",
        "guards": "max_affected",
        "ids": "an id by its place, as in retrieve(id), where other repositories take a condition",
        "keyset": "after and before",
        "kinds": "numbers and texts that are told apart when they are compared",
        "many": "several records in one create",
        "orders": "order_by, limit and offset",
        "queries": "get, first, count and exists",
        "reference_fields": "errors that tell which reference was refused",
        "references": "records that refer to others",
        "transactions": "units that are kept or undone as a whole",
        "upserts": "upsert and get_or_create",
    }
)
"""What a repository can declare, beside ``create``, ``retrieve``, ``update``, ``delete``, ``list`` and ``drop``."""

_Test = t.TypeVar("_Test", bound=collections.abc.Callable[..., t.Any])
_Record: t.TypeAlias = dict[str, t.Any]

_ENDLESS: t.Final = 10_000
_EXAMPLES: t.Final = hypothesis.settings(
    max_examples=15,
    deadline=None,
    # every example begins by emptying the collection, and a test is the same in every subclass
    suppress_health_check=[
        hypothesis.HealthCheck.differing_executors,
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)


def _needs(*capabilities: str) -> collections.abc.Callable[[_Test], _Test]:
    def mark(test: _Test) -> _Test:
        vars(test)["needs"] = frozenset(capabilities)
        return test

    return mark


async def _all(repository: t.Any, *clauses: t.Any, **options: t.Any) -> list[_Record]:
    found: list[_Record] = []
    async for record in repository.list(*clauses, **options):
        found.append(record)
        assert len(found) < _ENDLESS, "the list doesn't end"
    return found


async def _names(repository: t.Any, *clauses: t.Any, **options: t.Any) -> str:
    return "".join([record["name"] for record in await _all(repository, *clauses, **options)])


async def _kept(repository: t.Any) -> list[_Record]:
    return sorted(await _all(repository), key=lambda record: record["id"])


async def _store(repository: t.Any, *records: _Record) -> list[_Record]:
    return [(await repository.create(record))[0] for record in records]


@contextlib.contextmanager
def _refused(
    resource: str,
    kind: exceptions.IntegrityKind,
    fields: tuple[str, ...] | None = None,
    constraint: str | None = None,
) -> collections.abc.Iterator[None]:
    with pytest.raises(exceptions.IntegrityError) as caught:
        yield
    error = caught.value
    assert (error.resource, error.kind) == (resource, kind)
    assert fields is None or error.fields == fields
    assert constraint is None or error.constraint == constraint


_PEOPLE: t.Final[tuple[_Record, ...]] = (
    # neither stored by their keys nor by anything else
    {"id": 3, "name": "c", "age": 30, "note": None, "points": 0},
    {"id": 1, "name": "a", "age": 30, "note": "Ann", "points": 2},
    {"id": 4, "name": "d", "age": None, "note": "100%", "points": None},
    {"id": 2, "name": "b", "age": 0, "note": "ann_e", "points": 2},
)
# whatever takes clauses and filters
_ASKING: t.Final[dict[str, collections.abc.Callable[..., collections.abc.Awaitable[t.Any]]]] = {
    "retrieve": lambda repository, *clauses, **filters: repository.retrieve(*clauses, **filters),
    "list": _all,
    "update": lambda repository, *clauses, **filters: repository.update({"points": 9}, *clauses, **filters),
    "update of nothing": lambda repository, *clauses, **filters: repository.update({}, *clauses, **filters),
    "delete": lambda repository, *clauses, **filters: repository.delete(*clauses, **filters),
    "drop": lambda repository, *clauses, **filters: repository.drop(*clauses, **filters),
}
# and of it, what takes an id in a condition's place, where a repository has ids
_TAKING_IDS: t.Final = frozenset({"retrieve", "update", "update of nothing", "delete"})
_QUERIES: t.Final[dict[str, collections.abc.Callable[..., collections.abc.Awaitable[t.Any]]]] = {
    "get": lambda repository, *clauses, **filters: repository.get(*clauses, **filters),
    "first": lambda repository, *clauses, **filters: repository.first(*clauses, **filters),
    "count": lambda repository, *clauses, **filters: repository.count(*clauses, **filters),
    "exists": lambda repository, *clauses, **filters: repository.exists(*clauses, **filters),
}
_ODD: t.Final = (
    pytest.param("name", "a\x00b", id="NUL"),
    pytest.param("name", "\ud800", id="lone surrogate"),
    pytest.param("name", "x" * 33, id="a character too long"),
    pytest.param("points", 2**31, id="beyond 32 bits"),
    pytest.param("points", -(2**63) - 1, id="below 64 bits"),
    pytest.param("points", "x", id="text for a number"),
    # and these, which are as odd to each verb that writes
    pytest.param("name", "é" * 100_000, id="much too long"),
    pytest.param("name", object(), id="object"),
    pytest.param("name", {"a": 1}, id="mapping"),
    pytest.param("name", ["a"], id="list"),
    pytest.param("points", -(2**31) - 1, id="below 32 bits"),
    pytest.param("points", 2**63, id="beyond 64 bits"),
    pytest.param("points", 10**40, id="beyond all bits"),
    pytest.param("points", float("inf"), id="infinity"),
    pytest.param("points", float("-inf"), id="minus infinity"),
    pytest.param("points", decimal.Decimal("-Infinity"), id="minus infinity as a decimal"),
    pytest.param("points", float("nan"), id="NaN"),
    pytest.param("points", decimal.Decimal("NaN"), id="NaN as a decimal"),
    pytest.param("points", {"a": 1}, id="mapping for a number"),
    pytest.param("note", object(), id="object that is short enough"),
    pytest.param("note", ("a",), id="tuple"),
    pytest.param("note", {"a"}, id="set"),
    pytest.param("note", uuid.SafeUUID.safe, id="member of an enum"),
)
_USUAL: t.Final = 6
# what F refuses to compare with
_NO_OPERANDS: t.Final = (
    *("mapping", "list", "mapping for a number", "tuple", "set"),
    *("NaN", "NaN as a decimal"),
)
_UNLIKE: t.Final = (
    pytest.param("name", 0, id="number for a text"),
    pytest.param("name", True, id="truth for a text"),
    pytest.param("points", "1", id="text for a number"),
    pytest.param("id", "1x", id="text that begins with a number"),
)
_FILTERS: t.Final[tuple[_Record, ...]] = (
    {"age": 30},
    {"age": 30, "points": 2},
    {"age": None},
    {"age": 0},
    {"age": 30, "points": None},
)
_SEATS: t.Final = (("a", 1), ("a", 2), ("b", 1))
_REFUSALS: t.Final[dict[str, collections.abc.Callable[[t.Any], collections.abc.Awaitable[t.Any]]]] = {
    "create": lambda members: members.create({"email": "a"}),
    "create of null": lambda members: members.create({"name": None}),
    "create of too much": lambda members: members.create({"points": 10**40}),
    "update": lambda members: members.update({"age": 200}, id=1),
    "update of too much": lambda members: members.update({"points": 10**40}, id=1),
    "update of none": lambda members: members.update({"nmae": "x"}),
    "delete": lambda members: members.delete(id=404),
}
_CONDITIONS: t.Final = (
    (F.age == 30, "ac"),
    (F.age != 30, "b"),
    (F.age == 0, "b"),
    (F.age < 30, "b"),
    (F.age <= 30, "abc"),
    (F.age > 0, "ac"),
    (F.age >= 0, "abc"),
    (~(F.age == 30), "b"),
    (~~(F.age == 30), "ac"),
    (~(F.age.in_([30])), "b"),
    (~((F.age == 30) & (F.points == 2)), "bc"),
    (~((F.age == 30) | (F.points == 2)), ""),
    ((F.age == 30) | (F.age != 30), "abc"),
    (F.age.in_([0, 7]), "b"),
    (F.age.in_([]), ""),
    (~F.age.in_([]), "abcd"),
    (F.age.not_in([30]), "b"),
    (F.age.between(1, 30), "ac"),
    (F.age.is_(None), "d"),
    (F.age.is_not(None), "abc"),
    (F.age.isnull() | (F.age == 0), "bd"),
    (F.note == "ann", ""),
    (F.note == "Ann ", ""),
    (F.note > "a", "b"),
    (F.note < "a", "ad"),
    (F.note.in_(["ann_e", "ANN"]), "b"),
    (F.note.contains("nn"), "ab"),
    (F.note.contains("ann"), "b"),
    (F.note.contains("%"), "d"),
    (F.note.contains("_"), "b"),
    (F.note.contains(""), "abd"),
    (F.note.icontains("ANN"), "ab"),
    (F.note.startswith("A"), "a"),
    (F.note.istartswith("A"), "ab"),
    (F.note.endswith("0%"), "d"),
    (F.note.iendswith("E"), "b"),
    (F.note.like("_nn"), "a"),
    (F.note.like("%n\\_e"), "b"),
    (F.note.ilike("ANN%"), "ab"),
    (~F.note.contains("Ann"), "bd"),
    ((F.age == 30) & (F.points == 2) & (F.note == "Ann"), "a"),
)
_ORDERS: t.Final = (
    (None, "abcd"),
    ("name", "abcd"),
    ("-name", "dcba"),
    ("age", "bacd"),
    ("-age", "acbd"),
    (("age", "desc"), "acbd"),
    (["age", "-id"], "bcad"),
    ([("age", "desc"), ("id", "desc")], "cabd"),
    (F.age, "bacd"),
    (F.age.asc(nulls="first"), "dbac"),
    (F.age.desc(nulls="first"), "dacb"),
    (["points", F.age.desc()], "cabd"),
    ("note", "dabc"),
)
_NO_ORDERS: t.Final[tuple[_Record, ...]] = (
    {"limit": -1},
    {"limit": "3"},
    {"limit": 2.5},
    {"offset": -1},
    {"order_by": 3},
    {"order_by": [("age", "down")]},
    {"order_by": "age", "order_direction": "up"},
)

_FEW: t.Final[dict[str, st.SearchStrategy[t.Any]]] = {
    "name": st.sampled_from(["", " ", "A", "a", "a ", "b", "á", "%"]),
    "age": st.none() | st.sampled_from([0, 1, 20]),
    "note": st.none() | st.sampled_from(["", "x", "X", "x%", "x_y"]),
    "points": st.none() | st.integers(-1, 1),
}
_RECORDS: t.Final = st.lists(st.fixed_dictionaries(_FEW), max_size=7)


def _comparisons(name: str) -> st.SearchStrategy[query.Condition]:
    value = _FEW[name].filter(lambda value: value is not None)
    compared = st.builds(query.compare, st.just(name), st.sampled_from(["eq", "gt", "gte", "lt", "lte"]), value)
    among = st.lists(value, max_size=3).map(F[name].in_)
    null = st.just(F[name].isnull())
    if name not in ("name", "note"):
        return compared | among | null
    textual = ["contains", "startswith", "endswith", "icontains", "istartswith", "iendswith", "like", "ilike"]
    return compared | among | null | st.builds(query.compare, st.just(name), st.sampled_from(textual), value)


def _joined(some: st.SearchStrategy[query.Condition]) -> st.SearchStrategy[query.Condition]:
    negated = some.map(lambda condition: ~condition)
    return negated | st.builds(lambda a, b: a & b, some, some) | st.builds(lambda a, b: a | b, some, some)


_SOME: t.Final = st.recursive(st.sampled_from(sorted(_FEW)).flatmap(_comparisons), _joined, max_leaves=4)
_SORTED: t.Final = st.lists(
    st.builds(query.Order, st.sampled_from(sorted(_FEW)), st.booleans(), st.sampled_from(["first", "last"])),
    max_size=2,
)


class _Suite:
    pytestmark = pytest.mark.anyio

    capabilities: t.ClassVar[frozenset[str]] = frozenset(CAPABILITIES) - {"ids"}

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if unknown := sorted(cls.capabilities - CAPABILITIES.keys()):
            raise TypeError(f"{cls.__name__} declares {unknown}: there are {', '.join(CAPABILITIES)}")

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        if missing := sorted(getattr(request.function, "needs", frozenset()) - self.capabilities):
            pytest.skip(f"it isn't declared: {', '.join(missing)}")


class _Creating(_Suite):
    async def test_a_created_record_is_given_as_stored(self, repository: t.Any) -> None:
        (created,) = await repository.create({"name": "Ann", "email": "a@x.org", "points": 7})

        assert created["id"] is not None
        assert {"name": "Ann", "email": "a@x.org", "age": 18, "points": 7, "note": None}.items() <= created.items()
        assert await repository.retrieve(id=created["id"]) == created

    async def test_data_without_anything_are_a_record_of_defaults(self, repository: t.Any) -> None:
        (created,) = await repository.create({})

        assert (created["name"], created["age"], created["email"]) == ("unnamed", 18, None)
        assert await _all(repository) == [created]

    async def test_what_is_none_is_null_in_spite_of_a_default(self, repository: t.Any) -> None:
        (created,) = await repository.create({"age": None})

        assert created["age"] is None
        assert (await repository.retrieve(id=created["id"]))["age"] is None

    async def test_none_as_a_key_is_a_record_that_has_none_yet(self, repository: t.Any) -> None:
        (created,) = await repository.create({"id": None, "name": "Ann"})

        assert created["id"] is not None
        assert await repository.retrieve(id=created["id"]) == created

    async def test_a_key_that_is_given_is_kept(self, repository: t.Any) -> None:
        (created,) = await repository.create({"id": 5, "name": "Ann"})

        assert created["id"] == 5
        assert await repository.retrieve(id=5) == created

    async def test_records_without_keys_get_different_ones(self, repository: t.Any) -> None:
        one, two = await _store(repository, {"name": "Ann"}, {"name": "Ann"})

        assert one["id"] != two["id"]
        assert len(await _all(repository)) == 2

    async def test_data_stay_the_callers_own(self, repository: t.Any) -> None:
        data = {"name": "Ann", "note": "x"}

        (created,) = await repository.create(data)
        created["note"] = "changed"
        await repository.update(change := {"age": 3}, id=created["id"])

        assert (data, change) == ({"name": "Ann", "note": "x"}, {"age": 3})
        assert (await repository.retrieve(id=created["id"]))["note"] == "x"

    async def test_create_of_nothing_stores_nothing(self, repository: t.Any) -> None:
        assert await repository.create() == []
        assert await _all(repository) == []

    @_needs("many")
    async def test_many_are_given_in_order(self, repository: t.Any) -> None:
        created = await repository.create({"name": "b"}, {"name": "c"}, {"name": "a"})

        assert [record["name"] for record in created] == ["b", "c", "a"]
        assert await _kept(repository) == sorted(created, key=lambda record: record["id"])

    @_needs("many")
    async def test_each_of_many_may_have_other_fields(self, repository: t.Any) -> None:
        created = await repository.create(
            {"name": "a"}, {"name": "b", "age": 3}, {"note": "c"}, {"age": 4, "name": "d"}, {}, {"age": None}
        )

        assert [(record["name"], record["age"], record["note"]) for record in created] == [
            ("a", 18, None),
            ("b", 3, None),
            ("unnamed", 18, "c"),
            ("d", 4, None),
            ("unnamed", 18, None),
            ("unnamed", None, None),
        ]
        assert await _kept(repository) == sorted(created, key=lambda record: record["id"])

    @_needs("many")
    async def test_so_many_that_no_one_statement_could_take_them_are_given_in_order(self, repository: t.Any) -> None:
        created = await repository.create(*({"name": f"{n}", "points": n, "note": "x"} for n in range(1500)))

        assert [record["points"] for record in created] == list(range(1500))
        assert sorted(record["points"] for record in await _all(repository)) == list(range(1500))

    @_needs("many")
    @pytest.mark.parametrize("last", [{"email": "a"}, {"email": "b", "age": 3}], ids=["like the first", "like another"])
    async def test_many_are_stored_all_or_none(self, repository: t.Any, last: _Record) -> None:
        kept = await repository.create({"email": "a"})

        with _refused("member", "unique", ("email",)):
            await repository.create({"email": "b"}, {"email": "c"}, last)

        assert await _all(repository) == kept

    @_EXAMPLES
    @hypothesis.given(
        name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=32),
        points=st.none() | st.integers(-(2**31), 2**31 - 1),
    )
    async def test_what_is_stored_is_given_back(self, repository: t.Any, name: str, points: int | None) -> None:
        (created,) = await repository.create({"name": name, "points": points, "note": name})
        (updated,) = await repository.update({"note": name + name, "points": points}, id=created["id"])

        assert (created["name"], created["points"], created["note"]) == (name, points, name)
        assert updated == {**created, "note": name + name}
        assert await repository.retrieve(id=created["id"]) == updated

    @pytest.mark.parametrize("data", [3, "name", None, [("name", "a")]], ids=repr)
    async def test_what_is_no_record_is_refused(self, repository: t.Any, data: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.create(data)

        assert await _all(repository) == []


class _Retrieving(_Suite):
    async def test_the_record_of_a_key_is_given(self, repository: t.Any) -> None:
        one, two = await _store(repository, {"name": "a"}, {"name": "b"})

        assert await repository.retrieve(id=two["id"]) == two
        assert await repository.retrieve(id=one["id"]) == one

    async def test_a_missing_record_is_not_found(self, repository: t.Any) -> None:
        await _store(repository, {"id": 1})

        with pytest.raises(exceptions.NotFoundError) as caught:
            await repository.retrieve(id=404)
        assert (caught.value.resource, str(caught.value.id)) == ("member", "404")

    @_needs("filters")
    async def test_the_one_record_that_has_the_values_is_given(self, repository: t.Any) -> None:
        c, a, d, _ = await _store(repository, *_PEOPLE)

        assert await repository.retrieve(age=30, points=0) == c
        assert await repository.retrieve(id=1, age=30) == a
        assert await repository.retrieve(age=None) == d
        with pytest.raises(exceptions.NotFoundError):
            await repository.retrieve(id=1, age=31)

    @_needs("filters")
    async def test_more_than_one_record_is_too_many(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.retrieve(age=30)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.retrieve()

    @_needs("ids")
    async def test_an_id_may_be_told_by_its_place(self, repository: t.Any) -> None:
        one, two = await _store(repository, {"name": "a"}, {"name": "b"})

        assert await repository.retrieve(two["id"]) == two
        assert await repository.delete(two["id"]) is None

        for ask in (repository.retrieve, repository.delete):
            with pytest.raises(exceptions.NotFoundError):
                await ask(two["id"])
        assert await _all(repository) == [one]

    @_needs("ids")
    @pytest.mark.parametrize("id", ["", ".", "..", None], ids=repr)
    async def test_what_no_path_holds_is_no_id(self, repository: t.Any, id: str | None) -> None:
        kept = await repository.create({"id": 1})

        for verb in sorted(_TAKING_IDS):
            with pytest.raises(ValueError, match="id of a record"):
                await _ASKING[verb](repository, id)
            with pytest.raises(ValueError, match="id of a record"):
                await _ASKING[verb](repository, id=id)

        assert await _all(repository) == kept

    @_needs("queries")
    async def test_get_gives_none_where_retrieve_finds_none(self, repository: t.Any) -> None:
        (created,) = await repository.create({"id": 1})

        assert await repository.get(id=1) == created
        assert await repository.get(id=404) is None

    @_needs("queries", "filters")
    async def test_more_than_one_record_is_too_many_for_get(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.get(age=30)

    @_needs("queries")
    async def test_an_empty_collection_has_no_first_and_counts_none(self, repository: t.Any) -> None:
        assert await repository.first() is None
        assert await repository.count() == 0
        assert await repository.exists() is False

    @_needs("queries", "filters")
    async def test_count_and_exists_look_at_what_matches(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        counts = [await repository.count(**filters) for filters in ({}, {"age": 30}, {"age": None}, {"age": 31})]
        exist = [await repository.exists(**filters) for filters in ({}, {"age": 30}, {"age": None}, {"age": 31})]

        assert counts == [4, 2, 1, 0]
        assert exist == [True, True, True, False]

    @_needs("queries", "filters", "orders")
    async def test_first_gives_the_first_in_an_order(self, repository: t.Any) -> None:
        c, a, _, b = await _store(repository, *_PEOPLE)

        assert await repository.first() == a
        assert await repository.first(order_by="age") == b
        assert await repository.first(age=30, order_by="-id") == c
        assert await repository.first(age=31) is None


class _Listing(_Suite):
    async def test_all_are_listed_once(self, repository: t.Any) -> None:
        created = await _store(repository, {"id": 2, "name": "b"}, {"id": 1, "name": "a"})

        assert await _kept(repository) == sorted(created, key=lambda record: record["id"])

    async def test_an_empty_collection_lists_nothing(self, repository: t.Any) -> None:
        assert await _all(repository) == []

    async def test_a_list_is_asked_for_anew_each_time(self, repository: t.Any) -> None:
        await repository.create({"name": "a"})
        before = await _all(repository)
        await repository.create({"name": "b"})

        assert len(before) == 1
        assert len(await _all(repository)) == 2

    async def test_nothing_is_asked_before_the_first_record_is(self, repository: t.Any) -> None:
        listing = repository.list()
        await repository.create({"name": "a"})

        assert [record["name"] async for record in listing] == ["a"]

    @_needs("many")
    async def test_a_long_list_ends_with_all_its_records(self, repository: t.Any) -> None:
        await repository.create(*({"points": n} for n in range(1300)))

        found = await _all(repository)

        assert sorted(record["points"] for record in found) == list(range(1300))
        assert len({record["id"] for record in found}) == 1300

    @_needs("many")
    async def test_a_loop_can_be_left_early(self, repository: t.Any) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        async for record in repository.list():
            assert record["name"] == "unnamed"
            break
        await repository.create({"points": 600})

        assert len(await _all(repository)) == 601

    @_needs("many")
    async def test_a_loop_may_read_meanwhile(self, repository: t.Any) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        seen, inner = 0, 0
        async for record in repository.list():
            seen += 1
            if record["points"] in (0, 299, 599):
                assert await repository.retrieve(id=record["id"]) == record
                inner += len(await _all(repository))

        assert (seen, inner) == (600, 1800)

    @_needs("many")
    async def test_a_loop_may_write_meanwhile(self, repository: t.Any) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        async for record in repository.list():
            if record["points"] % 100 == 0:
                await repository.update({"note": "hundred"}, id=record["id"])

        assert sum(record["note"] == "hundred" for record in await _all(repository)) == 6

    @_needs("many")
    async def test_a_loop_goes_on_after_a_refused_write(self, repository: t.Any) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        seen = 0
        async for record in repository.list():
            seen += 1
            if record["points"] in (0, 299):
                with _refused("member", "check"):
                    await repository.update({"age": 200}, id=record["id"])

        assert seen == 600

    @_needs("filters")
    async def test_all_filters_must_hold(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        found = [{record["name"] for record in await _all(repository, **filters)} for filters in _FILTERS]

        assert found == [{"a", "c"}, {"a"}, {"d"}, {"b"}, set()]


class _Updating(_Suite):
    async def test_the_record_of_a_key_is_changed_and_given(self, repository: t.Any) -> None:
        one, two = await _store(repository, {"name": "a", "age": 1}, {"name": "b", "age": 2})

        updated = await repository.update({"age": 3, "note": "x"}, id=two["id"])

        assert updated == [{**two, "age": 3, "note": "x"}]
        assert await repository.retrieve(id=two["id"]) == updated[0]
        assert await repository.retrieve(id=one["id"]) == one

    async def test_what_is_none_becomes_null(self, repository: t.Any) -> None:
        (created,) = await repository.create({"note": "x"})

        (updated,) = await repository.update({"note": None, "age": None}, id=created["id"])

        assert updated == {**created, "note": None, "age": None}
        assert await repository.retrieve(id=created["id"]) == updated

    async def test_a_missing_record_is_changed_into_none(self, repository: t.Any) -> None:
        kept = await repository.create({"id": 1})

        assert await repository.update({"age": 3}, id=404) == []
        assert await _all(repository) == kept

    async def test_no_data_change_nothing_and_give_the_records_as_they_are(self, repository: t.Any) -> None:
        created = await repository.create({"id": 1})

        assert await repository.update({}, id=1) == created
        assert await repository.update({}, id=404) == []
        assert await _all(repository) == created

    async def test_a_key_can_be_changed(self, repository: t.Any) -> None:
        (created,) = await repository.create({"id": 1, "name": "a"})

        (updated,) = await repository.update({"id": 2}, id=1)

        assert updated == {**created, "id": 2}
        assert await _all(repository) == [updated]

    @_needs("filters")
    async def test_all_that_match_are_changed_and_given(self, repository: t.Any) -> None:
        c, a, d, b = await _store(repository, *_PEOPLE)

        updated = await repository.update({"age": 31}, age=30)

        assert sorted(updated, key=lambda record: record["id"]) == [{**a, "age": 31}, {**c, "age": 31}]
        assert await _kept(repository) == [{**a, "age": 31}, b, {**c, "age": 31}, d]

    @_needs("filters")
    async def test_without_filters_all_are_changed_and_given(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        updated = await repository.update({"note": "x"})

        assert len(updated) == 4
        assert {record["note"] for record in await _all(repository)} == {"x"}
        assert len(await repository.update({})) == 4

    @_needs("filters")
    async def test_many_are_changed_all_or_none(self, repository: t.Any) -> None:
        kept = await _store(repository, *({"id": n, "email": f"{n}"} for n in range(1, 4)))

        with _refused("member", "unique"):
            await repository.update({"email": "x"})

        assert await _kept(repository) == kept

    @_needs("guards", "filters")
    async def test_more_than_may_be_changed_are_left_alone(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)
        kept = await _kept(repository)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.update({"note": "x"}, max_affected=3)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.update({"note": "x"}, age=30, max_affected=0)

        assert await _kept(repository) == kept

    @_needs("guards", "filters")
    async def test_as_many_as_may_be_changed_are(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert len(await repository.update({"note": "x"}, age=30, max_affected=2)) == 2
        assert len(await repository.update({"note": "y"}, max_affected=4)) == 4
        assert await repository.update({"note": "z"}, age=31, max_affected=0) == []


class _Deleting(_Suite):
    async def test_the_record_of_a_key_is_deleted_and_no_other(self, repository: t.Any) -> None:
        one, two = await _store(repository, {"name": "a"}, {"name": "b"})

        assert await repository.delete(id=one["id"]) is None

        assert await _all(repository) == [two]

    async def test_a_missing_record_is_not_found_by_delete(self, repository: t.Any) -> None:
        await repository.create({"id": 1})
        await repository.delete(id=1)

        for id in (1, 404):
            with pytest.raises(exceptions.NotFoundError) as caught:
                await repository.delete(id=id)
            assert (caught.value.resource, str(caught.value.id)) == ("member", str(id))

    @pytest.mark.parametrize("id", ["", ".", "..", "/", "?", "#", "%", "*", "../", "%2e", "nobody", None], ids=repr)
    async def test_an_id_of_no_record_deletes_none(self, repository: t.Any, id: str | None) -> None:
        kept = await _store(repository, {"id": 1}, {"id": 2})

        with pytest.raises((exceptions.NotFoundError, exceptions.InvalidDataError, ValueError)):
            await repository.delete(id=id)

        assert await _kept(repository) == kept

    @_needs("filters")
    async def test_delete_wants_exactly_one(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.delete(age=30)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.delete()
        with pytest.raises(exceptions.NotFoundError):
            await repository.delete(id=1, age=31)
        await repository.delete(age=None)

        assert {record["name"] for record in await _all(repository)} == {"a", "b", "c"}

    async def test_drop_deletes_all_and_gives_how_many(self, repository: t.Any) -> None:
        await _store(repository, {}, {}, {})

        assert await repository.drop() == 3
        assert await _all(repository) == []
        assert await repository.drop() == 0

    @_needs("filters")
    async def test_drop_deletes_all_that_match_and_no_other(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await repository.drop(age=31) == 0
        assert await repository.drop(age=30) == 2
        assert await repository.drop(age=None) == 1
        assert [record["name"] for record in await _all(repository)] == ["b"]

    @_needs("guards", "filters")
    async def test_more_than_may_be_dropped_are_left_alone(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.drop(max_affected=3)
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.drop(age=30, max_affected=1)

        assert len(await _all(repository)) == 4

    @_needs("guards", "filters")
    async def test_as_many_as_may_be_dropped_are(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await repository.drop(age=31, max_affected=0) == 0
        assert await repository.drop(age=30, max_affected=2) == 2
        assert await repository.drop(max_affected=9) == 2

    @_needs("guards")
    @pytest.mark.parametrize("number", [-1, "2", 1.5, True], ids=repr)
    async def test_how_many_may_be_affected_is_a_natural_number(self, repository: t.Any, number: t.Any) -> None:
        kept = await repository.create({"id": 1})

        with pytest.raises(exceptions.InvalidDataError):
            await repository.drop(max_affected=number)
        with pytest.raises(exceptions.InvalidDataError):
            await repository.update({"age": 3}, max_affected=number)

        assert await _all(repository) == kept


class _Refusing(_Suite):
    async def test_a_value_that_is_there_already_is_refused(self, repository: t.Any) -> None:
        kept = await _store(repository, {"id": 1, "email": "a"}, {"id": 2, "email": "b"})

        with _refused("member", "unique", ("email",)):
            await repository.create({"email": "a"})
        with _refused("member", "unique", ("email",)):
            await repository.update({"email": "a"}, id=2)

        assert await _kept(repository) == kept

    async def test_a_key_that_is_there_already_is_refused(self, repository: t.Any) -> None:
        kept = await _store(repository, {"id": 1, "name": "a"}, {"id": 2, "name": "b"})

        with _refused("member", "unique", ("id",)):
            await repository.create({"id": 1, "name": "c"})
        with _refused("member", "unique", ("id",)):
            await repository.update({"id": 1}, id=2)

        assert await _kept(repository) == kept

    async def test_null_is_like_no_other_null(self, repository: t.Any) -> None:
        await _store(repository, {"email": None}, {"email": None})

        assert len(await _all(repository)) == 2

    async def test_null_is_refused_where_none_may_be(self, repository: t.Any) -> None:
        kept = await repository.create({"id": 1})

        with _refused("member", "not_null", ("name",)):
            await repository.create({"name": None})
        with _refused("member", "not_null", ("name",)):
            await repository.update({"name": None}, id=1)

        assert await _all(repository) == kept

    async def test_what_a_check_does_not_hold_for_is_refused(self, repository: t.Any) -> None:
        kept = await repository.create({"id": 1})

        with _refused("member", "check", constraint="age_is_human"):
            await repository.create({"age": 150})
        with _refused("member", "check", constraint="age_is_human"):
            await repository.update({"age": 200}, id=1)

        assert await _all(repository) == kept

    async def test_a_refusal_tells_nothing_of_the_values(self, repository: t.Any) -> None:
        await repository.create({"email": "secret"})

        with pytest.raises(exceptions.IntegrityError) as caught:
            await repository.create({"email": "secret", "note": "private"})

        assert "secret" not in str(caught.value)
        assert "private" not in str(caught.value)

    @_needs("references")
    async def test_what_is_missing_without_a_default_is_refused(self, clubs: t.Any) -> None:
        with _refused("club", "not_null", ("name",)):
            await clubs.create({})

        assert await _all(clubs) == []

    @_needs("references")
    async def test_a_reference_to_nothing_is_refused(self, repository: t.Any, clubs: t.Any) -> None:
        (club,) = await clubs.create({"name": "chess"})
        kept = await repository.create({"id": 1, "club": club["id"]})

        with _refused("member", "foreign_key"):
            await repository.create({"club": 404})
        with _refused("member", "foreign_key"):
            await repository.update({"club": 404}, id=1)

        assert await _all(repository) == kept

    @_needs("references")
    async def test_what_is_referred_to_stays(self, repository: t.Any, clubs: t.Any) -> None:
        kept = await _store(clubs, {"id": 1, "name": "chess"}, {"id": 2, "name": "go"})
        await repository.create({"club": 2})

        with _refused("club", "foreign_key"):
            await clubs.delete(id=2)
        with _refused("club", "foreign_key"):
            await clubs.drop()
        with _refused("club", "foreign_key"):
            await clubs.update({"id": 3}, id=2)

        assert await _kept(clubs) == kept
        await repository.drop()
        assert await clubs.drop() == 2

    @_needs("references", "reference_fields")
    async def test_an_error_tells_which_reference_it_was(self, repository: t.Any, clubs: t.Any) -> None:
        (club,) = await clubs.create({"name": "chess"})
        await repository.create({"id": 1, "club": club["id"]})

        with _refused("member", "foreign_key", ("club",), "member_has_club"):
            await repository.create({"club": 404})
        with _refused("member", "foreign_key", ("club",), "member_has_club"):
            await repository.update({"club": 404}, id=1)

    @_needs("references", "reference_fields")
    @pytest.mark.parametrize("verb", ["delete", "drop", "update"])
    async def test_an_error_tells_which_reference_holds_the_record(
        self, repository: t.Any, clubs: t.Any, verb: str
    ) -> None:
        await clubs.create({"id": 1, "name": "chess"})
        await repository.create({"club": 1})

        with _refused("club", "foreign_key", ("club",), "member_has_club"):
            match verb:
                case "delete":
                    await clubs.delete(id=1)
                case "drop":
                    await clubs.drop()
                case _:
                    await clubs.update({"id": 2}, id=1)

    @_needs("composite")
    async def test_a_key_of_several_fields_is_refused_by_all_of_them(self, seats: t.Any) -> None:
        kept = await seats.create({"row": "a", "number": 1})

        with _refused("seat", "unique", ("row", "number")):
            await seats.create({"row": "a", "number": 1, "holder": "x"})

        assert await _all(seats) == kept


class _Naming(_Suite):
    async def test_an_unknown_field_of_data_is_named(self, repository: t.Any) -> None:
        kept = await repository.create({"id": 1})

        with self._named("nmae"):
            await repository.create({"nmae": "a"})
        with self._named("nmae"):
            await repository.update({"age": 3, "nmae": "a"}, id=1)

        assert await _all(repository) == kept

    @_needs("many")
    async def test_an_unknown_field_of_any_of_many_is_named(self, repository: t.Any) -> None:
        with self._named("nmae"):
            await repository.create({"name": "a"}, {"name": "b", "nmae": "c"})

        assert await _all(repository) == []

    @_needs("filters")
    @pytest.mark.parametrize("verb", _ASKING)
    async def test_an_unknown_filter_is_named(self, repository: t.Any, verb: str) -> None:
        kept = await repository.create({"id": 1})

        with self._named("nmae"):
            await _ASKING[verb](repository, nmae="a")
        with self._named("nmae"):
            await _ASKING[verb](repository, id=1, nmae=None)

        assert await _all(repository) == kept

    @_needs("queries", "filters")
    @pytest.mark.parametrize("verb", _QUERIES)
    async def test_an_unknown_filter_of_a_query_is_named(self, repository: t.Any, verb: str) -> None:
        with self._named("nmae"):
            await _QUERIES[verb](repository, id=1, nmae="a")

    @_needs("clauses")
    @pytest.mark.parametrize("verb", _ASKING)
    async def test_an_unknown_field_of_a_condition_is_named(self, repository: t.Any, verb: str) -> None:
        kept = await repository.create({"id": 1})

        with self._named("nmae", "ega"):
            await _ASKING[verb](repository, (F.nmae == "a") | ~(F.id == 1) & F.ega.isnull())

        assert await _all(repository) == kept

    @_needs("queries", "clauses")
    @pytest.mark.parametrize("verb", _QUERIES)
    async def test_an_unknown_field_of_a_querys_condition_is_named(self, repository: t.Any, verb: str) -> None:
        with self._named("nmae"):
            await _QUERIES[verb](repository, F.nmae == "a")

    @_needs("orders")
    async def test_an_unknown_field_of_an_order_is_named(self, repository: t.Any) -> None:
        for order in ("nmae", "-nmae", F.nmae.asc(), ("nmae", "desc"), ["age", "nmae"]):
            with self._named("nmae"):
                await _all(repository, order_by=order)

    @_needs("upserts")
    async def test_an_unknown_field_of_an_upsert_is_named(self, repository: t.Any) -> None:
        with self._named("nmae"):
            await repository.upsert({"id": 1, "nmae": "a"})
        with self._named("nmae"):
            await repository.upsert({"id": 1, "name": "a"}, on="nmae")
        with self._named("nmae"):
            await repository.get_or_create({"id": 1, "nmae": "a"})

        assert await _all(repository) == []

    @contextlib.contextmanager
    def _named(self, *names: str) -> collections.abc.Iterator[None]:
        with pytest.raises(exceptions.UnknownColumnError) as caught:
            yield
        error = caught.value
        assert (error.resource, error.names) == ("member", names)
        assert {"id", "name", "email", "age", "points", "note"} <= set(error.columns)


class _Valuing(_Suite):
    @pytest.mark.parametrize(("field", "value"), _ODD)
    async def test_an_odd_value_is_stored_as_it_is_or_is_invalid_data(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        created: list[_Record] = []

        with contextlib.suppress(exceptions.InvalidDataError):
            created = await repository.create({field: value})

        assert [record[field] for record in created] in ([], [value])
        assert await _all(repository) == created

    @pytest.mark.parametrize(("field", "value"), _ODD)
    async def test_a_record_takes_an_odd_value_as_it_is_or_keeps_its_own(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        created = updated = await repository.create({"id": 1})

        with contextlib.suppress(exceptions.InvalidDataError):
            updated = await repository.update({field: value}, id=1)

        assert updated in (created, [{**created[0], field: value}])
        assert await _all(repository) == updated

    async def test_invalid_data_tell_of_which_resource(self, repository: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError) as caught:
            await repository.create({"points": 10**40})

        assert caught.value.resource == "member"

    @_needs("many")
    @pytest.mark.parametrize(("field", "value"), _ODD[:_USUAL])
    async def test_an_odd_value_among_many_is_stored_or_none_of_them_is(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        created: list[_Record] = []

        with contextlib.suppress(exceptions.InvalidDataError):
            created = await repository.create({field: "1" if field == "name" else 1}, {field: value}, {})

        assert [record[field] for record in created[1:2]] in ([], [value])
        assert await _kept(repository) == created

    @_needs("upserts")
    @pytest.mark.parametrize(("field", "value"), _ODD[:_USUAL])
    async def test_an_odd_value_is_upserted_as_it_is_or_is_invalid_data(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        created = stored = await repository.create({"id": 1})

        with contextlib.suppress(exceptions.InvalidDataError):
            stored = await repository.upsert({"id": 1, field: value})

        assert stored in (created, [{**created[0], field: value}])
        assert await _all(repository) == stored

    @_needs("filters")
    @pytest.mark.parametrize("verb", ["list", "delete"])
    @pytest.mark.parametrize(("field", "value"), _ODD)
    async def test_an_odd_value_is_found_nowhere_or_is_invalid_data(
        self, repository: t.Any, field: str, value: t.Any, verb: str
    ) -> None:
        await repository.create({"id": 1, "name": "a", "points": 1})

        with contextlib.suppress(exceptions.InvalidDataError, exceptions.NotFoundError):
            assert await _ASKING[verb](repository, **{field: value}) == []

    @_needs("clauses")
    @pytest.mark.parametrize(("field", "value"), [case for case in _ODD if case.id not in _NO_OPERANDS])
    async def test_a_condition_on_an_odd_value_is_false_or_is_invalid_data(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        await repository.create({"id": 1, "name": "a", "points": 0})

        with contextlib.suppress(exceptions.InvalidDataError):
            assert await _all(repository, F[field] == value) == []

    @_needs("clauses")
    @pytest.mark.parametrize("operator", ["contains", "istartswith", "like"])
    @pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\\\\", "[", "*", "'"], ids=ascii)
    async def test_a_condition_on_an_odd_text_is_false_or_is_invalid_data(
        self, repository: t.Any, text: str, operator: str
    ) -> None:
        await repository.create({"id": 1, "name": "x"})

        with contextlib.suppress(exceptions.InvalidDataError):
            assert await _all(repository, query.compare("name", operator, text)) == []

    @_needs("clauses")
    @pytest.mark.parametrize("operator", ["contains", "istartswith", "like"])
    async def test_a_pattern_has_no_nul(self, repository: t.Any, operator: str) -> None:
        await repository.create({"id": 1, "name": "x"})
        await _all(repository, query.compare("name", operator, "y"))

        for text in ("\x00", "x\x00", "\x00x"):
            with pytest.raises(exceptions.InvalidDataError):
                await _all(repository, query.compare("name", operator, text))

    @_needs("filters", "kinds")
    @pytest.mark.parametrize("verb", _ASKING)
    @pytest.mark.parametrize(("field", "value"), _UNLIKE)
    async def test_a_text_and_a_number_are_not_compared(
        self, repository: t.Any, field: str, value: t.Any, verb: str
    ) -> None:
        kept = await repository.create({"id": 1, "name": "a", "points": 1})

        with pytest.raises(exceptions.InvalidDataError):
            await _ASKING[verb](repository, **{field: value})

        assert await _all(repository) == kept

    @_needs("clauses", "kinds")
    @pytest.mark.parametrize(("field", "value"), _UNLIKE)
    async def test_a_condition_compares_no_text_with_a_number(
        self, repository: t.Any, field: str, value: t.Any
    ) -> None:
        kept = await repository.create({"id": 1, "name": "a", "points": 1})

        for condition in (F[field] == value, F[field] > value, ~(F[field] <= value), F[field].in_([value])):
            with pytest.raises(exceptions.InvalidDataError):
                await repository.drop(condition)

        assert await _all(repository) == kept

    @_needs("keyset")
    @pytest.mark.parametrize("side", ["after", "before"])
    async def test_a_place_is_of_the_kind_of_its_field(self, repository: t.Any, side: str) -> None:
        await repository.create({"id": 1})
        await _all(repository, **{side: {"id": 2}})

        with pytest.raises(exceptions.InvalidDataError):
            await _all(repository, **{side: {"id": "1x"}})

    @_needs("filters")
    @pytest.mark.parametrize("verb", _ASKING)
    async def test_a_filter_by_a_collection_is_refused(self, repository: t.Any, verb: str) -> None:
        kept = await repository.create({"id": 1, "age": 30})

        for several in ([30], (30, 31), {30}):
            with pytest.raises(exceptions.InvalidDataError):
                await _ASKING[verb](repository, age=several)

        assert await _all(repository) == kept


class _Asking(_Suite):
    @_needs("clauses")
    async def test_a_condition_means_the_same_everywhere(self, repository: t.Any) -> None:
        created = await _store(repository, *_PEOPLE)

        found = [(condition, "".join(sorted(await _names(repository, condition)))) for condition, _ in _CONDITIONS]
        matched = [(condition, [each["name"] for each in created if condition.matches(each)]) for condition, _ in found]

        assert found == list(_CONDITIONS)
        assert [(condition, "".join(sorted(names))) for condition, names in matched] == list(_CONDITIONS)

    @_needs("clauses", "filters")
    async def test_conditions_and_filters_all_must_hold(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await _names(repository, F.age >= 0, F.age < 30, points=2) == "b"
        assert await _names(repository, F.age >= 0, F.age < 30, points=0) == ""

    @_needs("clauses", "queries")
    async def test_conditions_say_what_is_asked_for(self, repository: t.Any) -> None:
        c, a, _, _ = await _store(repository, *_PEOPLE)

        assert await repository.retrieve(F.note == "Ann") == a
        assert await repository.get(F.age == 30, F.points == 0) == c
        assert await repository.get(F.age > 30) is None
        assert await repository.first(F.age == 30) == a
        assert (await repository.count(F.age == 30), await repository.exists(F.age > 30)) == (2, False)
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.retrieve(F.age == 30)
        with pytest.raises(exceptions.NotFoundError):
            await repository.retrieve(F.age > 30)

    @_needs("clauses")
    async def test_conditions_say_what_is_written(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        updated = await repository.update({"age": 1}, F.age < 30, F.note.contains("ann"))
        await repository.delete(F.note.contains("100%"))
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.delete(F.age == 30)
        dropped = await repository.drop(~(F.age == 30))

        assert [(record["name"], record["age"]) for record in updated] == [("b", 1)]
        assert dropped == 1
        assert sorted(await _names(repository)) == ["a", "c"]

    @_needs("clauses", "guards")
    async def test_conditions_are_guarded(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        for write in (repository.drop(F.age == 30, max_affected=1), repository.update({}, F.nope == 1, max_affected=1)):
            with pytest.raises((exceptions.MultipleRecordsError, exceptions.UnknownColumnError)):
                await write

        assert await repository.drop(F.age == 30, max_affected=2) == 2

    @_needs("clauses")
    @pytest.mark.parametrize("clause", [F.age, True, "age > 3", F.age.asc()], ids=repr)
    async def test_what_is_no_condition_is_refused(self, repository: t.Any, clause: t.Any) -> None:
        kept = await repository.create({"id": 1})

        for verb in _ASKING.values():
            with pytest.raises(exceptions.InvalidDataError):
                await verb(repository, clause)

        assert await _all(repository) == kept

    @_needs("clauses")
    @pytest.mark.parametrize("verb", _ASKING)
    async def test_none_is_no_condition(self, repository: t.Any, verb: str) -> None:
        kept = await repository.create({"id": 1})
        # where ids are taken, None alone can't be told from one: it is the id of no record, which is nobody's data
        is_id = "ids" in self.capabilities and verb in _TAKING_IDS

        with pytest.raises(ValueError if is_id else exceptions.InvalidDataError):
            await _ASKING[verb](repository, None)
        with pytest.raises(exceptions.InvalidDataError):
            await _ASKING[verb](repository, F.id == 1, None)

        assert await _all(repository) == kept

    @_needs("clauses")
    async def test_text_is_asked_of_text_alone(self, repository: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await _all(repository, F.age.contains("1"))


class _Ordering(_Suite):
    @_needs("orders")
    async def test_an_order_means_the_same_everywhere(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        found = [(order, await _names(repository, order_by=order, limit=9)) for order, _ in _ORDERS]

        assert [names for _, names in found] == [names for _, names in _ORDERS]

    @_needs("orders")
    async def test_the_direction_can_be_said_apart(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await _names(repository, order_by="age", order_direction="desc") == "acbd"
        assert await _names(repository, order_by=["age", "-id"], order_direction="desc") == "cabd"
        assert await _names(repository, order_direction="desc", limit=2) == "dc"

    @_needs("orders")
    async def test_ties_are_broken_by_the_key_in_every_slice(self, repository: t.Any) -> None:
        await _store(repository, *({"id": id, "name": str(id), "age": 7} for id in (3, 5, 1, 4, 2)))

        assert await _names(repository, order_by="age") == "12345"
        assert await _names(repository, order_by="-age") == "12345"
        assert [await _names(repository, order_by="age", limit=2, offset=n) for n in (0, 2, 4)] == ["12", "34", "5"]

    @_needs("orders")
    async def test_a_slice_is_cut_from_what_is_in_order(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await _names(repository, order_by="-name", limit=1) == "d"
        assert await _names(repository, order_by="age", limit=2) == "ba"
        assert await _names(repository, order_by="age", limit=2, offset=1) == "ac"
        assert await _names(repository, offset=3) == "d"
        assert await _names(repository, limit=0) == ""
        assert await _names(repository, offset=9, limit=9) == ""

    @_needs("orders", "filters")
    async def test_a_slice_is_cut_from_what_matches(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)

        assert await _names(repository, points=2, limit=1) == "a"
        assert await _names(repository, points=2, limit=1, offset=1) == "b"
        assert await _names(repository, points=2, order_by="-name", limit=2, offset=1) == "a"

    @_needs("orders")
    @pytest.mark.parametrize("slice", _NO_ORDERS, ids=repr)
    async def test_what_is_no_order_or_slice_is_refused(self, repository: t.Any, slice: _Record) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await _all(repository, **slice)

    @_needs("clauses", "orders", "queries")
    @_EXAMPLES
    @hypothesis.given(
        records=_RECORDS,
        condition=_SOME,
        orders=_SORTED,
        slice=st.fixed_dictionaries({"limit": st.none() | st.integers(0, 8), "offset": st.integers(0, 3)}),
    )
    async def test_what_is_found_is_what_python_finds(
        self,
        repository: t.Any,
        records: list[_Record],
        condition: query.Condition,
        orders: list[query.Order],
        slice: dict[str, t.Any],
    ) -> None:
        await repository.drop()
        stored = await _store(repository, *records)
        matching = query.in_order(filter(condition.matches, stored), query.orders(orders, keys=["id"]))
        found = await _all(repository, condition, order_by=orders or "id", **slice)

        assert found == matching[slice["offset"] :][: slice["limit"]]
        assert await repository.count(condition) == len(matching)
        assert await repository.exists(condition) == bool(matching)
        assert await repository.first(condition, order_by=orders) == next(iter(matching), None)


class _Paging(_Suite):
    @_needs("keyset", "orders")
    @_EXAMPLES
    @hypothesis.given(records=_RECORDS, orders=_SORTED, size=st.integers(1, 3))
    async def test_pages_tile_the_collection(
        self, repository: t.Any, records: list[_Record], orders: list[query.Order], size: int
    ) -> None:
        await repository.drop()
        stored = await _store(repository, *records)
        whole = query.in_order(stored, query.orders(orders, keys=["id"]))

        ahead = await self._pages(repository, orders, size, "after", -1)
        back = await self._pages(repository, orders, size, "before", 0)

        assert [*itertools.chain.from_iterable(ahead)] == whole
        assert [*itertools.chain.from_iterable(reversed(back))] == whole
        assert all(len(page) == size for page in (*ahead[:-1], *back[:-1]))

    @_needs("keyset", "orders")
    async def test_a_slice_goes_on_from_a_record(self, repository: t.Any) -> None:
        await _store(repository, *_PEOPLE)
        order: _Record = {"order_by": ["age", "-id"]}
        whole = await _all(repository, **order)

        for place, record in enumerate(whole):
            behind, ahead = whole[place + 1 :], whole[:place]
            assert await _all(repository, after=record, **order) == behind
            assert await _all(repository, after=record, limit=1, **order) == behind[:1]
            assert await _all(repository, before=record, **order) == ahead
            assert await _all(repository, before=record, limit=1, **order) == ahead[-1:]
        assert await _all(repository, after=whole[0], before=whole[3], **order) == whole[1:3]

    @_needs("keyset", "orders")
    async def test_records_may_come_and_go_between_pages(self, repository: t.Any) -> None:
        _, a, _, b = await _store(repository, *_PEOPLE)

        await repository.delete(id=b["id"])
        await repository.create({"id": 9, "name": "e", "age": -1})

        assert await _names(repository, order_by="age", after=b) == "acd"
        assert await _names(repository, order_by="age", before=a) == "e"
        assert await _names(repository, order_by="age", limit=1, after={"age": 29, "id": 404}) == "a"

    @_needs("keyset", "orders", "clauses")
    async def test_a_page_is_of_what_matches(self, repository: t.Any) -> None:
        _, _, _, b = await _store(repository, *_PEOPLE)

        assert await _names(repository, F.points == 2, order_by="age", after=b) == "a"
        assert await _names(repository, F.points == 0, order_by="age", after=b, limit=1) == "c"

    @_needs("keyset")
    @pytest.mark.parametrize("place", [{}, {"name": "a"}, {"id": [1]}, {"id": "\ud800"}], ids=ascii)
    @pytest.mark.parametrize("side", ["after", "before"])
    async def test_what_is_no_place_is_refused(self, repository: t.Any, side: str, place: _Record) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await _all(repository, **{side: place})

    async def _pages(
        self, repository: t.Any, orders: list[query.Order], size: int, side: str, end: int
    ) -> list[list[_Record]]:
        pages: list[list[_Record]] = []
        place: _Record = {side: None} if side == "after" else {side: await self._behind(repository, orders)}
        if place == {"before": None}:
            return []
        while page := await _all(repository, order_by=orders, limit=size, **place):
            pages.append(page)
            place = {side: page[end]}
            assert len(pages) < _ENDLESS, "the pages don't end"
        return pages

    async def _behind(self, repository: t.Any, orders: list[query.Order]) -> _Record | None:
        # the place behind the last record: its own, were its key greater
        records = await _all(repository, order_by=orders, limit=_ENDLESS)
        return {**records[-1], "id": records[-1]["id"] + 1} if records else None


class _Combining(_Suite):
    @_needs("composite")
    async def test_a_key_of_several_fields_tells_one_record(self, seats: t.Any) -> None:
        a1, a2, b1 = await _store(seats, *({"row": row, "number": number} for row, number in _SEATS))

        (updated,) = await seats.update({"holder": "Ann"}, row="a", number=2)
        await seats.delete(row="b", number=1)

        assert await seats.retrieve(row="a", number=1) == a1
        assert updated == {**a2, "holder": "Ann"}
        with pytest.raises(exceptions.NotFoundError) as caught:
            await seats.retrieve(row="b", number=1)
        assert (caught.value.resource, caught.value.id) == ("seat", {"row": "b", "number": 1})
        assert b1 == {"row": "b", "number": 1, "holder": None}

    @_needs("composite")
    async def test_a_part_of_a_key_tells_several(self, seats: t.Any) -> None:
        await _store(seats, *({"row": row, "number": number} for row, number in _SEATS))

        for ask in (seats.retrieve, seats.delete):
            with pytest.raises(exceptions.MultipleRecordsError):
                await ask(row="a")

        assert len(await seats.update({"holder": "x"}, row="a")) == 2
        assert await seats.drop(number=1) == 2

    @_needs("composite", "orders", "keyset")
    async def test_ties_are_broken_by_all_of_the_key(self, seats: t.Any) -> None:
        keys = [("b", 1), ("a", 2), ("b", 2), ("a", 1), ("a", 3)]
        await _store(seats, *({"row": row, "number": number, "holder": "x"} for row, number in keys))

        pages: list[list[_Record]] = []
        while page := await _all(seats, order_by="holder", limit=2, after=pages[-1][-1] if pages else None):
            pages.append(page)

        assert [[(seat["row"], seat["number"]) for seat in page] for page in pages] == [
            [("a", 1), ("a", 2)],
            [("a", 3), ("b", 1)],
            [("b", 2)],
        ]

    @_needs("composite", "upserts")
    async def test_a_key_of_several_fields_is_upserted_by_all_of_them(self, seats: t.Any) -> None:
        await seats.create({"row": "a", "number": 1})

        stored = await seats.upsert({"row": "a", "number": 2}, {"row": "a", "number": 1, "holder": "x"})
        found, created = await seats.get_or_create({"row": "a", "number": 1})

        assert [(seat["number"], seat["holder"]) for seat in stored] == [(2, None), (1, "x")]
        assert (found, created) == (stored[1], False)
        assert len(await _all(seats)) == 2

    @_needs("clauses", "filters", "orders", "keyset", "queries", "upserts")
    async def test_a_field_goes_by_its_key_wherever_it_is_named(self, repository: t.Any) -> None:
        # on SQL, the column has another name
        a, b, c, _ = await repository.create(
            *({"id": id, "email": email} for id, email in enumerate(["", "b", "c", None], 1))
        )

        assert await _all(repository, order_by="-email", after=c, limit=1) == [b]
        assert await _all(repository, order_by="email", before=b) == [a]
        assert await _all(repository, F.email > "", email="c") == [c]
        assert await repository.first(F.email.startswith("b"), order_by=F.email.desc()) == b
        assert await repository.update({"email": "d"}, F.email == "b", email="b") == [{**b, "email": "d"}]
        (changed,) = await repository.upsert({"email": "c", "note": "x"}, on=["email"], set=["note"])
        assert changed == {**c, "note": "x"}
        with _refused("member", "unique", ("email",)):
            await repository.update({"email": "d"}, F.email == "c")


class _Upserting(_Suite):
    @_needs("upserts")
    async def test_what_is_new_is_stored_and_what_is_there_changed(self, repository: t.Any) -> None:
        (old,) = await repository.create({"email": "a", "name": "A", "note": "x"})

        stored = await repository.upsert({"email": "b", "name": "B"}, {"email": "a", "name": "Ä"}, on="email")

        assert [(record["email"], record["name"], record["age"]) for record in stored] == [
            ("b", "B", 18),
            ("a", "Ä", 18),
        ]
        assert stored[1] == {**old, "name": "Ä"}
        assert await _kept(repository) == sorted(stored, key=lambda record: record["id"])

    @_needs("upserts")
    async def test_upsert_is_by_the_key_unless_said_otherwise(self, repository: t.Any) -> None:
        (old,) = await repository.create({"name": "A"})

        changed, new = await repository.upsert({"id": old["id"], "name": "B"}, {"name": "C"})

        assert changed == {**old, "name": "B"}
        assert (new["name"], new["id"] != old["id"]) == ("C", True)
        assert await repository.upsert() == []

    @_needs("upserts")
    async def test_upsert_changes_only_what_is_to_be_set(self, repository: t.Any) -> None:
        (old,) = await repository.create({"email": "a", "name": "A", "age": 1})

        (changed,) = await repository.upsert({"email": "a", "name": "B", "age": 2}, on="email", set=["age"])
        (same,) = await repository.upsert({"email": "a", "name": "B", "age": 3}, on="email", set=())

        assert changed == same == {**old, "age": 2}

    @_needs("upserts")
    async def test_upsert_stores_all_or_none(self, repository: t.Any) -> None:
        kept = await repository.create({"email": "a", "name": "A"})

        with _refused("member", "check", constraint="age_is_human"):
            await repository.upsert({"email": "b"}, {"email": "a", "name": "B"}, {"email": "c", "age": 200}, on="email")

        assert await _all(repository) == kept

    @_needs("upserts")
    async def test_upsert_is_refused_by_another_record_that_is_alike(self, repository: t.Any) -> None:
        kept = await _store(repository, {"id": 1, "email": "a"}, {"id": 2, "email": "b"})

        with _refused("member", "unique", ("email",)):
            await repository.upsert({"id": 1, "email": "b"})

        assert await _kept(repository) == kept

    @_needs("upserts")
    async def test_null_is_like_nothing_to_upsert(self, repository: t.Any) -> None:
        await repository.upsert({"email": None}, {"email": None}, on="email")

        assert len(await _all(repository)) == 2

    @_needs("upserts")
    @pytest.mark.parametrize("verb", ["upsert", "get_or_create"])
    async def test_what_tells_which_record_is_meant_must_be_there(self, repository: t.Any, verb: str) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await getattr(repository, verb)({"name": "A"}, on="email")

        assert await _all(repository) == []

    @_needs("upserts")
    async def test_two_records_that_mean_the_same_are_refused(self, repository: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.upsert({"email": "a"}, {"email": "b"}, {"email": "a", "name": "A"}, on="email")

        assert await _all(repository) == []

    @_needs("upserts")
    async def test_get_or_create_stores_once(self, repository: t.Any) -> None:
        first, created = await repository.get_or_create({"email": "a", "name": "A"}, on="email")
        second, again = await repository.get_or_create({"email": "a", "name": "B"}, on="email")

        assert (created, again) == (True, False)
        assert second == first
        assert await _all(repository) == [first]

    @_needs("upserts")
    async def test_get_or_create_finds_nothing_by_null(self, repository: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.get_or_create({"email": None}, on="email")

    @_needs("upserts")
    async def test_get_or_create_is_refused_as_create_is(self, repository: t.Any) -> None:
        kept = await repository.create({"id": 1, "email": "a"})

        with _refused("member", "check"):
            await repository.get_or_create({"email": "b", "age": 200}, on="email")
        with _refused("member", "unique"):
            await repository.get_or_create({"id": 1, "email": "b"}, on="email")

        assert await _all(repository) == kept


class _Uniting(_Suite):
    @_needs("transactions")
    async def test_a_unit_that_ends_well_is_stored(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a"})
            await worker.members.update({"name": "b"}, id=1)

        async with worker:
            assert await _names(worker.members) == "b"

    @_needs("transactions")
    async def test_a_unit_that_an_exception_leaves_is_undone(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a"})

        with contextlib.suppress(ZeroDivisionError):
            async with worker:
                await worker.members.create({"id": 2})
                await worker.members.update({"name": "b"}, id=1)
                await worker.members.delete(id=1)
                raise ZeroDivisionError

        async with worker:
            assert await _names(worker.members) == "a"

    @_needs("transactions")
    async def test_what_a_unit_wrote_it_reads(self, worker: t.Any) -> None:
        async with worker:
            created = await worker.members.create({"id": 1, "name": "a"})

            assert await worker.members.retrieve(id=1) == created[0]
            assert await _all(worker.members) == created

    @_needs("transactions")
    @pytest.mark.parametrize("verb", _REFUSALS)
    async def test_a_refused_write_leaves_the_unit_usable(self, worker: t.Any, verb: str) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a", "email": "a"})
            with pytest.raises(exceptions.ResourceException):
                await _REFUSALS[verb](worker.members)
            await worker.members.create({"id": 2, "name": "b"})
            assert len(await _all(worker.members)) == 2

        async with worker:
            assert [record["name"] for record in await _kept(worker.members)] == ["a", "b"]

    @_needs("transactions")
    @pytest.mark.parametrize("verb", _REFUSALS)
    async def test_what_is_refused_first_leaves_the_unit_usable(self, worker: t.Any, verb: str) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a", "email": "a"})

        async with worker:
            with pytest.raises(exceptions.ResourceException):
                await _REFUSALS[verb](worker.members)
            await worker.members.create({"id": 2, "name": "b"})

        async with worker:
            assert [record["name"] for record in await _kept(worker.members)] == ["a", "b"]

    @_needs("transactions", "clauses")
    async def test_after_a_refused_read_the_unit_is_usable_or_says_that_it_is_not(self, worker: t.Any) -> None:
        for condition in (F.name.contains("\x00"), F.points == "x", F.points == 2**70):
            with contextlib.suppress(exceptions.FlamaError):  # or else it is stored
                async with worker:
                    await worker.members.create({"name": "a"})
                    with contextlib.suppress(exceptions.InvalidDataError):
                        await _all(worker.members, condition)
                    await worker.members.create({"name": "b"})
                    stored = await _kept(worker.members)

                async with worker:
                    assert await _kept(worker.members) == stored

    @_needs("transactions", "many")
    async def test_many_that_are_refused_leave_the_unit_usable(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"id": 1, "email": "a"})
            with _refused("member", "unique", ("email",)):
                await worker.members.create({"id": 2}, {"id": 3, "age": 4}, {"id": 4, "email": "a"})
            await worker.members.create({"id": 5})

        async with worker:
            assert [record["id"] for record in await _kept(worker.members)] == [1, 5]

    @_needs("transactions", "references")
    async def test_a_refused_deletion_leaves_the_unit_usable(self, worker: t.Any) -> None:
        async with worker:
            await worker.clubs.create({"id": 1, "name": "chess"})
            await worker.members.create({"id": 1, "club": 1})
            with _refused("club", "foreign_key"):
                await worker.clubs.delete(id=1)
            with _refused("club", "foreign_key"):
                await worker.clubs.drop()
            await worker.members.create({"id": 2, "club": 1})

        async with worker:
            assert [record["id"] for record in await _kept(worker.members)] == [1, 2]
            assert len(await _all(worker.clubs)) == 1

    @_needs("transactions")
    async def test_commit_and_rollback_let_the_unit_go_on(self, worker: t.Any) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with worker:
                await worker.members.create({"name": "a"})
                await worker.commit()
                await worker.members.create({"name": "b"})
                await worker.rollback()
                await worker.members.create({"name": "c"})
                await worker.commit()
                await worker.members.create({"name": "d"})
                raise ZeroDivisionError

        async with worker:
            assert sorted(await _names(worker.members)) == ["a", "c"]

    @_needs("transactions")
    async def test_a_unit_within_the_unit_is_undone_by_itself(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"name": "a"})
            with contextlib.suppress(ZeroDivisionError):
                async with worker:
                    await worker.members.create({"name": "b"})
                    raise ZeroDivisionError
            async with worker:
                await worker.members.create({"name": "c"})

        async with worker:
            assert sorted(await _names(worker.members)) == ["a", "c"]

    @_needs("transactions", "many")
    async def test_a_list_ends_with_its_unit(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create(*({} for _ in range(600)))
            begun, fresh = worker.members.list(), worker.members.list()
            await anext(begun)

        for listing in (begun, fresh):
            with pytest.raises(exceptions.SessionClosedError):
                await anext(listing)

    @_needs("transactions")
    @pytest.mark.parametrize("verb", _ASKING)
    async def test_a_repository_ends_with_its_unit(self, worker: t.Any, verb: str) -> None:
        async with worker:
            members = worker.members

        with pytest.raises(exceptions.SessionClosedError):
            await _ASKING[verb](members)
        with pytest.raises(exceptions.SessionClosedError):
            await members.create({})

    @_needs("transactions", "many")
    async def test_a_list_that_was_left_early_keeps_no_unit_from_ending(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create(*({} for _ in range(600)))
        async with worker:
            async for _ in worker.members.list():
                break
            await worker.members.create({"name": "last"})

        async with worker:
            assert len(await _all(worker.members)) == 601

    @_needs("transactions", "deferred")
    async def test_a_deferred_reference_may_be_mended_before_the_end(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"id": 1, "mentor": 2})
            await worker.members.create({"id": 2})

        async with worker:
            assert len(await _all(worker.members)) == 2

    @_needs("transactions", "deferred")
    async def test_a_deferred_reference_to_nothing_is_refused_at_the_end(self, worker: t.Any) -> None:
        with pytest.raises(exceptions.IntegrityError) as caught:
            async with worker:
                await worker.members.create({"id": 1, "mentor": 404})

        assert caught.value.kind == "foreign_key"
        async with worker:
            assert await _all(worker.members) == []
            await worker.members.create({"id": 1})

    @_needs("transactions", "deferred")
    async def test_commit_refuses_a_deferred_reference_to_nothing(self, worker: t.Any) -> None:
        async with worker:
            await worker.members.create({"id": 1})

        async def commit_early() -> None:
            async with worker:
                await worker.members.update({"mentor": 404}, id=1)
                await worker.commit()

        with pytest.raises(exceptions.IntegrityError) as caught:
            await commit_early()

        assert caught.value.kind == "foreign_key"
        async with worker:
            assert (await worker.members.retrieve(id=1))["mentor"] is None

    @_needs("transactions", "deferred", "reference_fields")
    async def test_the_end_tells_which_reference_it_was(self, worker: t.Any) -> None:
        with _refused("member", "foreign_key", ("mentor",), "member_has_mentor"):
            async with worker:
                await worker.members.create({"id": 1, "mentor": 404})


class RepositoryContract(
    _Creating,
    _Retrieving,
    _Listing,
    _Updating,
    _Deleting,
    _Refusing,
    _Naming,
    _Valuing,
    _Asking,
    _Ordering,
    _Paging,
    _Combining,
    _Upserting,
    _Uniting,
):
    """The tests that a repository has to pass: those of ``capabilities``, the keys of :data:`CAPABILITIES`.

    A subclass, or its conftest, gives what is tested as fixtures. The collections are empty, and in an open unit where
    there are units; their records are dictionaries.

    ``repository``
        ``member``: ``id``, a whole number, the key, which the backend gives where the data have none; ``name``, at most
        32 characters, never null, by default ``"unnamed"``; ``email``, at most 64, in no two records the same; ``age``,
        a whole number, by default 18, and less than 150, or else the constraint ``age_is_human`` refuses it;
        ``points``, a whole number of 32 bits; ``note``, at most 200 characters. With "references" also ``club``, the
        ``id`` of one, by the constraint ``member_has_club``; with "deferred" ``mentor``, the ``id`` of a member, by
        ``member_has_mentor``, which is checked when the unit ends.
    ``clubs``
        with "references": ``club``, with ``id`` and ``name``, which is never null and has no default; in the same unit.
    ``seats``
        with "composite": ``seat``, with the key ``row``, at most 8 characters, and ``number``; and ``holder``.
    ``worker``
        with "transactions": a worker that has ``members``, and ``clubs`` with "references". What it stores is removed
        after the test.

    Tests that need a capability which isn't declared are skipped.
    """
