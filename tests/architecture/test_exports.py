"""What a module promises by its ``__all__``."""

import ast
import importlib
import inspect

import pytest

from tests.support import source

MODULES = source.modules()
NAMES = [module.name for module in MODULES]


def promised(module):
    for node in module.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
                return ast.literal_eval(node.value)
    return None


def faults(module):
    names = promised(module)
    if names is None:
        return ["no __all__"]
    hidden = sorted(module.public - set(names))
    return ["__all__ is not sorted"] * (names != sorted(names)) + [f"{name} is not in __all__" for name in hidden]


def undocumented(module):
    exported = ((name, getattr(module, name)) for name in module.__all__)
    own = [(name, value) for name, value in exported if str(getattr(value, "__module__", "")).startswith("flama")]
    return [label for name, value in own for label in _undocumented(name, value)]


def _undocumented(name, value):
    missing = [name] if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__ else []
    if inspect.isclass(value):
        missing += [f"{name}.{member}" for member in vars(value) if _is_bare(value, member)]
    return missing


def _is_bare(owner, member):
    value = inspect.getattr_static(owner, member)
    documentable = inspect.isroutine(value) or isinstance(value, property | staticmethod | classmethod)
    has_own_words = member.startswith(("_", "test_"))  # the name of a test is its sentence
    return documentable and not has_own_words and not inspect.getdoc(getattr(owner, member))


def headline_faults(module):
    headline = module.docstring.partition("\n")[0]
    if not headline:
        return ["no docstring"]
    return ["no full stop"] * (headline[-1] != ".")


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_all_is_sorted_with_every_public_name_in_it(module):
    assert faults(module) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_all_is_there_once(name):
    module = importlib.import_module(name)

    assert len(set(module.__all__)) == len(module.__all__)
    assert [export for export in module.__all__ if not hasattr(module, export)] == []


@pytest.mark.parametrize("name", NAMES)
def test_everything_exported_is_documented(name):
    assert undocumented(importlib.import_module(name)) == []


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_a_module_says_in_one_line_what_it_is_for(module):
    assert headline_faults(module) == []


@pytest.mark.parametrize("module", [module for module in MODULES if module.is_facade], ids=lambda module: module.name)
def test_a_lazy_facade_lists_its_names_when_asked(module):
    facade = importlib.import_module(module.name)

    assert set(facade.__all__) <= set(dir(facade))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = facade.nonsense


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = 1", "no __all__"),
        ("__all__ = ['b', 'a']\na = b = 1", "__all__ is not sorted"),
        ("__all__ = []\ndef f(): ...", "f is not in __all__"),
        ("__all__ = []\nclass C: ...", "C is not in __all__"),
        ("__all__ = []\na, (b, _c) = 1, (2, 3)", "b is not in __all__"),
        ("__all__ = []\nx: int = 1", "x is not in __all__"),
    ],
)
def test_the_rule_on_all_notices(text, fault):
    assert fault in faults(source.Module("flama.bad", text))


def test_the_rule_on_documentation_notices():
    module = type(inspect)("flama.bad")
    text = "class C:\n  'Doc.'\n  def bare(self): ...\n  @property\n  def naked(self): ...\ndef f(): ..."
    exec(compile(text, "bad", "exec"), vars(module))
    module.__all__ = ["C", "f"]

    assert undocumented(module) == ["C.bare", "C.naked", "f"]


@pytest.mark.parametrize("text", ["", '"""Bread"""'])
def test_the_rule_on_headlines_notices(text):
    assert headline_faults(source.Module("flama.bad", text))
