"""Claims on single denoising steps and roll-ins (Theorem 3): residuals, their flips, decoders."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from theory.estimate import Interval, proportion_interval, quotient

from experiments.claims.columns import (
    estimate,
    inside,
    number,
    of_family,
    over,
    ready,
    with_ends,
)
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Checks, Claim

HITS = 6000  # of a rare event, for the stated probability to hold within a factor e
ONE = Interval(1.0, 1.0)
SEEN = 0.02  # share of latents in the tube of a step, for flips to be counted
SHORT = 0.1  # length, in median distances, up to which a step is near its limit
STRUCTURED = 2.0


def _hits(row: Row, name: str) -> float:
    return number(row, f"{name}_value") * number(row, f"{name}_count")


def _terminal(rows: Sequence[Row], *latents: str) -> list[Row]:
    return [r for r in of_family(rows, "terminal") if not latents or r["latents"] in latents]


# Residuals of terminal steps


def _noise(rows: list[Row], failure: float) -> list[Check]:
    """X − Z: share over rank/n, and |cosine| over E|⟨u, ν⟩|; told from a tenth more."""
    checks = []
    for row in _terminal(rows):
        for name, unit in (("share", "isotropic_share"), ("cosine", "isotropic_cosine")):
            effect, ends = over(row, f"noise_{name}", number(row, unit), failure / (2 * len(rows)))
            checks.append(Check(effect, ends, ONE, 0.1))
    return checks


def _energy(rows: list[Row], failure: float) -> list[Check]:
    """Share of the residual over that of the posterior; told from rank/n where that differs.

    Rows on which flips, and with them ambiguous posteriors, are rare say nothing at this failure
    probability.
    """
    chosen = [row for row in _terminal(rows) if _hits(row, "flips") >= HITS]
    checks = []
    for row in chosen:
        found = quotient(estimate(row, "share"), estimate(row, "share_law"))
        ends = found.interval(failure / len(chosen))
        isotropic = number(row, "isotropic_share") / number(row, "share_law_value")
        apart = abs(isotropic - 1)
        checks.append(Check(float(found.value), ends, ONE, 2 * apart if apart > 0.1 else 0.1))
    return checks


def _share(latents: tuple[str, ...], chosen: Callable[[Row], bool], allowed: Interval) -> Checks:
    """Share over rank/n, where the rank is below n."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [r for r in _terminal(rows, *latents) if chosen(r) and r["rank"] != r["dimension"]]
        found = [over(r, "share", number(r, "isotropic_share"), failure / len(mine)) for r in mine]
        return [inside(effect, ends, allowed) for effect, ends in found]

    return checks


def _aligned(rows: list[Row], failure: float) -> list[Check]:
    """E|⟨r/‖r‖, ν⟩| over that of isotropic directions."""
    chosen = [row for row in _terminal(rows, "separated") if number(row, "scale") >= 1]
    return [
        inside(
            *over(row, "cosine", number(row, "isotropic_cosine"), failure / len(chosen)),
            Interval(1.0, math.inf),
        )
        for row in chosen
    ]


def _structured(rows: list[Row], failure: float) -> list[Check]:
    """Flips of the posterior mean over those of isotropic steps of the same lengths."""
    chosen = [row for row in _terminal(rows, "separated") if number(row, "scale") >= 1]
    above = Interval(STRUCTURED, math.inf)
    return [ready(row, "structured", above) for row in chosen]


def _unstructured(rows: list[Row], failure: float) -> list[Check]:
    """The same of raw noise, and of a Gaussian's residual at little noise: 1."""
    mine = [r for r in _terminal(rows) if _hits(r, "raw_flips") >= HITS]
    little = [r for r in _terminal(rows, "gaussian") if number(r, "scale") <= 0.25]
    little = [row for row in little if _hits(row, "flips") >= HITS]
    near = Interval(0.75, 1.33)
    checks = [ready(row, "raw_structured", near) for row in mine]
    return checks + [ready(row, "structured", near) for row in little]


# Roll-ins


def _contraction(rows: list[Row], failure: float) -> list[Check]:
    """E‖Ẑ‖²/n over g² for Gaussian latents; told from the latents' own spread."""
    mine = [r for r in of_family(rows, "rollin") if r.get("spread_law") and number(r, "steps") > 1]
    found = [over(r, "spread", number(r, "spread_law"), failure / len(mine)) for r in mine]
    return [Check(effect, ends, ONE, 0.1) for effect, ends in found]


def _ambiguous(rows: list[Row], failure: float) -> list[Check]:
    """Results of two steps from noise near a facet, less the share of the latents' own."""
    mine = [
        row
        for row in of_family(rows, "rollin")
        if row["latents"] == "separated" and row["start"] == 1 and row["steps"] in (2, 4)
    ]
    checks = []
    for row in mine:
        share = failure / (2 * len(mine))
        rolled, own = (proportion_interval(estimate(row, n), share) for n in ("tube", "tube_data"))
        effect = number(row, "tube_value") - number(row, "tube_data_value")
        ends = Interval(rolled.lower - own.upper, rolled.upper - own.lower)
        checks.append(inside(effect, ends, Interval(0.0, 1.0)))
    return checks


# Steps of one length


def _tube(rows: list[Row], failure: float) -> list[Check]:
    """Flips along the normal over P(δ < r) of other latents; told from half of it."""
    chosen = [row for row in rows if number(row, "tube_value") >= SEEN]
    checks = []
    for row in chosen:
        share = failure / (2 * len(chosen))
        flips, tube = (
            proportion_interval(estimate(row, name), share) for name in ("normal_flips", "tube")
        )
        effect = number(row, "normal_flips_value") / number(row, "tube_value")
        ends = Interval(flips.lower / tube.upper, flips.upper / tube.lower)
        checks.append(Check(effect, ends, ONE, 0.75))
    return checks


def _limit(rows: list[Row], failure: float) -> list[Check]:
    """DABI of short steps over 2/E|⟨u, ν⟩| to a tenth; told from half of it (unsigned normals)."""
    mine = [row for row in rows if row["latents"] == "gaussian" and number(row, "length") <= SHORT]
    checks = []
    for row in mine:
        limit = number(row, "normal_limit")
        effect, ends = with_ends(row, "dabi_normal_flips")
        found = Interval(ends.lower / limit, ends.upper / limit)
        checks.append(Check(effect / limit, found, Interval(0.9, 1.1), 0.9, FAILURE))
    return checks


def _sharp(rows: list[Row], failure: float) -> list[Check]:
    chosen = [r for r in rows if number(r, "tube_value") >= SEEN and number(r, "length") <= 1]
    above = Interval(STRUCTURED, math.inf)
    return [ready(row, "dabi_normal_flips", above) for row in chosen]


def _smooth(rows: list[Row], failure: float) -> list[Check]:
    names = [f"smooth_dabi_{way}_output" for way in ("normal", "residual")]
    return [ready(row, name, Interval(0.9, 1.1)) for row in rows for name in names]


def _claim(name: str, statement: str, experiment: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Theorem 3", statement, experiment, checks, **said)


CLAIMS = [
    _claim(
        "noise-isotropic",
        "X − Z has rank/n of its energy in the row space and no alignment (over isotropic values)",
        "oracle_rollin",
        _noise,
    ),
    _claim(
        "residual-energy",
        "μ(X) − Z has the row-space share of the posterior's covariance (measured over it is 1)",
        "oracle_rollin",
        _energy,
    ),
    _claim(
        "residual-inside",
        "Where tokens are ambiguous the residual prefers the row space (share over rank/n above 1)",
        "oracle_rollin",
        _share(
            ("overlapping", "separated"), lambda r: number(r, "scale") >= 1, Interval(1.0, math.inf)
        ),
    ),
    _claim(
        "residual-outside",
        "Where nuisance is ambiguous and tokens are not it avoids it (share over rank/n below 1)",
        "oracle_rollin",
        _share(("nuisance",), lambda r: number(r, "scale") == 1, Interval(0.0, 1.0)),
    ),
    _claim(
        "residual-aligned",
        "Residuals of separated modes at s ≥ 1 lie along the normal (|cosine| over isotropic)",
        "oracle_rollin",
        _aligned,
    ),
    _claim(
        "residual-flips",
        f"They flip over {STRUCTURED:g} times as often as isotropic steps as long (ratio)",
        "oracle_rollin",
        _structured,
    ),
    _claim(
        "noise-flips",
        "Raw noise, and a Gaussian's residual at s ≤ ¼, flip as isotropic steps as long (ratio)",
        "oracle_rollin",
        _unstructured,
    ),
    _claim(
        "euler-contraction",
        "K Euler steps make N(0, g²) of pure noise when latents are N(0, 1) (spread over g² is 1)",
        "oracle_rollin",
        _contraction,
    ),
    _claim(
        "rollin-ambiguous",
        "Two and four exact steps from noise end near facets, where no latents are (difference)",
        "oracle_rollin",
        _ambiguous,
    ),
    _claim(
        "normal-tube",
        "A step of length r along the nearest facet's normal flips P(δ < r) (flips over it)",
        "decoder_sensitivity",
        _tube,
        if_inconclusive="16,384 latents are too few for P(δ < r) at the shortest steps",
    ),
    _claim(
        "dabi-limit",
        "Short steps along the normal flip 2/E|⟨u, ν⟩| ≈ √(2πn) times as isotropic ones (over it)",
        "decoder_sensitivity",
        _limit,
    ),
    _claim(
        "dabi-sharp",
        f"Up to the median distance they flip over {STRUCTURED:g} times as often (DABI of flips)",
        "decoder_sensitivity",
        _sharp,
    ),
    _claim(
        "dabi-smooth",
        "A linear decoder without argmax feels both as any other step (DABI of output, 0.9 to 1.1)",
        "decoder_sensitivity",
        _smooth,
    ),
]
