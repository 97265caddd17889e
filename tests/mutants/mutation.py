"""What a mutant is: one source file of theory/ with one small fault."""

from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    """A faulty copy of one file.

    Fields:
        name: unique, and the same as long as the line is; it does not move with line numbers.
        file: of the source, from the root of the checkout.
        text: the whole faulty source.
        why: what the fault is.
        tests: files that should notice it, to be run first.
    """

    name: str
    file: str
    text: str
    why: str
    tests: tuple[str, ...] = ()


class Edit(NamedTuple):
    """Bytes start to end of a source replaced by others."""

    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        """The source with the edit."""
        return source[: self.start] + self.new + source[self.end :]

    def said(self, source: bytes) -> str:
        """The line where the edit begins, before and after."""
        first = source.rfind(b"\n", 0, self.start) + 1
        before = source[first:].split(b"\n", 1)[0].decode().strip()
        after = self.apply(source)[first:].split(b"\n", 1)[0].decode().strip()
        return f"{before} => {after}"


class Replacement(NamedTuple):
    """A named fault: `old`, which the file has exactly once, replaced by `new`."""

    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def mutant(self, root: Path) -> Mutant:
        """The faulty file.

        Raises:
            ValueError: when the file does not have the old text exactly once.
        """
        source = (root / self.file).read_text("utf-8")
        if (found := source.count(self.old)) != 1:
            raise ValueError(f"{self.file} has {self.old!r} {found} times: say which is meant")
        return Mutant(
            f"{self.file}: {self.why}",
            self.file,
            source.replace(self.old, self.new),
            f"{self.old.strip()} => {self.new.strip()}",
            self.tests,
        )
