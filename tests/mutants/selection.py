"""Which test files could notice a fault in a source file: those that import it, nearest first."""

import ast
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("tests/kernels", "tests/theorems", "tests/harness", "tests/pipeline")
WHOLE = FOLDERS[3]  # runs of whole experiments take long: only where little else is there
PACKAGES = ("theory", "experiments", "figures", "tests")
GUARD = "tests/kernels/test_near_faults.py"  # a few seconds, written for what survived
OWN = "tests/harness/test_mutants.py"  # which reads the sources, and would notice any edit
MOST = 5  # files a mutant
BYTES = 30_000  # of them together, whose tests take a minute or two; the first is run anyhow
LITTLE = 8_000  # bytes of other tests, below which whole experiments are run


class Imports:
    """Who imports whom in a checkout; files are named from its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
        self.sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
        self.importers: dict[str, list[str]] = {file: [] for file in self.sizes}
        for file in self.sizes:
            for imported in set(self._imported(file)):
                self.importers[imported].append(file)

    def _imported(self, file: str) -> Iterator[str]:
        for node in ast.walk(ast.parse((self.root / file).read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                path = name.replace(".", "/")
                yield from (f for f in (f"{path}.py", f"{path}/__init__.py") if f in self.sizes)

    def distances(self, file: str) -> dict[str, int]:
        """How many imports lead from each file to this one; a package's own list counts as none."""
        found, queue = {file: 0}, deque([file])
        while queue:
            here = queue.popleft()
            for importer in self.importers[here]:
                lists = importer.endswith("/__init__.py")
                if importer not in found or found[importer] > found[here] + (not lists):
                    found[importer] = found[here] + (not lists)
                    (queue.appendleft if lists else queue.append)(importer)
        return found

    def tests(self, file: str, first: tuple[str, ...] = ()) -> list[str]:
        """The test files to run for a fault in `file`, those named `first` before the others."""
        distance = self.distances(file)
        words = _words(file)

        def rank(test: str) -> tuple[bool, int, bool, int, int, int]:
            folder = next(k for k, name in enumerate(FOLDERS) if test.startswith(name))
            near = distance[test], test != GUARD, -len(words & _words(test)), folder
            return test.startswith(WHOLE), *near, self.sizes[test]

        files = (f for f in distance if f.startswith(FOLDERS) and f != OWN)
        tests = [file for file in files if Path(file).name.startswith("test_")]
        ordered = [*first, *(test for test in sorted(tests, key=rank) if test not in first)]
        chosen: list[str] = []
        size = 0
        for test in ordered:
            fits = size + self.sizes[test] <= (LITTLE if test.startswith(WHOLE) else BYTES)
            if not chosen or (fits and len(chosen) < MOST):
                chosen.append(test)
                size += self.sizes[test]
        return chosen


def _words(file: str) -> set[str]:
    return set(re.split(r"[/_.]", file)) - {"theory", "tests", "test", "py", "kernels", "theorems"}
