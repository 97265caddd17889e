"""Claims on real decoder heads: sandwich and tube law (Theorem 3), DABI, the commit ablation."""

import math

from theory.estimate import Interval, proportion_interval

from experiments.claims.columns import (
    all_inside,
    estimate,
    inside,
    number,
    over,
    rate,
)
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

FALSIFIER = 2 * (1 - math.sqrt(2 / math.pi))  # an interval as wide tells the law from √(2/π)·law
NEAR, FAR = 0.25, 1.0  # steps over the median distance: hardly any latent is so near, half are
SPELLED = Interval(-0.05, 0.05)
AMBIGUOUS = ("textgenrnn", "smollm2")  # decoders of text; a spelling leaves little to choose


def _sandwich(rows: list[Row], failure: float) -> list[Check]:
    """Flips minus the nearer side of the sandwich: at least 0 below, at most 0 above."""
    checks = []
    for row in rows:
        inside = proportion_interval(estimate(row, "flips"), failure / len(rows))
        allowed = Interval(number(row, "sandwich_lower"), number(row, "sandwich_upper"))
        checks.append(Check(number(row, "flips_value"), inside, allowed))
    return checks


def _tube_law(name: str) -> Checks:
    """A ratio to the law at the smallest noise of each head must be 1, told from √(2/π)·law."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        checks, heads = [], _by_decoder(rows)
        for own in heads:
            smallest = min(own, key=lambda row: number(row, "ratio"))
            ratio = estimate(smallest, name)
            interval = ratio.interval(failure / len(heads))
            checks.append(Check(float(ratio.value), interval, Interval(1.0, 1.0), FALSIFIER))
        return checks

    return checks


def _by_decoder(rows: list[Row]) -> list[list[Row]]:
    names = sorted({str(row["decoder"]) for row in rows})
    return [[row for row in rows if row["decoder"] == name] for name in names]


def _flips(way: str) -> Checks:
    """DABI of flips at FAR, head by head: without an isotropic flip there is only a lower end."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [row for row in rows if row["length"] == FAR]
        checks = []
        for row in mine:
            share = failure / (2 * len(mine))
            (top, high), (bottom, low) = (
                rate(row, f"{name}_flips", share) for name in (way, "isotropic")
            )
            ends = Interval(
                high.lower / low.upper, high.upper / low.lower if low.lower > 0 else math.inf
            )
            effect = top / bottom if bottom > 0 else float(ends.lower)
            checks.append(inside(effect, ends, Interval(1.0, math.inf)))
        return checks

    return checks


def _control(rows: list[Row], failure: float) -> list[Check]:
    """DABI of output of a smooth decoder at NEAR."""
    mine = [row for row in rows if row["length"] == NEAR]
    return all_inside(mine, "smooth_dabi_normal_output", Interval(0.5, 2.0), failure)


def _lost(rows: list[Row], failure: float) -> list[Check]:
    """Nats a token with averages (λ = 1) less those with tokens (λ = 0), decoder by decoder."""
    own = {(row["decoder"], row["softness"]): row for row in rows}
    mine = [d for d in AMBIGUOUS if (d, 0.0) in own and (d, 1.0) in own]
    checks = []
    for decoder in mine:
        soft, hard = (estimate(own[decoder, x], "nats") for x in (1.0, 0.0))
        # Independent ends, though the prompts are the same: wider than need be.
        above, below = (each.interval(failure / (2 * len(mine))) for each in (soft, hard))
        lost = Interval(float(above.lower - below.upper), float(above.upper - below.lower))
        checks.append(inside(float(soft.value - hard.value), lost, Interval(0.0, math.inf)))
    return checks


def _misspelled(rows: list[Row], failure: float) -> list[Check]:
    """Errors with averages beyond those with tokens, word by word."""
    mine = [row for row in rows if row["decoder"] == "g2p-en" and row["softness"] == 1]
    return [inside(*over(row, "errors_more", 1.0, failure / len(mine)), SPELLED) for row in mine]


def _committed(rows: list[Row], failure: float) -> list[Check]:
    """CCI of hard steps whose context does not hold the latent: 1 in both directions."""
    mine = [row for row in rows if row["softness"] == 0 and row["decoder"] in AMBIGUOUS]
    ways = ("isotropic", "normal")
    share = failure / max(1, len(mine) * len(ways))
    return [
        inside(*over(row, f"cci_{way}", 1.0, share), Interval(1 - 1e-9, 1 + 1e-9))
        for row in mine
        for way in ways
    ]


CLAIMS = [
    Claim(
        "decoder-sandwich",
        "Theorem 3",
        "Raw-noise flips of a real head lie within E Q(δ/s) and E min(1, Σ Q(δ_j/s)) (flip rate)",
        "decoder_tube",
        _sandwich,
    ),
    Claim(
        "decoder-tube-law",
        "Theorem 3",
        "As s → 0 a real head flips at √(2/π)·s·A_W (flips over the law at the smallest s)",
        "decoder_tube",
        _tube_law("ratio_to_law"),
        if_inconclusive="of some thousand latents a hundred lie near a facet, too few to tell "
        "√(2/π) from 1",
    ),
    Claim(
        "decoder-mean-law",
        "Theorem 3",
        "At draws of a law fitted to real latents the exact posterior mean flips at √(2/π)·s·A_W "
        "as s → 0 (flips over the law at the smallest s)",
        "decoder_tube",
        _tube_law("law_mean_ratio_to_law"),
        if_inconclusive="of the draws of the fitted law so few flip at the smallest s that neither "
        "they nor its A_W are known to a fifth",
    ),
    Claim(
        "decoder-dabi",
        "DABI",
        "Real heads flip more along facet normals than isotropically (ratio of flip rates at the "
        "median distance)",
        "decoder_response",
        _flips("normal"),
        if_inconclusive="isotropic steps as long flip hardly any of the few independent latents, "
        "so that the lower end stays below 1",
    ),
    Claim(
        "decoder-dabi-residual",
        "DABI",
        "So they do along few-step residuals (ratio of flip rates at the median distance)",
        "decoder_response",
        _flips("residual"),
        if_inconclusive="residuals and isotropic steps alike flip hardly any of the few "
        "independent latents",
    ),
    Claim(
        "decoder-dabi-smooth",
        "DABI",
        "A decoder without an argmax does not feel the difference (ratio of output changes along "
        "normals)",
        "decoder_response",
        _control,
    ),
    Claim(
        "decoder-hard-step",
        "CCI",
        "A step that feeds back tokens erases every perturbation below the margin (CCI, decoders "
        "whose context does not hold the latent)",
        "commit_ablation",
        _committed,
    ),
    Claim(
        "decoder-soft-text",
        "commit ablation",
        "Decoders of text lose by averages fed back (nats a token of what they write, more than "
        "with tokens)",
        "commit_ablation",
        _lost,
    ),
    Claim(
        "decoder-soft-spelling",
        "commit ablation",
        "A decoder that is sure of its tokens loses less than a phoneme in twenty (error rate, "
        "more than with tokens)",
        "commit_ablation",
        _misspelled,
    ),
]
