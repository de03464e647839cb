"""The compilation of generated source: code is made by the program from signatures and columns, not from requests."""

import collections.abc
import linecache
import textwrap
import typing as t

__all__ = ["Factory", "compile_factory"]

Factory: t.TypeAlias = collections.abc.Callable[..., t.Any]
"""A function that binds the names of a source, and returns its function."""


def compile_factory(
    source: str, names: collections.abc.Iterable[str], file: str = "<generated>", *, is_lasting: bool = False
) -> Factory:
    """Return a factory of the function ``run`` that a source defines; it takes the values of the names in the source.

    Tracebacks show the lines of one that ``is_lasting``: they are stored under the name of its file.
    """
    code = f"def bind({', '.join(names)}):\n{textwrap.indent(source, '    ')}\n    return run\n"
    if is_lasting:
        linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file
    namespace: dict[str, t.Any] = {}
    exec(compile(code, file, "exec"), namespace)  # noqa: S102
    return t.cast("Factory", namespace["bind"])
