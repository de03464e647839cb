"""Expressions that say less plainly what a statement says."""

import ast

import pytest

from tests.support import source


def is_boolean(node):
    match node:
        case (
            ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Call(func=ast.Name(id="bool")) | ast.Constant(value=bool())
        ):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.startswith(("is_", "has_", "can_"))
        case _:
            return False


def is_clever(node):
    match node:
        case ast.Expr(value=ast.IfExp() | ast.BoolOp() | ast.ListComp()):  # instead of a statement
            return True
        case ast.Dict(keys=keys):
            return any(isinstance(key, ast.Constant) and isinstance(key.value, bool) for key in keys)
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper)):
            return is_boolean(lower) or is_boolean(upper)
        case ast.Subscript(slice=index):
            return is_boolean(index)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            return is_boolean(left) or is_boolean(right)
        case ast.For(iter=ast.Tuple(elts=[_]) | ast.List(elts=[_])):
            return True
        case _:
            return False


def clever(module):
    return [f"{module.name}:{node.lineno}" for node in ast.walk(module.tree) if is_clever(node)]


def test_no_expression_uses_a_boolean_as_a_number_or_stands_for_a_statement():
    found = [place for module in source.modules() for place in clever(module)]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "a() if x else b()",
        "x and a()",
        "{True: 1, False: 2}[x]",
        "rows[: not x]",
        "(a, b)[x > 1]",
        "rows[is_first:]",
        "size * (style == 'page')",
        "for each in (x,): print(each)",
    ],
)
def test_the_rule_notices(text):
    assert clever(source.Module("flama.client", text)) == ["flama.client:1"]
