"""Which cell a free worker takes up next: one that shares what is compiled with its last."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Cells that nobody has taken up, by program; those of one share what is compiled and loaded.

    A worker stays with the program it was in. One that is free goes where nobody has been yet, or
    where most is left, and takes the longest cell there: so programs are compiled once as far as
    that leaves nobody idle, and the last cells to run are short ones.

    Args:
        cells: program, cost in seconds, and the cell itself, of each.
    """

    def __init__(self, cells: Iterable[tuple[str, float, T]]) -> None:
        self._cells: dict[str, list[tuple[float, T]]] = {}
        self._left: dict[str, float] = {}
        self._begun: set[str] = set()
        for program, cost, cell in sorted(cells, key=lambda one: one[1]):
            self._cells.setdefault(program, []).append((cost, cell))
            self._left[program] = self._left.get(program, 0.0) + cost

    def __len__(self) -> int:
        return sum(map(len, self._cells.values()))

    def take(self, last: str | None = None) -> tuple[str, T]:
        """Program and cell for a worker whose last cell was of that program.

        Raises:
            ValueError: when no cell is left.
        """
        program = last if last is not None and last in self._cells else self._elsewhere()
        self._begun.add(program)
        cost, cell = self._cells[program].pop()
        self._left[program] -= cost
        if not self._cells[program]:
            del self._cells[program]
        return program, cell

    def _elsewhere(self) -> str:
        untouched = [program for program in self._cells if program not in self._begun]
        return max(untouched or self._cells, key=lambda program: self._left[program])
