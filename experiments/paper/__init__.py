"""The paper side by side: every number it reports, beside what the tables of a run have for it.

Of the paper (arXiv 2606.30705) only the abstract, the captions and the numbers were at hand, and
its models are not public: where a number is theirs alone the row says "not comparable", and why.
Ours are read from the tables, never tuned.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from theory.estimate import Interval

from experiments.paper import generation
from experiments.paper import measures as ours
from experiments.paper.judgement import APART
from experiments.paper.measures import Measure
from experiments.store import read_table

ABSENT = "not measured here"


@dataclass(frozen=True)
class Comparison:
    """A number of the paper beside ours: same, different or not comparable, and why."""

    quantity: str
    where: str
    paper: str
    ours: str
    judgement: str
    why: str


@dataclass(frozen=True)
class _Line:
    """A number of the paper, and what reads ours off the rows of an experiment."""

    quantity: str
    where: str
    paper: str
    experiment: str
    measure: Measure


def compare(out: Path) -> list[Comparison]:
    """Every number that the paper reports, in its order, against the tables in `out`.

    What no row of a table bears on is "not measured here", and the row says what to run.
    """
    return [_compared(out, line) for line in LINES]


def _compared(out: Path, line: _Line) -> Comparison:
    table = out / f"{line.experiment}.csv"
    rows = read_table(table) if table.is_file() else []
    found = line.measure(rows) if rows else None
    said = (line.quantity, line.where, line.paper)
    if found is None:
        run = f"noncommit run {line.experiment} --preset paper"
        return Comparison(*said, ABSENT, APART, f"No row bears on it: run `{run}`.")
    value, judgement, why = found
    sentence = f"{why[0].upper()}{why[1:]}."
    return Comparison(*said, f"{value}; {_preset(table)} preset", judgement, sentence)


def _preset(table: Path) -> str:
    """The preset of a table by its manifest."""
    manifest = table.with_suffix(".manifest.json")
    if not manifest.is_file():
        return "unknown"
    return str(json.loads(manifest.read_text("utf-8")).get("preset", "unknown"))


SLOPE, PROFILE, TUBE = "fig 5a", "fig 5b–d", "fig 6"
FLIPS, DABI, STEPS = "fig 3", "fig 2, 7", "fig 9"
GROWTH = [
    _Line(
        f"growth of P in M at n = {n}",
        PROFILE,
        f"M^(1/{n})" if n > 1 else "M",
        "interface_profile",
        ours.claimed(
            f"exponent-{n}",
            "exponent",
            "an offset in P² is fitted beside it, with a 99% interval",
            "the exponent of the best partitions found differs",
        ),
    )
    for n in (1, 2, 3, 4)
]
IMAGES = [
    _Line(
        f"DABI of images along residuals: {name}",
        DABI,
        "≈ 1",
        "decoder_contrast",
        ours.image_residual(name),
    )
    for name in ("dcgan", "autoencoder", "super-resolver", "taef2")
]
LINES = [
    _Line("slope of leak in Λ", SLOPE, "−0.90 to −0.97", "inverse_stiffness", ours.slope),
    _Line("its limit at large Λ", SLOPE, "approaching −1", "inverse_stiffness", ours.steepening),
    _Line("H = min P/√log M over (n, M)", PROFILE, "a surface", "interface_profile", ours.surface),
    *GROWTH,
    _Line(
        "growth of P in M at n = 256",
        PROFILE,
        "√log M",
        "interface_profile",
        ours.claimed(
            "growth-256",
            "exponent in log M over that of P_S",
            "it grows as P_S(M) does, whose exponent is still above ½ at such M",
            "the best found at n = 256 grow otherwise than P_S(M)",
        ),
    ),
    _Line(
        "tube law, predicted against observed, K = 4, 8, 16",
        TUBE,
        "proportional",
        "tube_law",
        ours.claimed(
            "tube-limit",
            "flips over the law as s → 0",
            "flips are proportional to s·A_W, with the constant √(2/π)",
            "the constant is another one",
        ),
    ),
    _Line("offset of observed from predicted", TUBE, "≈ 2.3 times", "tube_crossover", ours.place),
    _Line("f̂(0+), the density of margins", TUBE, "≈ 0.064", "decoder_tube", ours.densities),
    _Line(
        "terminal flips (ELF)", FLIPS, "12–41%", "oracle_rollin", ours.flips("terminal", "flips")
    ),
    _Line(
        "cumulative flips (ELF)",
        FLIPS,
        "≈ 90%",
        "oracle_rollin",
        ours.flips("rollin", "cumulative_flips"),
    ),
    _Line(
        "flips along residuals over isotropic ones: separated modes",
        FLIPS,
        "10–33 times",
        "oracle_rollin",
        ours.structured(Interval(10.0, 33.0)),
    ),
    _Line(
        "flips along residuals over isotropic ones: real heads",
        FLIPS,
        "10–33 times",
        "decoder_response",
        ours.head_residuals,
    ),
    _Line("row-space fraction of residuals", FLIPS, "≈ 1%", "oracle_rollin", ours.row_space),
    _Line(
        "row-space fraction of residuals: real heads",
        FLIPS,
        "≈ 1%",
        "decoder_response",
        ours.head_row_space,
    ),
    _Line(
        "DABI of text along residuals",
        DABI,
        "5·10² to over 10⁵",
        "decoder_contrast",
        ours.text_residual,
    ),
    _Line(
        "DABI of text along facet normals, in cross-entropy",
        DABI,
        "5·10² to over 10⁵, along residuals",
        "decoder_contrast",
        ours.text_normal,
    ),
    _Line(
        "DABI of ELF's student along residuals",
        DABI,
        "45.7",
        "oracle_rollin",
        ours.student,
    ),
    _Line(
        "its flips along residuals over isotropic ones",
        DABI,
        "21.2 times",
        "oracle_rollin",
        ours.structured(Interval(21.0, 21.5)),
    ),
    *IMAGES,
    _Line(
        "DABI of images along the worst direction",
        DABI,
        "≈ 1",
        "decoder_contrast",
        ours.image_worst,
    ),
    _Line(
        "ODE over SDE perplexity at K = 4: teacher",
        STEPS,
        "294 / 50 = 5.9",
        "churn_sweep",
        generation.churn_gain,
    ),
    _Line(
        "ODE over SDE perplexity at K = 4: student",
        STEPS,
        "47.3 / 34.8 = 1.36",
        "limited_stiffness",
        generation.trained_gain,
    ),
    _Line(
        "perplexity of one ODE step",
        STEPS,
        "3.07",
        "few_step",
        generation.one_step_perplexity,
    ),
    _Line(
        "entropy of one ODE step",
        STEPS,
        "2.01: collapse",
        "few_step",
        generation.one_step_entropy,
    ),
]
