"""Tables of `make bench` as the report shows them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import store
from experiments.commands.verify import number
from experiments.store import Row, Value

HEAD = (
    *("Contender", "Case", "Seconds", "Least – most", "Cores busy", "Peak, MiB", "Gflop/s"),
    *("Share of a product's rate", "Accuracy"),
)
CAPTIONS = {
    "bench-speed": "Seconds of every contender over those of ours, case by case.",
    "bench-masses": "Worst relative error of M equal masses against the seconds it took.",
    "bench-perimeter": "Root mean squared error of the perimeter after a minute, over P.",
    "bench-growth": "Exponents of seconds and of flops in every size of a kernel.",
}
TIMES = ("seconds", "seconds_least", "seconds_most", "seconds_first", "repeats", "gflop")
SHOWN = ("contender", "library", "cores_busy", "peak_memory", "gflop_per_second")
SHARE = "share_of_product_rate"
ACCURACY = (
    *("brute_wrong", "brute_error", "differs", "excess", "error", "loss", "points_per_second"),
    *("value", "value_sem", "spread_over_sem", "bias", "width", "mean_square_error"),
    *("worst_error", "worst_error_sem"),
)


@dataclass(frozen=True)
class Timings:
    """One benchmark: its table as text, and where the numbers come from."""

    name: str
    summary: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    facts: Mapping[str, str]


def read(out: Path) -> list[Timings]:
    """Every table in OUT/bench that has a manifest, by name.

    Raises:
        ValueError: when a manifest is not as `make bench` writes it.
    """
    return [_shown(path) for path in sorted((out / "bench").glob("*.csv"))]


def _shown(path: Path) -> Timings:
    try:
        facts = dict(json.loads(path.with_suffix(".manifest.json").read_text("utf-8")))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} has no manifest ({error}): run `make bench` again") from None
    rows = store.read_table(path)
    timed = not rows or "seconds" in rows[0]
    head, lines = (HEAD, [_line(row) for row in rows]) if timed else _plain(rows)
    shown = {
        "processor": f"{facts.get('processor')}, {facts.get('threads')} threads",
        "command": facts.get("command"),
        "commit": facts.get("commit"),
        "versions": ", ".join(f"{k} {v}" for k, v in dict(facts.get("versions", {})).items()),
    }
    known = {name: str(text) for name, text in shown.items() if text}
    return Timings(path.stem, str(facts.get("summary", "")), head, lines, known)


def _plain(rows: Sequence[Row]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """A table of other columns, as it is."""
    return tuple(rows[0]), [tuple(map(_text, row.values())) for row in rows]


def _line(row: Row) -> Sequence[str]:
    named = {*TIMES, *SHOWN, *ACCURACY, SHARE}
    case = ", ".join(f"{k} {_text(v)}" for k, v in row.items() if k not in named and v is not None)
    told = ", ".join(f"{k} {_text(row[k])}" for k in ACCURACY if row.get(k) is not None)
    peak = row.get("peak_memory")
    return (
        str(row["contender"]),
        case,
        _text(row["seconds"]),
        f"{_text(row['seconds_least'])} – {_text(row['seconds_most'])}",
        _text(row["cores_busy"]),
        "–" if peak is None else f"{float(peak) / 2**20:.0f}",
        _text(row["gflop_per_second"]),
        _text(row[SHARE]),
        told or "–",
    )


def _text(value: Value) -> str:
    if value is None or isinstance(value, float):
        return number(None if value is None else float(f"{value:.3g}"))
    return str(value)
