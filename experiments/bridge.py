"""`noncommit bridge`: the estimators of `heads` on a known decoder or any head and latents.

Writes bridge.json (the head, and a row per noise) and distances.csv (a row per latent), each
whole or not at all, and only once everything has been measured.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from theory.bridge.formats import read_tensor
from theory.bridge.readout import check_latents, readout

from experiments import store
from experiments.decoder_tube import RATIOS
from experiments.decoders import sampled
from experiments.heads import Head, head_row, make_head, noise_row

DRAWS = 16


def run_decoder(
    name: str,
    out: Path,
    *,
    scales: Sequence[float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    count: int = 2000,
) -> tuple[list[Path], str]:
    """Measure a known decoder on `count` latents of real input; the files written and a summary.

    Raises:
        Unavailable: when its weights, or a package that reads them, cannot be had here.
    """
    diagram, found = sampled(name, count)
    source = {"decoder": name, "count": count}
    return _run(make_head(diagram, found.latents, found.group), source, out, scales, draws, seed)


def run_head(
    weight: str,
    bias: str | None,
    latents: str,
    transpose: bool,
    out: Path,
    *,
    scales: Sequence[float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[list[Path], str]:
    """Measure the head of `weight` (tokens, width) and `bias` (tokens,) on `latents` (N, width)."""
    offsets = None if bias is None else read_tensor(bias, rank=1)
    diagram = readout(read_tensor(weight, rank=2), offsets, transpose=transpose)
    rows = read_tensor(latents, rank=2)
    check_latents(diagram, rows)
    source = {"weight": weight, "bias": bias, "latents": latents, "transpose": transpose}
    return _run(make_head(diagram, rows), source, out, scales, draws, seed)


def _run(
    head: Head,
    source: dict[str, Any],
    out: Path,
    scales: Sequence[float] | None,
    draws: int,
    seed: int,
) -> tuple[list[Path], str]:
    geometry = store.flatten(head_row(head))
    if scales is None:
        scales = [ratio * float(geometry["distance_median"]) for ratio in RATIOS]  # type: ignore[arg-type]
    key = jax.random.key(seed)
    rows = [
        store.flatten(noise_row(jax.random.fold_in(key, number), head, scale, draws))
        for number, scale in enumerate(scales)
    ]
    report = {"source": source, "seed": seed, "draws": draws, "head": geometry, "noise": rows}
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    paths = [out / "bridge.json", out / "distances.csv"]
    store.write_atomic(paths[0], text.encode())
    store.write_atomic(paths[1], _distances(head).encode())
    return paths, _summary(geometry, rows)


def _distances(head: Head) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["row", "label", "neighbour", "distance"])
    columns = (np.asarray(column).tolist() for column in head.facet)
    writer.writerows(
        (row, label, neighbour, repr(distance))
        for row, (label, neighbour, distance) in enumerate(zip(*columns, strict=True))
    )
    return table.getvalue()


def _summary(geometry: store.Row, rows: Sequence[store.Row]) -> str:
    """A few lines for the terminal: the geometry, then flips against sandwich and law."""
    g = geometry
    lines = [
        f"{g['classes']} classes in dimension {g['dimension']}, {g['latents']} latents",
        f"distance to the nearest facet: median {g['distance_median']:.4g}, "
        f"a tenth of them below {g['distance_tenth']:.4g}; median over norm "
        f"{_number(g['relative_median'])}",
        f"the nearest facet is the runner-up's for {g['runner_up_share']:.1%} of the latents",
        f"{'noise s':>10} {'flips (1 − 10⁻⁹ interval)':>28} {'sandwich':>20} {'tube law':>10} "
        f"{'flips/law':>10}",
    ]
    for row in rows:
        flips = f"{row['flips_value']:.5f} [{row['flips_lower']:.5f}, {row['flips_upper']:.5f}]"
        sides = f"[{row['sandwich_lower']:.5f}, {row['sandwich_upper']:.5f}]"
        law, ratio = (_number(row.get(name)) for name in ("law", "ratio_to_law_value"))
        lines.append(f"{row['scale']:10.4g} {flips:>28} {sides:>20} {law:>10} {ratio:>10}")
    return "\n".join(lines)


def _number(value: store.Value) -> str:
    return "–" if value is None else f"{value:.4f}"
