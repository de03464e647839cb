"""What the package's source says, read without running it."""

import ast
import collections.abc
import dataclasses
import functools
import pathlib

__all__ = ["ROOT", "Module", "cycle", "modules"]

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Module:
    """One module's source under its dotted name."""

    name: str
    source: str
    is_package: bool = False

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.source)

    @property
    def docstring(self) -> str:
        """Its docstring; empty when it has none."""
        return ast.get_docstring(self.tree) or ""

    @property
    def is_facade(self) -> bool:
        """Whether it is a package that gives its names lazily."""
        return self.is_package and any("__getattr__" in _defined(node) for node in self.tree.body)

    @property
    def public(self) -> set[str]:
        """The public names that it defines itself; its type variables are nobody's business."""
        names = {name for node in self.tree.body if not _is_type_variable(node) for name in _defined(node)}
        return {name for name in names if not name.startswith("_")}

    def imports(self, names: collections.abc.Collection[str]) -> set[str]:
        """Give those of the modules ``names`` that it imports, wherever in its source."""
        found = {name for node in ast.walk(self.tree) for name in self._imported(node, names)}
        return found - {self.name}

    def _imported(self, node: ast.AST, names: collections.abc.Collection[str]) -> list[str]:
        match node:
            case ast.Import():
                imported = [alias.name for alias in node.names]
            case ast.ImportFrom():
                base = self._base(node)
                members = (f"{base}.{alias.name}" for alias in node.names)
                imported = [member if member in names else base for member in members]
            case _:
                imported = []
        return [name for name in imported if name in names]

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parents = self.name.split(".")
        package = parents[: len(parents) - node.level + self.is_package]
        return ".".join([*package, node.module] if node.module else package)


def modules(root: pathlib.Path = ROOT) -> list[Module]:
    """Give every module of the package that lies in ``root``."""
    return [_read(path, root) for path in sorted((root / "flama").rglob("*.py"))]


def cycle(edges: collections.abc.Mapping[str, collections.abc.Collection[str]]) -> list[str]:
    """Give the names along one cycle; an empty list when there is none."""
    done: set[str] = set()
    for start in edges:
        if found := _cycle_from(start, edges, [], done):
            return found
    return []


def _cycle_from(
    name: str,
    edges: collections.abc.Mapping[str, collections.abc.Collection[str]],
    path: list[str],
    done: set[str],
) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name not in done:
        for following in sorted(edges.get(name, ())):
            if found := _cycle_from(following, edges, [*path, name], done):
                return found
        done.add(name)
    return []


def _read(path: pathlib.Path, root: pathlib.Path) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if is_package else parts), path.read_text(), is_package)


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        case _:
            return []


def _is_type_variable(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name in {"ParamSpec", "TypeVar", "TypeVarTuple"}
        case _:
            return False
