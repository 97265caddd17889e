"""Claims on the distances to facets: their density at 0, what the posterior mean does, top two.

They were written when the tables had been seen.
"""

from theory import bound
from theory.estimate import Interval, proportion_interval, quotient

from experiments.claims.columns import ended, estimate, inside, number, over
from experiments.store import Row
from experiments.verdict import Check, Claim

TOKENS = 0.04  # latents whose nearest facet is not the runner-up's


def _oracle(rows: list[Row], failure: float) -> list[Check]:
    """Flips of the posterior mean over the raw ones, to which both sides of the sandwich go."""
    mine = [r for r in rows if r["pair"] == "half_space" and number(r, "scale") >= 0.5]
    checks = []
    for row in mine:
        side = number(row, "oracle_raw")
        flips = estimate(row, "paired_mean")
        ends = proportion_interval(flips, failure / len(mine))
        found = Interval(ends.lower / side, ends.upper / side)
        checks.append(inside(float(flips.value) / side, found, Interval(0.0, 1.0)))
    return checks


def _margins(rows: list[Row], failure: float) -> list[Check]:
    """A_W by the density of margins at 0+ over A_W by crossings of lines; told from double."""
    mine = [row for row in rows if row.get("scale")]
    checks = []
    for row in mine:
        found = quotient(estimate(row, "area_margins"), estimate(row, "area_crofton"))
        checks.append(Check(*ended(found, failure / len(mine)), Interval(1.0, 1.0), 0.5))
    return checks


def _perimeter(rows: list[Row], failure: float) -> list[Check]:
    """A_W of N(0, I) under a simplicial readout over P_S(M); told from 1.1 and from 2P."""
    mine = [row for row in rows if str(row["pair"]).startswith("simplicial") and row.get("scale")]
    found = [
        over(
            row,
            "area_crofton",
            bound.interface_floor(int(number(row, "modes"))),
            failure / len(mine),
        )
        for row in mine
    ]
    return [Check(effect, ends, Interval(1.0, 1.0), 0.1) for effect, ends in found]


def _runner_up(rows: list[Row], failure: float) -> list[Check]:
    """Latents whose nearest facet is not the runner-up's: a share of those looked at, exact."""
    heads = {row["decoder"]: 1 - number(row, "runner_up_share") for row in rows}
    allowed = Interval(TOKENS, 1.0)
    return [inside(share, Interval(share, share), allowed) for share in heads.values()]


CLAIMS = [
    Claim(
        "mean-leaves-sandwich",
        "Theorem 3",
        "A posterior mean may flip less than the lower side of the sandwich: half-space at 0.7, s "
        "≥ ½ (flips over the side)",
        "tube_law",
        _oracle,
    ),
    Claim(
        "tube-margins",
        "Theorem 3",
        "A_W is half of the density of margins at 0 (over A_W by crossings of lines)",
        "tube_law",
        _margins,
    ),
    Claim(
        "area-is-perimeter",
        "Theorem 3",
        "Under N(0, I) A_W is the Gaussian perimeter, of simplicial readouts P_S(M) (over it)",
        "tube_law",
        _perimeter,
    ),
    Claim(
        "decoder-runner-up",
        "Theorem 3",
        f"In every real head {TOKENS:.0%} of latents or more are nearer to another facet than the "
        "runner-up's (share)",
        "decoder_tube",
        _runner_up,
    ),
]
