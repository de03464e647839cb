"""What is used of other libraries beneath their documented interfaces."""

import ast
import importlib

import pytest

from tests.support import source

PACKAGE = "flama._private"
LIBRARIES = [module.name for module in source.modules() if module.name.startswith(f"{PACKAGE}.")]
PRIVATE = [
    pytest.param(library, private, id=f"{library.rpartition('.')[2]}-{use}-{number}-{private.name}")
    for library in LIBRARIES
    for use, names in importlib.import_module(library).NAMES.items()
    for number, private in enumerate(names)
]
NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # documented

# Rooms that still reach into SQLAlchemy by themselves.


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES


def own_names(modules):
    """Return the private names that the package itself gives to attributes, methods and parts of modules."""
    names = set()
    for module in modules:
        for node in ast.walk(module.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    names.add(name)
    return names


def of_libraries():
    tables = (importlib.import_module(library).NAMES.values() for library in LIBRARIES)
    return {private.name for names in tables for group in names for private in group}


def reads(module):
    """Return the private names that a module reads, or sets, of anything but its own objects."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super"))):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_]) if (
                is_private(name)
            ):
                yield name


def intrusions(modules, own, libraries):
    """Return the reads of private names that are other libraries', or those of no one here."""
    return [
        f"{module.name}: {name}"
        for module in modules
        if not f"{module.name}.".startswith(f"{PACKAGE}.")
        for name in reads(module)
        if name not in own
    ]


@pytest.mark.parametrize(("library", "private"), PRIVATE)
def test_the_installed_version_has_every_private_name_that_is_used(library, private):
    owner = getattr(private.owner, "__qualname__", private.owner)
    advice = (
        f"{owner} has no {private.name} any more: what it was used for is done in the documented way, which is slower. "
        f"Without it: {private.instead} Find what took its place, and change the uses in {library}; "
        "or drop the name there, with what needs it."
    )

    assert importlib.import_module(PACKAGE).exist([private]), advice


def test_no_other_module_uses_private_names_of_libraries():
    modules = source.modules()

    assert intrusions(modules, own_names(modules), of_libraries()) == []


@pytest.mark.parametrize("text", ["x._transport", "x._transport = 1", "getattr(x, '_transport', None)", "f(x)._get()"])
def test_the_rule_notices(text):
    module = source.Module("flama.client", text)

    assert intrusions([module], own_names([module]), {"_transport"}) != []


@pytest.mark.parametrize("text", ["self._transport", "super()._transport()", "x.__class__", "row._replace(a=1)"])
def test_the_rule_spares(text):
    module = source.Module("flama.client", text)

    assert intrusions([module], own_names([module]), set()) == []
