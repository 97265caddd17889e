"""Claims on text heads against image decoders under the same steps (`decoder_contrast`)."""

import math

from theory.estimate import Interval

from experiments.claims.columns import ready
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

LENGTH = 0.1  # of the steps, over the median ‖Z‖
ALIKE = Interval(0.5, 2.0)  # within a factor of two of isotropic steps
MORE = Interval(2.0, math.inf)
PHOTOGRAPHS = (
    "of most decoders the independent groups are photographs, eight at most, with which Student's "
    "t at 1e-9 is 43 or more"
)


def _ratios(kind: str, column: str, allowed: Interval) -> Checks:
    """DABI of every decoder of a kind at steps of LENGTH."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [
            row
            for row in rows
            if (row["family"], row["kind"], row["length"]) == ("step", kind, LENGTH)
        ]
        return [ready(row, column, allowed) for row in mine]

    return checks


def _claim(name: str, statement: str, kind: str, column: str, allowed: Interval, why: str) -> Claim:
    checks = _ratios(kind, column, allowed)
    return Claim(name, "DABI", statement, "decoder_contrast", checks, if_inconclusive=why)


CLAIMS = [
    _claim(
        "contrast-image-residual",
        "Image decoders feel few-step residuals as isotropic steps as long, within a factor of two "
        "(ratio of changes of pixels, r = 0.1 ‖Z‖)",
        "image",
        "dabi_residual_output",
        ALIKE,
        PHOTOGRAPHS,
    ),
    _claim(
        "contrast-text-residual",
        "So do logits of text heads (ratio of changes of logits, r = 0.1 ‖Z‖)",
        "text",
        "dabi_residual_output",
        ALIKE,
        "so few independent groups of latents leave the ratio too wide",
    ),
    _claim(
        "contrast-image-worst",
        "Images have directions too that they feel over twice as much: the top singular one (ratio "
        "of changes of pixels, r = 0.1 ‖Z‖)",
        "image",
        "dabi_singular_output",
        MORE,
        PHOTOGRAPHS,
    ),
    _claim(
        "contrast-text-worst",
        "Tokens flip over twice as often along facet normals as isotropically (ratio of flip "
        "rates, r = 0.1 ‖Z‖)",
        "text",
        "dabi_normal_flips",
        MORE,
        "isotropic steps as long flip so few of the independent latents that the lower end stays "
        "below 2",
    ),
]
