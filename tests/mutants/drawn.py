"""Faults drawn from all of theory/: one operator, constant or name of the syntax tree changed.

Docstrings, annotations, messages of errors and strings have no faults of this kind. A fault's place
in the draw is a hash of its name, so that an edit elsewhere leaves the draw as it is.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.excluded import PERFORMANCE
from tests.mutants.mutation import Edit, Mutant

SEED = 260630705  # the paper's number
COUNT = 60

COMPARISONS = {
    ast.Lt: (b"<", b">"),
    ast.Gt: (b">", b"<"),
    ast.LtE: (b"<=", b">="),
    ast.GtE: (b">=", b"<="),
    ast.Eq: (b"==", b"!="),
    ast.NotEq: (b"!=", b"=="),
    ast.Is: (b"is", b"is not"),
    ast.IsNot: (b"is not", b"is"),
    ast.In: (b"in", b"not in"),
    ast.NotIn: (b"not in", b"in"),
}
ARITHMETIC = {
    ast.Add: (b"+", b"-"),
    ast.Sub: (b"-", b"+"),
    ast.Mult: (b"*", b"/"),
    ast.Div: (b"/", b"*"),
    ast.FloorDiv: (b"//", b"*"),
    ast.Mod: (b"%", b"*"),
    ast.BitAnd: (b"&", b"|"),
    ast.BitOr: (b"|", b"&"),
}
NAMES = {
    "min": "max",
    "minimum": "maximum",
    "argmin": "argmax",
    "any": "all",
    "cos": "sin",
    "lower": "upper",
    "log": "log1p",
    "ceil": "floor",
}
NAMES |= {new: old for old, new in NAMES.items()}
BOOLEANS = {ast.And: (b"and", b"or"), ast.Or: (b"or", b"and")}


def draw(root: Path, count: int = COUNT, seed: int = SEED) -> list[Mutant]:
    """The `count` faults of theory/ whose names hash lowest with the seed."""
    found = [
        mutant
        for path in sorted((root / "theory").rglob("*.py"))
        for mutant in mutants_of(path.relative_to(root).as_posix(), path.read_bytes())
    ]
    found.sort(key=lambda one: hashlib.sha256(f"{seed} {one.name}".encode()).digest())
    return found[:count]


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """All faults of a file; of those that read the same the second is called #2."""
    seen = Counter[str]()
    for edit in edits(source, PERFORMANCE.get(file, {})):
        name = f"{file}: {edit.said(source)}"
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name} #{seen[name]}"
        yield Mutant(name, file, edit.apply(source).decode(), edit.said(source))


def edits(source: bytes, untouched: object = ()) -> Iterator[Edit]:
    """All faults of a source, in order of place; assignments to `untouched` names have none."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(node: ast.AST) -> tuple[int, int]:
        first = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        last = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return first, last

    def between(left: ast.AST, right: ast.AST, words: tuple[bytes, bytes]) -> Iterator[Edit]:
        """The operator that stands between two operands, whatever else does."""
        start, end = place(left)[1], place(right)[0]
        if (at := source.find(words[0], start, end)) >= 0:
            yield Edit(at, at + len(words[0]), words[1])

    found: list[Edit] = []
    for node in _reached(ast.parse(source), set(untouched)):  # type: ignore[call-overload]
        found += _of_operators(node, between)
        found += _of_leaves(node, source, place)
    return iter(sorted(set(found)))


def _reached(node: ast.AST, untouched: set[str]) -> Iterator[ast.AST]:
    """The node and what is below it, apart from annotations, raised errors and formatted text."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} & untouched:
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _reached(child, untouched)


def _of_operators(node: ast.AST, between) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for k, operator in enumerate(node.ops):
            yield from between(operands[k], operands[k + 1], COMPARISONS[type(operator)])
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield from between(node.left, node.right, ARITHMETIC[type(node.op)])
    elif isinstance(node, ast.BoolOp):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from between(left, right, BOOLEANS[type(node.op)])
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield from between(node.target, node.value, ARITHMETIC[type(node.op)])


def _of_leaves(node: ast.AST, source: bytes, place) -> Iterator[Edit]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield from (Edit(*place(node), new) for new in _near(node.value))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield Edit(place(node)[0], place(node.operand)[0], b"")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        if not isinstance(node.right, ast.Constant):
            start, end = place(node.right)
            yield Edit(start, end, b"(1 + " + source[start:end] + b")")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
        yield Edit(*place(node.func), NAMES[node.func.id].encode())
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        end = place(node)[1]
        yield Edit(end - len(node.attr), end, NAMES[node.attr].encode())


def _near(value: bool | int | float) -> list[bytes]:
    """Other constants: a truth value turned, a whole number ± 1, any other number a tenth more."""
    if isinstance(value, bool):
        return [str(not value).encode()]
    if isinstance(value, int):
        return [str(value + 1).encode(), f"({value - 1})".encode()]
    return [repr(1.1 * value if value else 1.0).encode()]
