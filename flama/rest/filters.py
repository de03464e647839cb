"""Filters on the wire: conditions on records, as the parameters of a query.

A comparison is the field's own parameter, ``age=gte:18`` or, negated, ``age=not:gte:18``; ``age=18`` is ``age=eq:18``.
All that is said must hold, except that the values of ``in`` are gathered: ``age=in:1&age=in:2``. Whatever else a
condition can be is JSON in the parameter ``filter``: a comparison is ``["age", "gte", "18"]``, a group
``{"or": [...]}``, ``{"and": [...]}`` or ``{"not": ...}``. Values are texts: the field says what they stand for.
"""

import collections.abc
import enum
import typing as t

import msgspec

from flama.exceptions import UnknownColumnError
from flama.query import OPERATORS, And, Beyond, Comparison, Condition, Not, Or, compare
from flama.rest.names import FILTER, RESERVED
from flama.rest.values import Reader, pattern, reader, text

__all__ = ["Allowed", "EQUALITY", "Filterable", "NULLABLE", "decode", "encode", "filterable", "group_schema", "schema"]

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]


class Filterable(t.NamedTuple):
    """What a field may be asked for: by which operators, and what reads the values that it is compared with.

    ``pattern`` is a regular expression of such values.
    """

    read: Reader
    operators: frozenset[str]
    pattern: str


NULLABLE: t.Final = Filterable(reader(str), frozenset({"isnull"}), "")
"""What a field may be asked for that is compared with nothing."""

Allowed: t.TypeAlias = collections.abc.Mapping[str, Filterable]
"""The fields that may be asked for, by name."""

_TEXTUAL: t.Final = frozenset(name for name, operator in OPERATORS.items() if operator.pattern is not None)
EQUALITY: t.Final = frozenset({"eq", "in", "isnull"})
"""The operators of fields that are compared, and have no order."""
_NOT: t.Final = "not:"
_GROUPS: t.Final[msgspec.json.Decoder[t.Any]] = msgspec.json.Decoder(float_hook=str)  # with all their digits

# What every database takes: the parser of SQLite, for one, bears no more than 100 nested expressions.
_DEEPEST: t.Final = 16
_COMPARISONS: t.Final = 200
_VALUES: t.Final = 2_000


def filterable(annotation: t.Any, operators: collections.abc.Collection[str] | None = None) -> Filterable:
    """Give what a field of this type may be asked for: by these operators, or by all that its type has."""
    known = _operators(annotation) if isinstance(annotation, type) else OPERATORS.keys() - _TEXTUAL
    return Filterable(reader(annotation), frozenset(known if operators is None else operators), pattern(annotation))


def _operators(kind: type) -> collections.abc.Set[str]:
    if issubclass(kind, enum.Enum):  # databases have orders of their own for them
        return EQUALITY
    return OPERATORS.keys() if issubclass(kind, str) else OPERATORS.keys() - _TEXTUAL


def schema(field: Filterable) -> dict[str, t.Any]:
    """Give the JSON Schema of what a field's own parameter may say."""
    valued = "|".join(_valued(field.operators - _TEXTUAL))
    values = f"(({valued}):)({field.pattern})" if valued else ""
    texts = f"({'|'.join(sorted(field.operators & _TEXTUAL))}):[^\\x00\\\\]*" if field.operators & _TEXTUAL else ""
    null = "isnull" if "isnull" in field.operators else ""
    return {"type": "string", "pattern": f"^(not:)?({'|'.join(filter(None, (values, texts, null)))})$", "maxLength": 99}


def group_schema(allowed: Allowed, itself: dict[str, t.Any]) -> dict[str, t.Any]:
    """Give the JSON Schema of what ``filter`` may hold; ``itself`` is what refers to that."""
    several = {"type": "array", "items": itself, "minItems": 1, "maxItems": 9}
    groups = [_member("and", several), _member("or", several), _member("not", itself)]
    return {"anyOf": [*(each for name, field in allowed.items() for each in _compared(name, field)), *groups]}


def _member(name: str, schema: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


def _compared(name: str, field: Filterable) -> collections.abc.Iterator[dict[str, t.Any]]:
    value = {"type": "string", "pattern": f"^({field.pattern})$", "maxLength": 99}
    text = {"type": "string", "pattern": "^[^\\x00\\\\]*$", "maxLength": 99}
    for operators, operands in (
        (field.operators & {"isnull"}, ()),
        (field.operators & {"in"}, ({"type": "array", "items": value, "maxItems": 9},)),
        (field.operators - _TEXTUAL - {"isnull", "in"}, (value,)),
        (field.operators & _TEXTUAL, (text,)),
    ):
        if operators:
            parts = [{"const": name}, {"enum": sorted(operators)}, *operands]
            yield {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


def _valued(operators: frozenset[str]) -> list[str]:
    return sorted(operators - {"isnull"})


def encode(
    conditions: collections.abc.Iterable[Condition], reserved: collections.abc.Collection[str] = RESERVED
) -> list[tuple[str, str]]:
    """Give the parameters that ask for records on which all of the conditions hold.

    Fields whose names are ``reserved`` for other parameters are compared in groups.

    :raises TypeError: a value has no form in a query, or what should be a condition is none.
    """
    pairs: list[tuple[str, str]] = []
    gathered: set[tuple[str, bool]] = set()
    for condition in _conjuncts(conditions):
        negated, compared = _comparison(condition)
        if compared is None or compared.field in reserved or not _is_alone(compared, negated, gathered):
            pairs.append((FILTER, msgspec.json.encode(_group(condition)).decode()))
        else:
            prefix = _NOT if negated else ""
            pairs += ((compared.field, prefix + value) for value in _texts(compared))
    return pairs


def decode(
    pairs: _Pairs, allowed: Allowed, *, resource: str, reserved: collections.abc.Collection[str] = RESERVED
) -> tuple[Condition, ...]:
    """Give the conditions that a query asks for, the inverse of :func:`encode`; those of a conjunction one by one.

    :raises ValueError: a parameter means nothing, or asks by an operator that isn't allowed; the message names it.
    :raises UnknownColumnError: fields may not be asked for, whatever else is wrong; it names all of them. What has a
        ``reserved`` name is no field.
    """
    said = [
        (name, _parsed(value) if name == FILTER else value)
        for name, value in pairs
        if name == FILTER or name not in reserved
    ]
    _check_known(said, allowed, resource)
    reading = _Reading(allowed)
    for name, value in said:
        if name == FILTER:
            reading.found.append(reading.group(value))
        else:
            reading.simple(name, value)
    return tuple(each if isinstance(each, Condition) else reading.gathered(each) for each in reading.found)


def _conjuncts(conditions: collections.abc.Iterable[t.Any]) -> collections.abc.Iterator[Condition]:
    for condition in conditions:
        match condition:
            case And(parts):
                yield from _conjuncts(parts)
            case Beyond():
                yield from _conjuncts([condition.expanded])
            case Condition():
                yield condition
            case _:
                raise TypeError(f"over HTTP, what records are asked for is a condition of F, not {condition!r}")


def _comparison(condition: Condition) -> tuple[bool, Comparison | None]:
    match condition:
        case Comparison():
            return False, condition
        case Not(Comparison() as compared):
            return True, compared
    return False, None


def _is_alone(compared: Comparison, negated: bool, gathered: set[tuple[str, bool]]) -> bool:
    """Whether it can be said by its field's own parameter: values of ``in`` are there, and mix with no others."""
    if compared.operator != "in":
        return True
    alone = bool(compared.operand) and (compared.field, negated) not in gathered
    gathered.add((compared.field, negated))
    return alone


def _texts(compared: Comparison) -> list[str]:
    match compared.operator:
        case "isnull":
            return ["isnull"]
        case "in":
            return [f"in:{text(value)}" for value in compared.operand]
    return [f"{compared.operator}:{text(compared.operand)}"]


def _group(condition: Condition) -> t.Any:
    match condition:
        case And(parts):
            return {"and": [_group(part) for part in parts]}
        case Or(parts):
            return {"or": [_group(part) for part in parts]}
        case Not(part):
            return {"not": _group(part)}
        case Beyond():
            return _group(condition.expanded)
        case Comparison(name, "isnull"):
            return [name, "isnull"]
        case Comparison(name, "in", operand):
            return [name, "in", [text(value) for value in operand]]
        case Comparison(name, operator, operand):
            return [name, operator, text(operand)]
    raise TypeError(f"{condition!r} has no form in a query")


def _parsed(value: str) -> t.Any:
    try:
        return _GROUPS.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{FILTER} is JSON: {error}") from None


def _check_known(said: collections.abc.Iterable[tuple[str, t.Any]], allowed: Allowed, resource: str) -> None:
    fields = (field for name, value in said for field in (_fields(value) if name == FILTER else (name,)))
    if unknown := [field for field in dict.fromkeys(fields) if field not in allowed]:
        raise UnknownColumnError(resource=resource, names=unknown, columns=allowed)


def _fields(group: t.Any, depth: int = 0) -> collections.abc.Iterator[str]:
    """Give the names of the fields that a group is about, as far as it is one."""
    if depth > _DEEPEST:
        return
    match group:
        case {"and": [*parts]} | {"or": [*parts]}:
            for part in parts:
                yield from _fields(part, depth + 1)
        case {"not": part}:
            yield from _fields(part, depth + 1)
        case [str(name), *_]:
            yield name


_Gathered: t.TypeAlias = tuple[str, bool]  # a field, and whether it is to be none of the values


class _Reading:
    """One query that is being read: what may be in it, and how much more."""

    def __init__(self, allowed: Allowed) -> None:
        self.found: list[Condition | _Gathered] = []
        self._allowed = allowed
        self._in: dict[_Gathered, list[t.Any]] = {}
        self._comparisons = _COMPARISONS
        self._values = _VALUES

    def simple(self, name: str, value: str) -> None:
        """Read a field's own parameter: it is found, or a value of what is gathered."""
        negated, operator, operand = _said(name, value)
        if operator != "in":
            compared = self._compared(name, operator, operand)
            self.found.append(~compared if negated else compared)
            return
        if (name, negated) not in self._in:
            self._spend(name, operator)
            self._in[name, negated] = []
            self.found.append((name, negated))
        self._in[name, negated].append(self._value(name, operator, operand))

    def gathered(self, key: _Gathered) -> Condition:
        """Give the condition of values that were gathered."""
        compared = compare(key[0], "in", self._in[key])
        return ~compared if key[1] else compared

    def group(self, said: t.Any, depth: int = 0) -> Condition:
        """Read what ``filter`` holds."""
        if depth > _DEEPEST:
            raise ValueError(f"{FILTER} is nested more than {_DEEPEST} deep")
        match said:
            case {"and": [*parts], **others} if parts and not others:
                return And(tuple(self.group(part, depth + 1) for part in parts))
            case {"or": [*parts], **others} if parts and not others:
                return Or(tuple(self.group(part, depth + 1) for part in parts))
            case {"not": part, **others} if not others:
                return Not(self.group(part, depth + 1))
            case [str(name), "isnull"]:
                return self._compared(name, "isnull", None)
            case [str(name), "in", list(values)]:
                self._spend(name, "in")
                return compare(name, "in", [self._value(name, "in", value) for value in values])
            case [str(name), str(operator), str() | int() | float() as value] if operator not in ("isnull", "in"):
                return self._compared(name, operator, value)
        raise ValueError(
            f'{FILTER} is made of ["field", "operator", "value"], {{"and": […]}}, {{"or": […]}} and {{"not": …}}'
        )

    def _compared(self, name: str, operator: str, operand: t.Any) -> Condition:
        self._spend(name, operator)
        value = None if operator == "isnull" else self._value(name, operator, operand)
        try:
            return compare(name, operator, value)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _spend(self, name: str, operator: str) -> None:
        self._checked(name, operator)
        self._comparisons -= 1
        if self._comparisons < 0:
            raise ValueError(f"the query asks for more than {_COMPARISONS} comparisons")

    def _value(self, name: str, operator: str, operand: t.Any) -> t.Any:
        field = self._checked(name, operator)
        self._values -= 1
        if self._values < 0:
            raise ValueError(f"the query compares with more than {_VALUES} values")
        if isinstance(operand, list | dict) or operand is None:
            raise ValueError(f"{name}: {operator} takes a text, not {str(operand)[:40]}")
        given = operand if isinstance(operand, str) else text(operand)
        try:
            return given if operator in _TEXTUAL else field.read(given)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _checked(self, name: str, operator: str) -> Filterable:
        field = self._allowed[name]
        if operator not in field.operators:
            has = ", ".join(each for each in OPERATORS if each in field.operators)
            raise ValueError(f"{name} is not asked for by {operator[:40]!r}: by {has}")
        return field


def _said(name: str, value: str) -> tuple[bool, str, str | None]:
    """What a field's own parameter says: whether it is negated, by which operator, with which operand."""
    rest = value.removeprefix(_NOT)
    operator, colon, operand = rest.partition(":")
    if operator not in OPERATORS:
        operator, colon, operand = "eq", ":", rest
    if (operator == "isnull") == bool(colon):
        raise ValueError(f"{name}: {operator} takes {'no value' if colon else 'a value, as in ' + operator + ':…'}")
    return value.startswith(_NOT), operator, operand if colon else None
