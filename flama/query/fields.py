"""Fields of records: what conditions and orders are made of."""

import collections.abc
import typing as t

from flama.query.conditions import Condition, compare, named
from flama.query.orders import Nulls, Order

__all__ = ["F", "Field", "Fields"]


class Field:
    """A field of a record, by name. Each comparison is a :class:`~flama.query.Condition`.

    Texts are compared by their characters, upper and lower case apart, whatever the database is set to; the methods
    with an ``i`` take A to Z for a to z. Null and NaN compare with nothing and are refused; :meth:`is_` asks for null.
    """

    _name: str

    __slots__ = ("_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._test("eq", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~self._test("eq", other)

    def __lt__(self, other: t.Any) -> Condition:
        return self._test("lt", other)

    def __le__(self, other: t.Any) -> Condition:
        return self._test("lte", other)

    def __gt__(self, other: t.Any) -> Condition:
        return self._test("gt", other)

    def __ge__(self, other: t.Any) -> Condition:
        return self._test("gte", other)

    def in_(self, values: collections.abc.Iterable[t.Any]) -> Condition:
        """Be one of the values; of none, when there are none."""
        return self._test("in", values)

    def not_in(self, values: collections.abc.Iterable[t.Any]) -> Condition:
        """Be none of the values; unknown of null, unless there are no values."""
        return ~self._test("in", values)

    def between(self, low: t.Any, high: t.Any) -> Condition:
        """Be no less than the one and no more than the other."""
        return self._test("gte", low) & self._test("lte", high)

    def is_(self, value: bool | None) -> Condition:
        """Be null, or be true or false; true or false of every record, never unknown."""
        if value is None:
            return self.isnull()
        return self._test("eq", self._truth(value)) & ~self.isnull()

    def is_not(self, value: bool | None) -> Condition:
        """Be not null, or be null or the other; the opposite of :meth:`is_`."""
        return ~self.is_(value)

    def isnull(self) -> Condition:
        """Be null."""
        return self._test("isnull")

    def contains(self, text: str) -> Condition:
        """Have the text in it."""
        return self._test("contains", text)

    def startswith(self, text: str) -> Condition:
        """Begin with the text."""
        return self._test("startswith", text)

    def endswith(self, text: str) -> Condition:
        """End with the text."""
        return self._test("endswith", text)

    def icontains(self, text: str) -> Condition:
        """Have the text in it, A to Z being a to z."""
        return self._test("icontains", text)

    def istartswith(self, text: str) -> Condition:
        """Begin with the text, A to Z being a to z."""
        return self._test("istartswith", text)

    def iendswith(self, text: str) -> Condition:
        """End with the text, A to Z being a to z."""
        return self._test("iendswith", text)

    def like(self, pattern: str) -> Condition:
        r"""Look like the pattern: ``%`` is any text, ``_`` any character, ``\`` takes the next one literally."""
        return self._test("like", pattern)

    def ilike(self, pattern: str) -> Condition:
        """Look like the pattern, as :meth:`like` reads it, A to Z being a to z."""
        return self._test("ilike", pattern)

    def asc(self, *, nulls: Nulls = "last") -> Order:
        """Order by it, the least first."""
        return Order(self._name, nulls=nulls)

    def desc(self, *, nulls: Nulls = "last") -> Order:
        """Order by it, the greatest first."""
        return Order(self._name, descending=True, nulls=nulls)

    def _test(self, operator: str, operand: t.Any = None) -> Condition:
        if isinstance(operand, Field | Condition):
            raise TypeError(f"{self!r} compares with a value, not with {operand!r}")
        return compare(self._name, operator, operand)

    def _truth(self, value: t.Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError(f"{self!r}.is_ takes None, True or False, not {value!r}")
        return value

    def __setattr__(self, name: str, value: t.Any) -> t.NoReturn:
        raise AttributeError(f"{self!r} can't be set: == compares it")

    def __bool__(self) -> t.NoReturn:
        raise TypeError(f"{self!r} has no truth of its own: say what it is to be, as in {self!r}.is_(True)")

    def __reduce__(self) -> tuple[t.Any, ...]:
        return Field, (self._name,)

    def __repr__(self) -> str:
        return named(self._name)


class Fields:
    """Every field there could be, as an attribute, or as an item where its name is no identifier: ``F["e-mail"]``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(f"a field called {name!r} is F[{name!r}]")
        return Field(name)

    def __getitem__(self, name: str) -> Field:
        return Field(name)

    def __reduce__(self) -> str:
        return "F"

    def __repr__(self) -> str:
        return "F"


F: t.Final = Fields()
