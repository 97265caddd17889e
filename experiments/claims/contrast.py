"""Claims on text heads against image decoders under the same steps (`decoder_contrast`)."""

import math

from theory.estimate import Interval

from experiments.claims.columns import inside, with_ends
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

LENGTH = 0.1  # of the steps, over the median ‖Z‖
ALIKE = Interval(0.5, 2.0)  # within a factor of two of isotropic steps
MORE = Interval(2.0, math.inf)


def _ratios(kind: str, column: str, allowed: Interval) -> Checks:
    """DABI of every decoder of a kind at steps of LENGTH."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [
            row
            for row in rows
            if (row["family"], row["kind"], row["length"]) == ("step", kind, LENGTH)
        ]
        return [inside(*with_ends(row, column), allowed) for row in mine]

    return checks


def _claim(name: str, statement: str, kind: str, column: str, allowed: Interval) -> Claim:
    return Claim(name, "DABI", statement, "decoder_contrast", _ratios(kind, column, allowed))


CLAIMS = [
    _claim(
        "contrast-image-residual",
        "Image decoders feel few-step residuals as isotropic steps as long, within a factor of two "
        "(ratio of changes of pixels, r = 0.1 ‖Z‖)",
        "image",
        "dabi_residual_output",
        ALIKE,
    ),
    _claim(
        "contrast-text-residual",
        "So do logits of text heads (ratio of changes of logits, r = 0.1 ‖Z‖)",
        "text",
        "dabi_residual_output",
        ALIKE,
    ),
    _claim(
        "contrast-image-worst",
        "Images have directions too that they feel over twice as much: the top singular one (ratio "
        "of changes of pixels, r = 0.1 ‖Z‖)",
        "image",
        "dabi_singular_output",
        MORE,
    ),
    _claim(
        "contrast-text-worst",
        "Tokens flip over twice as often along facet normals as isotropically (ratio of flip "
        "rates, r = 0.1 ‖Z‖)",
        "text",
        "dabi_normal_flips",
        MORE,
    ),
]
