"""Filters on the wire: conditions on records, as the parameters of a query.

A comparison is the field's own parameter, ``age=gte:18`` or, negated, ``age=not:gte:18``; ``age=18`` is ``age=eq:18``.
All conditions must hold, except that the values of ``in`` are collected: ``age=in:1&age=in:2``. Any other condition is
JSON in the parameter ``filter``. There a comparison is ``["age", "gte", "18"]``, and a group is ``{"or": [...]}``,
``{"and": [...]}`` or ``{"not": ...}``. Values are strings, which are decoded by the type of the field.
"""

import collections.abc
import enum
import typing as t

import msgspec

from flama.exceptions import UnknownColumnError
from flama.query import OPERATORS, And, Comparison, Condition, KeysetCondition, Not, Or, compare
from flama.rest.query_parameters import FILTER, RESERVED
from flama.rest.value_codecs import Decoder, decoder_for, encode_value, pattern

__all__ = [
    "AllowedFilters",
    "EQUALITY",
    "FieldFilter",
    "NULLABLE",
    "decode",
    "encode",
    "field_filter",
    "group_schema",
    "schema",
]

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]


class FieldFilter(t.NamedTuple):
    """The filters of a field: its operators, and the decoder ``decode`` of the values that it is compared with.

    ``pattern`` is a regular expression that matches such values.
    """

    decode: Decoder
    operators: frozenset[str]
    pattern: str


NULLABLE: t.Final = FieldFilter(decoder_for(str), frozenset({"isnull"}), "")
"""The filters of a field that can't be compared with values."""

AllowedFilters: t.TypeAlias = collections.abc.Mapping[str, FieldFilter]
"""The fields that may be filtered by, by name."""

_TEXTUAL: t.Final = frozenset(name for name, operator in OPERATORS.items() if operator.pattern is not None)
EQUALITY: t.Final = frozenset({"eq", "in", "isnull"})
"""The operators of fields whose values can be compared for equality only."""
_NOT: t.Final = "not:"
_GROUPS: t.Final[msgspec.json.Decoder[t.Any]] = msgspec.json.Decoder(float_hook=str)  # numbers with all their digits

# Limits within those of every database: SQLite, for example, parses at most 100 nested expressions.
_MAX_DEPTH: t.Final = 16
_MAX_COMPARISONS: t.Final = 200
_MAX_VALUES: t.Final = 2_000


def field_filter(annotation: t.Any, operators: collections.abc.Collection[str] | None = None) -> FieldFilter:
    """Return the filters of a field of this type, with these operators, or with all operators of the type."""
    supported = _operators(annotation) if isinstance(annotation, type) else OPERATORS.keys() - _TEXTUAL
    return FieldFilter(
        decoder_for(annotation), frozenset(supported if operators is None else operators), pattern(annotation)
    )


def _operators(kind: type) -> collections.abc.Set[str]:
    if issubclass(kind, enum.Enum):  # each database orders them in its own way
        return EQUALITY
    return OPERATORS.keys() if issubclass(kind, str) else OPERATORS.keys() - _TEXTUAL


def schema(field: FieldFilter) -> dict[str, t.Any]:
    """Return the JSON Schema of a field's own parameter."""
    valued = "|".join(_valued_operators(field.operators - _TEXTUAL))
    values = f"(({valued}):)({field.pattern})" if valued else ""
    texts = f"({'|'.join(sorted(field.operators & _TEXTUAL))}):[^\\x00\\\\]*" if field.operators & _TEXTUAL else ""
    null = "isnull" if "isnull" in field.operators else ""
    return {"type": "string", "pattern": f"^(not:)?({'|'.join(filter(None, (values, texts, null)))})$", "maxLength": 99}


def group_schema(allowed: AllowedFilters, itself: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the JSON Schema of the parameter ``filter``; ``itself`` is the reference to this schema."""
    several = {"type": "array", "items": itself, "minItems": 1, "maxItems": 9}
    groups = [_group_member("and", several), _group_member("or", several), _group_member("not", itself)]
    return {"anyOf": [*(each for name, field in allowed.items() for each in _comparison_schemas(name, field)), *groups]}


def _group_member(name: str, schema: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


def _comparison_schemas(name: str, field: FieldFilter) -> collections.abc.Iterator[dict[str, t.Any]]:
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


def _valued_operators(operators: frozenset[str]) -> list[str]:
    return sorted(operators - {"isnull"})


def encode(
    conditions: collections.abc.Iterable[Condition], reserved: collections.abc.Collection[str] = RESERVED
) -> list[tuple[str, str]]:
    """Return the parameters of a query for records that match all of the conditions.

    Fields whose names are ``reserved`` for other parameters are compared in groups.

    :raises TypeError: a value has no form in a query, or an item isn't a condition.
    """
    pairs: list[tuple[str, str]] = []
    collected: set[tuple[str, bool]] = set()
    for condition in _conjuncts(conditions):
        negated, compared = _match_comparison(condition)
        if compared is None or compared.field in reserved or not _fits_own_parameter(compared, negated, collected):
            pairs.append((FILTER, msgspec.json.encode(_encode_group(condition)).decode()))
        else:
            prefix = _NOT if negated else ""
            pairs += ((compared.field, prefix + value) for value in _encode_values(compared))
    return pairs


def decode(
    pairs: _Pairs, allowed: AllowedFilters, *, resource: str, reserved: collections.abc.Collection[str] = RESERVED
) -> tuple[Condition, ...]:
    """Return the conditions of a query, the inverse of :func:`encode`; conjunctions are split into their parts.

    Parameters of ``reserved`` names are ignored, except ``filter``.

    :raises ValueError: a parameter is malformed, or its operator isn't allowed; the message names the parameter.
    :raises UnknownColumnError: fields aren't allowed; it names all of them, and takes precedence over other errors.
    """
    parameters = [
        (name, _decode_group(value) if name == FILTER else value)
        for name, value in pairs
        if name == FILTER or name not in reserved
    ]
    _check_known(parameters, allowed, resource)
    parser = _Parser(allowed)
    for name, value in parameters:
        if name == FILTER:
            parser.found.append(parser.parse_group(value))
        else:
            parser.parse_parameter(name, value)
    return tuple(each if isinstance(each, Condition) else parser.build_in(each) for each in parser.found)


def _conjuncts(conditions: collections.abc.Iterable[t.Any]) -> collections.abc.Iterator[Condition]:
    for condition in conditions:
        match condition:
            case And(parts):
                yield from _conjuncts(parts)
            case KeysetCondition():
                yield from _conjuncts([condition.as_comparisons])
            case Condition():
                yield condition
            case _:
                raise TypeError(f"over HTTP, what records are asked for is a condition of F, not {condition!r}")


def _match_comparison(condition: Condition) -> tuple[bool, Comparison | None]:
    match condition:
        case Comparison():
            return False, condition
        case Not(Comparison() as compared):
            return True, compared
    return False, None


def _fits_own_parameter(compared: Comparison, negated: bool, collected: set[tuple[str, bool]]) -> bool:
    """Whether a comparison fits its field's own parameter: ``in`` needs values, and can't occur twice."""
    if compared.operator != "in":
        return True
    fits = bool(compared.operand) and (compared.field, negated) not in collected
    collected.add((compared.field, negated))
    return fits


def _encode_values(compared: Comparison) -> list[str]:
    match compared.operator:
        case "isnull":
            return ["isnull"]
        case "in":
            return [f"in:{encode_value(value)}" for value in compared.operand]
    return [f"{compared.operator}:{encode_value(compared.operand)}"]


def _encode_group(condition: Condition) -> t.Any:
    match condition:
        case And(parts):
            return {"and": [_encode_group(part) for part in parts]}
        case Or(parts):
            return {"or": [_encode_group(part) for part in parts]}
        case Not(part):
            return {"not": _encode_group(part)}
        case KeysetCondition():
            return _encode_group(condition.as_comparisons)
        case Comparison(name, "isnull"):
            return [name, "isnull"]
        case Comparison(name, "in", operand):
            return [name, "in", [encode_value(value) for value in operand]]
        case Comparison(name, operator, operand):
            return [name, operator, encode_value(operand)]
    raise TypeError(f"{condition!r} has no form in a query")


def _decode_group(value: str) -> t.Any:
    try:
        return _GROUPS.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{FILTER} is JSON: {error}") from None


def _check_known(
    parameters: collections.abc.Iterable[tuple[str, t.Any]], allowed: AllowedFilters, resource: str
) -> None:
    fields = (field for name, value in parameters for field in (_fields(value) if name == FILTER else (name,)))
    if unknown := [field for field in dict.fromkeys(fields) if field not in allowed]:
        raise UnknownColumnError(resource=resource, names=unknown, columns=allowed)


def _fields(group: t.Any, depth: int = 0) -> collections.abc.Iterator[str]:
    """Yield the names of the fields in a group; malformed parts are skipped."""
    if depth > _MAX_DEPTH:
        return
    match group:
        case {"and": [*parts]} | {"or": [*parts]}:
            for part in parts:
                yield from _fields(part, depth + 1)
        case {"not": part}:
            yield from _fields(part, depth + 1)
        case [str(name), *_]:
            yield name


_InKey: t.TypeAlias = tuple[str, bool]  # a field compared by ``in``, and whether that is negated


class _Parser:
    """A parser of one query, with the number of comparisons and values that are left to it."""

    def __init__(self, allowed: AllowedFilters) -> None:
        self.found: list[Condition | _InKey] = []
        self._allowed = allowed
        self._in_values: dict[_InKey, list[t.Any]] = {}
        self._comparisons = _MAX_COMPARISONS
        self._values = _MAX_VALUES

    def parse_parameter(self, name: str, value: str) -> None:
        """Parse a field's own parameter, a whole condition or one more value of ``in``."""
        negated, operator, operand = _split_parameter(name, value)
        if operator != "in":
            compared = self._parse_comparison(name, operator, operand)
            self.found.append(~compared if negated else compared)
            return
        if (name, negated) not in self._in_values:
            self._count_comparison(name, operator)
            self._in_values[name, negated] = []
            self.found.append((name, negated))
        self._in_values[name, negated].append(self._parse_value(name, operator, operand))

    def build_in(self, key: _InKey) -> Condition:
        """Return the condition of the collected values of ``in``."""
        compared = compare(key[0], "in", self._in_values[key])
        return ~compared if key[1] else compared

    def parse_group(self, group: t.Any, depth: int = 0) -> Condition:
        """Parse the content of ``filter``."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"{FILTER} is nested more than {_MAX_DEPTH} deep")
        match group:
            case {"and": [*parts], **others} if parts and not others:
                return And(tuple(self.parse_group(part, depth + 1) for part in parts))
            case {"or": [*parts], **others} if parts and not others:
                return Or(tuple(self.parse_group(part, depth + 1) for part in parts))
            case {"not": part, **others} if not others:
                return Not(self.parse_group(part, depth + 1))
            case [str(name), "isnull"]:
                return self._parse_comparison(name, "isnull", None)
            case [str(name), "in", list(values)]:
                self._count_comparison(name, "in")
                return compare(name, "in", [self._parse_value(name, "in", value) for value in values])
            case [str(name), str(operator), str() | int() | float() as value] if operator not in ("isnull", "in"):
                return self._parse_comparison(name, operator, value)
        raise ValueError(
            f'{FILTER} is made of ["field", "operator", "value"], {{"and": […]}}, {{"or": […]}} and {{"not": …}}'
        )

    def _parse_comparison(self, name: str, operator: str, operand: t.Any) -> Condition:
        self._count_comparison(name, operator)
        value = None if operator == "isnull" else self._parse_value(name, operator, operand)
        try:
            return compare(name, operator, value)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _count_comparison(self, name: str, operator: str) -> None:
        self._check_operator(name, operator)
        self._comparisons -= 1
        if self._comparisons < 0:
            raise ValueError(f"the query asks for more than {_MAX_COMPARISONS} comparisons")

    def _parse_value(self, name: str, operator: str, operand: t.Any) -> t.Any:
        field = self._check_operator(name, operator)
        self._values -= 1
        if self._values < 0:
            raise ValueError(f"the query compares with more than {_MAX_VALUES} values")
        if isinstance(operand, list | dict) or operand is None:
            raise ValueError(f"{name}: {operator} takes a text, not {str(operand)[:40]}")
        value = operand if isinstance(operand, str) else encode_value(operand)
        try:
            return value if operator in _TEXTUAL else field.decode(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _check_operator(self, name: str, operator: str) -> FieldFilter:
        field = self._allowed[name]
        if operator not in field.operators:
            has = ", ".join(each for each in OPERATORS if each in field.operators)
            raise ValueError(f"{name} is not asked for by {operator[:40]!r}: by {has}")
        return field


def _split_parameter(name: str, value: str) -> tuple[bool, str, str | None]:
    """Parse a field's own parameter: whether it is negated, its operator, and its operand."""
    rest = value.removeprefix(_NOT)
    operator, colon, operand = rest.partition(":")
    if operator not in OPERATORS:
        operator, colon, operand = "eq", ":", rest
    if (operator == "isnull") == bool(colon):
        raise ValueError(f"{name}: {operator} takes {'no value' if colon else 'a value, as in ' + operator + ':…'}")
    return value.startswith(_NOT), operator, operand if colon else None
