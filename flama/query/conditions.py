"""Conditions on records, as values that any backend can read."""

import collections.abc
import dataclasses
import functools
import typing as t

from flama.query.operators import OPERATORS

__all__ = [
    "And",
    "Comparison",
    "Condition",
    "Not",
    "Or",
    "Predicate",
    "as_mapping",
    "compare",
    "equal_fields",
    "equals",
    "field",
    "field_repr",
]

_Record: t.TypeAlias = collections.abc.Mapping[str, t.Any]
# true, false or unknown (None) of a record
Predicate: t.TypeAlias = collections.abc.Callable[[_Record], bool | None]


class Condition:
    """A condition on a record: a comparison made by ``F``, or conditions joined by ``&``, ``|`` and ``~``.

    Conditions are frozen, hashable and picklable. Their logic is three-valued, as in SQL: comparing null with anything
    is unknown, and so is the negation of that. A record matches only when the whole condition is true.
    """

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that it compares, each once."""
        raise NotImplementedError

    @property
    def cache_key(self) -> collections.abc.Hashable:
        """A key that is equal for conditions which differ only in values of the same types."""
        raise NotImplementedError

    @property
    def values(self) -> tuple[t.Any, ...]:
        """The values that it compares with, in the order of its shape."""
        raise NotImplementedError

    @functools.cached_property
    def predicate(self) -> Predicate:
        """A function from a mapping with all its fields to true, false, or None where the condition is unknown."""
        return self._compile()

    def matches(self, record: t.Any) -> bool:
        """Return whether the condition is true of a record: a mapping, or an object with the fields as attributes.

        :raises LookupError: the record lacks a field.
        :raises TypeError: a value can't be compared with the record's.
        """
        return self.predicate(as_mapping(record)) is True

    def _compile(self) -> Predicate:
        raise NotImplementedError

    def __and__(self, other: object) -> "Condition":
        return And(_flatten(And, self, other)) if isinstance(other, Condition) else NotImplemented

    def __or__(self, other: object) -> "Condition":
        return Or(_flatten(Or, self, other)) if isinstance(other, Condition) else NotImplemented

    def __invert__(self) -> "Condition":
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth of its own: join conditions by &, | and ~, each comparison in brackets")

    def __reduce__(self) -> tuple[t.Any, ...]:
        # not the predicate, which can't be pickled
        return type(self), tuple(getattr(self, each.name) for each in dataclasses.fields(t.cast("t.Any", self)))


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Condition):
    """A comparison of one field by one operator; :func:`compare` checks the operand."""

    field: str
    operator: str
    operand: t.Any = None

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    @property
    def cache_key(self) -> collections.abc.Hashable:
        return (self.operator, self.field, tuple(map(type, self.values)))

    @property
    def values(self) -> tuple[t.Any, ...]:
        match self.operator:
            case "isnull":
                return ()
            case "in":
                return (*self.operand, *self.operand[-1:] * _padding(len(self.operand)))
            case _:
                return (self.operand,)

    def _compile(self) -> Predicate:
        name, holds = self.field, OPERATORS[self.operator].make_predicate(self.operand)
        if self.operator == "isnull":
            return lambda record: field(record, name) is None
        if self.operator == "in" and not self.operand:
            return lambda record: False
        return lambda record: None if (value := field(record, name)) is None else holds(value)

    def __repr__(self) -> str:
        python = OPERATORS[self.operator].python
        if not python.isidentifier():
            return f"({field_repr(self.field)} {python} {self.operand!r})"
        return f"{field_repr(self.field)}.{python}({'' if self.operator == 'isnull' else repr(self.operand)})"


@dataclasses.dataclass(frozen=True, repr=False)
class _Joined(Condition):
    parts: tuple[Condition, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    @property
    def cache_key(self) -> collections.abc.Hashable:
        return (type(self).__name__, *(part.cache_key for part in self.parts))

    @property
    def values(self) -> tuple[t.Any, ...]:
        return tuple(value for part in self.parts for value in part.values)


class And(_Joined):
    """A condition that holds where all its parts do."""

    def _compile(self) -> Predicate:
        return _fold_three_valued([part.predicate for part in self.parts], decisive=False)

    def __repr__(self) -> str:
        return f"({' & '.join(map(repr, self.parts))})"


class Or(_Joined):
    """A condition that holds where at least one of its parts does."""

    def _compile(self) -> Predicate:
        return _fold_three_valued([part.predicate for part in self.parts], decisive=True)

    def __repr__(self) -> str:
        return f"({' | '.join(map(repr, self.parts))})"


@dataclasses.dataclass(frozen=True, repr=False)
class Not(Condition):
    """The negation of a condition; unknown where that is."""

    part: Condition

    @property
    def fields(self) -> tuple[str, ...]:
        return self.part.fields

    @property
    def cache_key(self) -> collections.abc.Hashable:
        return ("Not", self.part.cache_key)

    @property
    def values(self) -> tuple[t.Any, ...]:
        return self.part.values

    def _compile(self) -> Predicate:
        test = self.part.predicate
        return lambda record: None if (true := test(record)) is None else not true

    def __invert__(self) -> Condition:
        return self.part

    def __repr__(self) -> str:
        return f"~{self.part!r}"


def compare(name: str, operator: str, operand: t.Any = None) -> Condition:
    """Return the condition that compares a field by an operator, which is called by its name on the wire.

    :raises TypeError: the operator doesn't take an operand of this type.
    :raises ValueError: there is no such operator, or the operand compares with nothing, as NaN and null do.
    """
    if operator not in OPERATORS:
        raise ValueError(f"there is no operator {operator!r}: there are {', '.join(OPERATORS)}")
    row = OPERATORS[operator]
    try:
        return Comparison(name, operator, row.validate_operand(operand))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{field_repr(name)} {row.python}: {error}") from None


def equals(name: str, value: t.Any) -> Condition:
    """Return the condition that a field equals a value; None matches null."""
    return compare(name, "isnull") if value is None else compare(name, "eq", value)


def equal_fields(condition: Condition) -> frozenset[str]:
    """Return the fields that a condition requires to equal a single value, null included."""
    match condition:
        case And(parts):
            return frozenset(name for part in parts for name in equal_fields(part))
        case Comparison(field, "eq" | "isnull") | Comparison(field, "in", (_,)):
            return frozenset([field])
    return frozenset()


def field_repr(name: str) -> str:
    """Return the expression for a field in Python: ``F.name``, or ``F['e-mail']``."""
    return f"F.{name}" if name.isidentifier() else f"F[{name!r}]"


def as_mapping(record: t.Any) -> _Record:
    """Return a record as a mapping: itself if it is one, otherwise a view of its attributes."""
    return record if isinstance(record, collections.abc.Mapping) else _Attributes(record)


def field(record: _Record, name: str) -> t.Any:
    """Return a field of a record.

    :raises LookupError: the record lacks it.
    """
    try:
        return record[name]
    except KeyError:
        has = f"it has {', '.join(map(str, record))}" if len(record) else "it is empty"
        raise LookupError(f"a record has no {name!r}: {has}") from None


class _Attributes(collections.abc.Mapping[str, t.Any]):
    def __init__(self, record: t.Any) -> None:
        self._record = record

    def __getitem__(self, name: str) -> t.Any:
        try:
            return getattr(self._record, name)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> collections.abc.Iterator[str]:
        return (name for name in dir(self._record) if not name.startswith("_"))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _flatten(kind: type[_Joined], *conditions: Condition) -> tuple[Condition, ...]:
    # (a & b) & c is the same value as a & (b & c)
    return tuple(part for each in conditions for part in (each.parts if isinstance(each, kind) else (each,)))


def _padding(count: int) -> int:
    # Lists of many lengths have few shapes: each is padded to the next power of two.
    return (1 << (count - 1).bit_length()) - count if count else 0


def _fold_three_valued(tests: list[Predicate], *, decisive: bool) -> Predicate:
    def decide(record: _Record) -> bool | None:
        whole: bool | None = not decisive
        for test in tests:
            part = test(record)
            if part is decisive:
                return decisive
            if part is None:
                whole = None
        return whole

    return decide
