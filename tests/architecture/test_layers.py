"""Who may import whom."""

import ast

import pytest

from tests.support import source

# A room imports from rooms of lower layers. Rooms of one layer do not know one another.
LAYERS = (
    {"_annotations"},
    {
        "_distribution",
        "_generated",
        "_lazy",
        "_moments",
        "_numbers",
        "_private",
        "_semaphore",
        "_timeouts",
        "exceptions",
        "types",
    },
    {"_request_context", "_shielding", "concurrency", "modules", "query", "retry", "schemas"},
    {"background", "http", "injection", "policies"},
    {"client", "memory", "rest", "sqlalchemy"},
    {"pagination"},
    {"ddd", "middleware", "routing"},
    {"openapi", "resources"},
    {"applications", "testing"},
    {""},  # the façade
)

# The same within a room that is divided.
DIVIDED = {
    "flama.sqlalchemy": (
        {"_constraints", "_dialects", "_events", "_stale", "metadata"},
        {"errors", "pool", "sql"},
        {"drivers", "sqlite"},
        {"_transaction_options", "replicas"},
        {"module"},
        {""},
    ),
    "flama.ddd.repositories": (
        {"_deferred", "_typed"},
        {"base"},
        {"_table"},
        {"http", "sqlalchemy"},
        {"memory"},
        {""},
    ),
}


def room(name, parent="flama"):
    return name.removeprefix(parent).lstrip(".").partition(".")[0]


def levels(layers):
    return {room: number for number, rooms in enumerate(layers) for room in rooms}


def violations(modules, parent="flama", layers=LAYERS):
    names, level = {module.name for module in modules}, levels(layers)
    inside = [module for module in modules if f"{module.name}.".startswith(f"{parent}.")]
    return sorted(
        f"{module.name} imports {imported}"
        for module in inside
        for imported in module.imports(names)
        if f"{imported}.".startswith(f"{parent}.")
        and room(imported, parent) != room(module.name, parent)
        and level[room(imported, parent)] >= level[room(module.name, parent)]
    )


def circle(modules):
    names = {module.name for module in modules}
    return source.cycle({module.name: module.imports(names) for module in modules})


def type_checking(modules):
    return [
        module.name
        for module in modules
        if not module.is_facade
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        and "TYPE_CHECKING" in (getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "name", ""))
    ]


@pytest.mark.parametrize(("parent", "layers"), [("flama", LAYERS), *DIVIDED.items()])
def test_the_plan_has_every_room_that_is_there_and_no_other(parent, layers):
    inside = [module.name for module in source.modules() if f"{module.name}.".startswith(f"{parent}.")]

    assert {room(name, parent) for name in inside} == levels(layers).keys()


@pytest.mark.parametrize(("parent", "layers"), [("flama", LAYERS), *DIVIDED.items()])
def test_a_room_imports_only_from_lower_layers(parent, layers):
    assert violations(source.modules(), parent, layers) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(source.modules()) == []


def test_nothing_is_imported_for_types_alone_but_by_lazy_facades():
    assert type_checking(source.modules()) == []


UPWARDS = {
    "an import of a higher layer": "import flama.ddd.components",
    "an import from a higher layer": "from flama.ddd.components import WorkerComponent",
    "a module imported from a package": "from flama import applications",
    "the façade": "import flama",
    "a neighbour": "from flama.client import Client",
    "a relative import": "from ..ddd import components",
    "an import inside a function": "def late():\n    import flama.applications",
}


@pytest.mark.parametrize("text", UPWARDS.values(), ids=UPWARDS)
def test_the_layer_rule_notices(text):
    rooms = [
        source.Module("flama", "", is_package=True),
        source.Module("flama.applications", ""),
        source.Module("flama.client", ""),
        source.Module("flama.ddd", "", is_package=True),
        source.Module("flama.ddd.components", ""),
        source.Module("flama.rest", "", is_package=True),
        source.Module("flama.rest.errors", text),
    ]

    found = violations(rooms)

    assert [line.partition(" ")[0] for line in found] == ["flama.rest.errors"]


def test_the_layer_rule_lets_pass_what_is_lower_or_in_the_same_room():
    rooms = [
        source.Module("flama.exceptions", ""),
        source.Module("flama.rest", "", is_package=True),
        source.Module("flama.rest.operations", ""),
        source.Module("flama.rest.errors", "from flama import exceptions\nfrom . import operations"),
    ]

    assert violations(rooms) == []


def test_the_circle_rule_notices_three_modules_in_a_circle():
    rooms = [
        source.Module("flama.rest.a", "from flama.rest import b"),
        source.Module("flama.rest.b", "import flama.rest.c"),
        source.Module("flama.rest.c", "from flama.rest.a import name"),
    ]

    assert circle(rooms) == ["flama.rest.a", "flama.rest.b", "flama.rest.c", "flama.rest.a"]


@pytest.mark.parametrize("text", ["from typing import TYPE_CHECKING", "import typing as t\nif t.TYPE_CHECKING: ..."])
def test_the_rule_on_imports_for_types_notices(text):
    assert "flama.client" in type_checking([source.Module("flama.client", text)])


def test_the_rule_on_imports_for_types_spares_lazy_facades_alone():
    imports = "import typing as t\nif t.TYPE_CHECKING: ..."
    lazy = source.Module("flama", f"{imports}\ndef __getattr__(name): ...", is_package=True)
    eager = source.Module("flama.ddd", imports, is_package=True)

    assert type_checking([lazy, eager]) == ["flama.ddd"]
