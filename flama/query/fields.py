"""Fields of records: what conditions and orders are made of."""

import collections.abc
import typing as t

from flama.query.conditions import Condition, compare, field_repr
from flama.query.ordering import Nulls, Order

__all__ = ["F", "Field", "Fields"]


class Field:
    """A field of a record, by name. Each comparison is a :class:`~flama.query.Condition`.

    Texts are compared by their characters, case-sensitively, whatever the database's collation. The methods with an
    ``i`` ignore the case of A to Z. Null and NaN compare with nothing and are refused; :meth:`is_` matches null.
    """

    _name: str

    __slots__ = ("_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("eq", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return ~self._compare("eq", other)

    def __lt__(self, other: t.Any) -> Condition:
        return self._compare("lt", other)

    def __le__(self, other: t.Any) -> Condition:
        return self._compare("lte", other)

    def __gt__(self, other: t.Any) -> Condition:
        return self._compare("gt", other)

    def __ge__(self, other: t.Any) -> Condition:
        return self._compare("gte", other)

    def in_(self, values: collections.abc.Iterable[t.Any]) -> Condition:
        """Match any of the values, and no record if there are none."""
        return self._compare("in", values)

    def not_in(self, values: collections.abc.Iterable[t.Any]) -> Condition:
        """Match none of the values. It is unknown of null, unless there are no values."""
        return ~self._compare("in", values)

    def between(self, low: t.Any, high: t.Any) -> Condition:
        """Match values from ``low`` to ``high``, both included."""
        return self._compare("gte", low) & self._compare("lte", high)

    def is_(self, value: bool | None) -> Condition:
        """Match null, true or false. It is true or false of every record, never unknown."""
        if value is None:
            return self.isnull()
        return self._compare("eq", self._check_bool(value)) & ~self.isnull()

    def is_not(self, value: bool | None) -> Condition:
        """Match the records that :meth:`is_` doesn't: not null, or null or the other truth value."""
        return ~self.is_(value)

    def isnull(self) -> Condition:
        """Match null."""
        return self._compare("isnull")

    def contains(self, text: str) -> Condition:
        """Match texts that contain this one."""
        return self._compare("contains", text)

    def startswith(self, text: str) -> Condition:
        """Match texts that begin with this one."""
        return self._compare("startswith", text)

    def endswith(self, text: str) -> Condition:
        """Match texts that end with this one."""
        return self._compare("endswith", text)

    def icontains(self, text: str) -> Condition:
        """Match texts that contain this one, ignoring the case of A to Z."""
        return self._compare("icontains", text)

    def istartswith(self, text: str) -> Condition:
        """Match texts that begin with this one, ignoring the case of A to Z."""
        return self._compare("istartswith", text)

    def iendswith(self, text: str) -> Condition:
        """Match texts that end with this one, ignoring the case of A to Z."""
        return self._compare("iendswith", text)

    def like(self, pattern: str) -> Condition:
        r"""Match a pattern: ``%`` is any text, ``_`` any character, ``\`` makes the next one literal."""
        return self._compare("like", pattern)

    def ilike(self, pattern: str) -> Condition:
        """Match a pattern as :meth:`like` does, ignoring the case of A to Z."""
        return self._compare("ilike", pattern)

    def asc(self, *, nulls: Nulls = "last") -> Order:
        """Return the ascending order by this field."""
        return Order(self._name, nulls=nulls)

    def desc(self, *, nulls: Nulls = "last") -> Order:
        """Return the descending order by this field."""
        return Order(self._name, descending=True, nulls=nulls)

    def _compare(self, operator: str, operand: t.Any = None) -> Condition:
        if isinstance(operand, Field | Condition):
            raise TypeError(f"{self!r} compares with a value, not with {operand!r}")
        return compare(self._name, operator, operand)

    def _check_bool(self, value: t.Any) -> bool:
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
        return field_repr(self._name)


class Fields:
    """The fields of records: ``F.name``, or ``F["e-mail"]`` where the name is no identifier."""

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
