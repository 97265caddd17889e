"""`noncommit verify`: tables to verdicts, compared with the recorded ones."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import store

PURPOSE = "judge each theorem by the tables and compare with the recorded verdicts"
EXAMPLES = """A verdict is holds, refuted, inconclusive, or missing (its table is not there).
The exit status is 0 when every claim has the verdict recorded for the preset, 1 when one
is missing or differs. A refutation that is on record is not an error. What does not hold
has its reason below the table; then the failure probabilities of all claims together.

examples:
  noncommit run all && noncommit verify
  noncommit verify --json > verdicts.json
  noncommit verify --markdown > verdicts.md"""
FIT = 1e-6  # a claim that may fail more often is a fit, with few degrees of freedom
VERDICTS = ("holds", "inconclusive", "refuted", "missing")
KEYS = ("id", "theorem", "verdict", "effect", "interval", "failure_probability", "command")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `verify`."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list, not a table")
    text = "print tables by theorem, with what every claim says"
    form.add_argument("--markdown", action="store_true", help=text)
    parser.add_argument("--claim", metavar="ID", help="judge this claim only (default: all)")
    text = "whose recorded verdicts to compare with (default: the preset the tables were run at)"
    parser.add_argument("--preset", choices=("quick", "default", "paper"), help=text)
    text = "the results folder (default: results)"
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help=text)


def act(args: argparse.Namespace) -> int:
    """Print the verdicts; 1 if they are not the recorded ones."""
    from experiments import claims

    verdicts = claims.evaluate(args.out, args.claim)
    recorded = _recorded(args.preset or _preset(args.out))
    if args.json:
        print(json.dumps([_plain(verdict) for verdict in verdicts], indent=1, allow_nan=False))
    elif args.markdown:
        print(markdown(verdicts))
    else:
        print(_table(verdicts, recorded), *_reasons(verdicts), _together(verdicts), sep="\n")
    different = [verdict for verdict in verdicts if not _agrees(verdict, recorded)]
    for verdict in different:
        known = recorded.get(verdict.id, "none")
        line = f"{verdict.id} is {verdict.verdict}; the recorded verdict is {known}"
        hint = f"; run `{verdict.command}`" if verdict.verdict == "missing" else ""
        print(f"noncommit: {line}{hint}", file=sys.stderr)
    return int(bool(different))


def _agrees(verdict: Any, recorded: Mapping[str, str]) -> bool:
    return verdict.verdict != "missing" and recorded.get(verdict.id) == verdict.verdict


def _preset(out: Path) -> str:
    """The preset of the tables in `out` if they agree on one."""
    found = {json.loads(path.read_text("utf-8"))["preset"] for path in out.glob("*.manifest.json")}
    return found.pop() if len(found) == 1 else "default"


def _recorded(preset: str) -> dict[str, str]:
    path = store.reference_folder() / preset / "verdicts.json"
    if not path.is_file():
        print(f"noncommit: no verdicts are recorded for {preset}: {path}", file=sys.stderr)
        return {}
    return dict(json.loads(path.read_text("utf-8")))


def _plain(verdict: Any) -> dict[str, Any]:
    """A verdict as JSON can hold it: null for what is not finite."""
    plain = {key: _finite(getattr(verdict, key)) for key in KEYS}
    if verdict.interval is not None:
        plain["interval"] = [_finite(end) for end in verdict.interval]
    return plain


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(verdicts: Sequence[Any], recorded: Mapping[str, str]) -> str:
    head = ("claim", "theorem", "verdict", "recorded", "effect", "interval", "failure probability")
    return aligned(
        head, [(*cells(v)[:3], recorded.get(v.id, "–"), *cells(v)[3:]) for v in verdicts]
    )


def markdown(verdicts: Sequence[Any]) -> str:
    """How many claims of each theorem hold; then a table for each, and why some do not."""
    theorems = list(dict.fromkeys(verdict.theorem for verdict in verdicts))
    of = {name: [verdict for verdict in verdicts if verdict.theorem == name] for name in theorems}
    head = ["| theorem | claims | " + " | ".join(VERDICTS) + " |", "|---" * 6 + "|"]
    counts = [[sum(v.verdict == kind for v in of[name]) for kind in VERDICTS] for name in theorems]
    lines = [
        f"| {name} | {len(of[name])} | " + " | ".join(map(str, own)) + " |"
        for name, own in zip(theorems, counts, strict=True)
    ]
    return "\n".join([*head, *lines, *(line for name in theorems for line in _section(of[name]))])


def _section(verdicts: Sequence[Any]) -> list[str]:
    """The claims of a theorem as a Markdown table, and why some of them do not hold."""
    rows = []
    for verdict in verdicts:
        name, _, said, effect, ends, _ = cells(verdict)
        shown = effect if ends == "–" or ends == f"[{effect}, {effect}]" else f"{effect} {ends}"
        statement = verdict.statement.replace("|", "\\|")
        rows.append(f"| {name} | {statement} | {said} | {shown} |")
    head = [
        "",
        f"## {verdicts[0].theorem}",
        "",
        "| claim | says | verdict | effect |",
        "|---" * 4 + "|",
    ]
    reasons = [f"- **{v.id}** is {v.verdict}. {v.reason}" for v in verdicts if v.reason]
    return [*head, *rows, *([""] if reasons else []), *reasons]


def _reasons(verdicts: Sequence[Any]) -> list[str]:
    """A line for every claim that does not hold."""
    return [f"{v.id} is {v.verdict}. {v.reason}" for v in verdicts if v.reason]


def _together(verdicts: Sequence[Any]) -> str:
    """The failure probabilities of all claims, added up, and the fits that make most of it."""
    spent = {v.id: v.failure_probability for v in verdicts if v.failure_probability is not None}
    fits = [name for name, failure in spent.items() if failure > FIT]
    claims = "1 claim" if len(spent) == 1 else f"{len(spent)} claims together"
    line = f"failure probability of {claims}: {math.fsum(spent.values()):.2g}"
    if not fits:
        return line
    rest = math.fsum(failure for name, failure in spent.items() if name not in fits)
    return f"{line} ({rest:.2g} without {', '.join(fits)}, fits of few points)"


def cells(verdict: Any) -> tuple[str, ...]:
    """Id, theorem, verdict, effect, interval and failure probability as text."""
    interval = verdict.interval
    ends = f"[{number(interval[0])}, {number(interval[1])}]" if interval else "–"
    numbers = number(verdict.effect), ends, number(verdict.failure_probability)
    return (verdict.id, str(verdict.theorem), verdict.verdict, *numbers)


def number(value: float | None) -> str:
    """Five digits; a dash for None."""
    return "–" if value is None else f"{value:.5g}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table with columns as wide as they need to be."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(f"{x:{w}}" for x, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
