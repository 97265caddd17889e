"""The mutation run: `python -m tests.mutants`; exit status 1 when too many faults survive.

Every named fault must be killed, and of the drawn ones that no test could tell from the original
is shown, 95%.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.drawn import COUNT, SEED, draw
from tests.mutants.excluded import EQUIVALENT
from tests.mutants.mutation import Mutant
from tests.mutants.named import NAMED
from tests.mutants.runner import Outcome, Runner, copy_checkout
from tests.mutants.selection import Imports
from theory.bridge.catalog import cache_folder

SHARE = 0.95  # of the drawn faults that must die
ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the list, and say whether enough die."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:  # as it is now, whoever edits it meanwhile
        root = Path(folder, "checkout")
        copy_checkout(ROOT, root)
        named = [one.mutant(root) for one in NAMED]
        drawn = draw(root, COUNT, SEED)
        wanted = [one for one in [*named, *drawn] if given.only in one.name]
        found = outcomes(root, wanted, given.jobs)
    parts = {"named": named, f"drawn by seed {SEED}": drawn}
    return max(report(title, part, found) for title, part in parts.items())


def outcomes(root: Path, mutants: Sequence[Mutant], jobs: int) -> dict[str, Outcome]:
    """By name; a killer that fails without the fault too has killed nothing."""
    imports, runner = Imports(root), Runner(root, cache_folder())

    def run(mutant: Mutant) -> Outcome:
        found = runner.of(mutant, imports.tests(mutant.file, mutant.tests))
        print(f"{found.verdict:9}{found.seconds:6.1f} s  {mutant.name}", file=sys.stderr)
        return found

    wanted = [mutant for mutant in mutants if mutant.name not in EQUIVALENT]
    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip([m.name for m in wanted], pool.map(run, wanted), strict=True))
    failing = runner.failing(sorted({o.killer for o in found.values() if o.verdict == "killed"}))
    for name, one in found.items():
        if one.killer in failing:
            found[name] = one._replace(verdict="survived", killer=f"{one.killer} fails anyhow")
    return found


def report(title: str, mutants: Sequence[Mutant], found: dict[str, Outcome]) -> int:
    """Print what became of each; 1 when a named fault, or more than a twentieth of drawn, live."""
    print(f"\n{title}:")
    dead = 0
    for mutant in (one for one in mutants if one.name in found):
        one = found[mutant.name]
        killed = one.verdict in ("killed", "timeout")
        dead += killed
        by = one.killer or ("time limit" if killed else "nothing")
        print(f"  {'killed' if killed else 'SURVIVED':9}{mutant.name}\n           by {by}")
        if not killed:
            print(f"           {mutant.why}")
    same = [one.name for one in mutants if one.name in EQUIVALENT]
    for name in same:
        print(f"  the same {name}\n           {EQUIVALENT[name]}")
    run = sum(one.name in found for one in mutants)
    print(f"  {dead} of {run} killed, {len(same)} no test could tell from the original")
    return int(dead < (run if title == "named" else SHARE * run))


if __name__ == "__main__":
    sys.exit(main())
