"""Drawings as SVG: a graph in layers, and a sequence of calls."""

import collections
import collections.abc
import html
import math
import typing as t

__all__ = ["Edge", "draw_calls", "draw_layers", "reduce"]

Edge: t.TypeAlias = tuple[str, str]
Node: t.TypeAlias = tuple[str, int]  # a name in a row; in a row above its own, a bend of the lines to it

_HEAD: t.Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="monospace" font-size="12">\n'
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#456"/></marker>\n<rect width="100%" height="100%" fill="#fff"/>'
)
_CHARACTER, _GAP, _BOX, _ROW, _MARGIN = 7.3, 22, 26, 74, 20
_STEP, _HEADER = 24, 40


def reduce(edges: collections.abc.Collection[Edge]) -> set[Edge]:
    """Return the edges of an acyclic graph that no longer path implies."""
    following: dict[str, set[str]] = collections.defaultdict(set)
    for start, end in edges:
        following[start].add(end)

    def reach(start: str) -> set[str]:
        return following[start].union(*map(reach, following[start]))

    return {(a, b) for a, b in edges if not any(b in reach(other) for other in following[a] - {b})}


class _Layout:
    """The places of a graph's nodes: each row in an order with few crossings, each node near its neighbours."""

    def __init__(self, layers: collections.abc.Sequence[collections.abc.Collection[str]], edges: set[Edge]) -> None:
        self.level = {name: row for row, names in enumerate(layers) for name in names}
        self.lines = sorted({line for edge in edges for line in self._bend(edge)})
        self.near: dict[Node, list[Node]] = collections.defaultdict(list)
        for start, end in self.lines:
            self.near[start].append(end)
            self.near[end].append(start)
        nodes = sorted({*self.near, *((name, row) for name, row in self.level.items())})
        self.rows = [[node for node in nodes if node[1] == row] for row in range(len(layers))]
        self.x = {node: 100.0 * place for row in self.rows for place, node in enumerate(row)}
        for sweep in range(64):
            for row in self.rows[:: 1 if sweep % 2 else -1]:
                if sweep < 32:
                    row.sort(key=lambda node: (round(self._wanted(node), 3), node))
                self._settle(row)
        self.left = min(self.x[node] - self.width(node) / 2 for node in self.x) - _MARGIN
        self.right = max(self.x[node] + self.width(node) / 2 for node in self.x) + _MARGIN

    def is_bend(self, node: Node) -> bool:
        """Whether it is no box."""
        return self.level[node[0]] != node[1]

    def width(self, node: Node) -> float:
        """Its width."""
        return 4 if self.is_bend(node) else _CHARACTER * len(node[0]) + 20

    def place(self, node: Node) -> tuple[int, int]:
        """Its middle from the left, and its top."""
        return round(self.x[node] - self.left), (len(self.rows) - 1 - node[1]) * _ROW + _MARGIN

    def _bend(self, edge: Edge) -> t.Iterator[tuple[Node, Node]]:
        start, end = edge
        above = (start, self.level[start])
        for row in range(self.level[start] - 1, self.level[end] - 1, -1):
            yield above, (end, row)
            above = (end, row)

    def _wanted(self, node: Node) -> float:
        near = self.near[node]
        return math.fsum(self.x[other] for other in near) / len(near) if near else self.x[node]

    def _settle(self, row: list[Node]) -> None:
        # As near as the order and the gaps allow: nodes that would overlap move together (pool adjacent violators).
        offset, blocks = 0.0, list[tuple[float, list[tuple[Node, float]]]]()
        for node in row:
            offset += self.width(node) / 2
            place, members = self._wanted(node) - offset, [(node, offset)]
            while blocks and blocks[-1][0] >= place:
                earlier, others = blocks.pop()
                place = (place * len(members) + earlier * len(others)) / (len(members) + len(others))
                members = others + members
            blocks.append((place, members))
            offset += self.width(node) / 2 + _GAP
        self.x.update({node: place + offset for place, members in blocks for node, offset in members})


def draw_layers(layers: collections.abc.Sequence[collections.abc.Collection[str]], edges: set[Edge]) -> str:
    """Draw the names of each layer in a row, the first at the bottom, with an arrow for each edge."""
    layout = _Layout(layers, edges)
    drawn = [_HEAD.format(round(layout.right - layout.left), (len(layers) - 1) * _ROW + _BOX + 2 * _MARGIN)]
    for start, end in layout.lines:
        (x, y), (to_x, to_y) = layout.place(start), layout.place(end)
        half, arrow = y + (_BOX + _ROW) // 2, "" if layout.is_bend(end) else ' marker-end="url(#head)"'
        path = f"M{x} {y}V{y + _BOX}C{x} {half} {to_x} {half} {to_x} {to_y}"
        drawn.append(f'<path d="{path}" fill="none" stroke="#89a"{arrow}/>')
    for node in (node for row in layout.rows for node in row if not layout.is_bend(node)):
        (x, y), width = layout.place(node), round(layout.width(node))
        box = f'<rect x="{x - width // 2}" y="{y}" width="{width}" height="{_BOX}" rx="4" fill="#eef" stroke="#456"/>'
        drawn.append(f'{box}<text x="{x}" y="{y + 17}" text-anchor="middle">{node[0]}</text>')
    return "\n".join([*drawn, "</svg>\n"])


def draw_calls(rows: collections.abc.Sequence[tuple[str, str, list[str]]], last: str) -> str:
    """Draw a column for each caller and callee, the ``last`` at the right, and an arrow for each row, downwards."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row[:2]) if name != last] + [last]
    x, right = dict[str, int](), _MARGIN
    for name in names:
        width = max(90, round(_CHARACTER * max(map(len, name.rsplit(".", 1)))) + 16)
        x[name], right = right + width // 2, right + width
    bottom = _HEADER + _STEP * (len(rows) + 1)
    drawn = [_HEAD.format(right + _MARGIN, bottom + _MARGIN)]
    for name in names:
        lines = "".join(f'<tspan x="{x[name]}" dy="14">{html.escape(line)}</tspan>' for line in name.rsplit(".", 1))
        drawn.append(f'<text y="2" text-anchor="middle" font-weight="bold">{lines}</text>')
        drawn.append(f'<path d="M{x[name]} {_HEADER}V{bottom}" stroke="#ccd"/>')
    for number, (caller, callee, functions) in enumerate(rows, 1):
        y, label = _HEADER + _STEP * number, ", ".join(functions)
        drawn.append(f'<path d="M{x[caller]} {y}H{x[callee]}" stroke="#456" marker-end="url(#head)"/>')
        left = min(min(x[caller], x[callee]) + 5, round(right - 7 * len(label)))
        drawn.append(f'<text x="{left}" y="{y - 5}" font-size="10.5">{html.escape(label)}</text>')
    return "\n".join([*drawn, "</svg>\n"])
