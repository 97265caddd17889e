"""Which first-party files an experiment's numbers come from, and one digest of them all.

Static: the imports are read off the syntax tree (also those inside functions), nothing is run.
An import by a computed name is invisible here.
"""

import ast
import functools
import hashlib
import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path

# They move rows about and judge or draw them; the numbers are made elsewhere.
HARNESS = tuple(
    f"experiments.{name}"
    for name in (
        *("cli", "commands", "claims", "report"),
        *("registry", "planning", "sweep", "tasks", "ledger", "agenda", "store", "sources"),
    )
)


def files(module: str) -> dict[str, Path]:
    """Every first-party module that `module` imports, however indirectly, with its file."""
    roots = {"theory", "experiments", module.partition(".")[0]}
    found: dict[str, Path] = {}
    waiting = [module, "experiments.runtime"]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in roots or _is_harness(name):
            continue
        path = _locate(name)
        if path is None:
            continue
        found[name] = path
        waiting += _ancestors(name)
        waiting += _imports(path, name)
    return found


def digest(module: str) -> str:
    """One SHA-256 over the names and contents of `files(module)`."""
    return digest_of(files(module))


def digest_of(named: Mapping[str, Path]) -> str:
    """One SHA-256 over names and contents of files."""
    total = hashlib.sha256()
    for name, path in sorted(named.items()):
        total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


# CPython 3.11 counts the depth of syntax trees once for all threads: two that parse at the same
# time can end in "AST constructor recursion depth mismatch".
_parsing = threading.Lock()


def imported_digest(module: str) -> str:
    """`digest` as it was when this process first asked: of the sources it has imported."""
    with _parsing:
        return _imported_digest(module)


@functools.cache
def _imported_digest(module: str) -> str:
    return digest(module)


def _is_harness(name: str) -> bool:
    return any(name == harness or name.startswith(f"{harness}.") for harness in HARNESS)


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _locate(name: str) -> Path | None:
    """The file of a module by its path alone; None for a folder without one or a plain name."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or []:
        path = Path(folder, *rest)
        for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if (rest or candidate.name == "__init__.py") and candidate.is_file():
                return candidate
    return Path(spec.origin) if not rest and spec.origin and not spec.parent else None


def _imports(path: Path, module: str) -> tuple[str, ...]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _imported(path.read_bytes(), package)


@functools.cache
def _imported(source: bytes, package: str) -> tuple[str, ...]:
    """Names that may be modules: `from a import b` gives both a and a.b."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names += (base, *(f"{base}.{alias.name}" for alias in node.names))
    return tuple(names)
