"""Claims on DABI and the commit ablation of real heads: true tables hold, false ones do not."""

import math

import pytest

from experiments import store
from experiments.claims import CLAIMS

BY_ID = {claim.id: claim for claim in CLAIMS}


def response(
    flips: float, isotropic: float, count: int = 4000, length: float = 1.0, control: float = 1.0
) -> store.Row:
    """A row with shares of flips of so many latents; the control has an error of a percent."""
    row: store.Row = {"decoder": "g2p-en", "length": length}
    for way, share in (("normal", flips), ("residual", flips), ("isotropic", isotropic)):
        row |= {f"{way}_flips_value": share, f"{way}_flips_count": count}
    error = {"value": control, "sem": 0.01, "bias": 0.0, "count": count}
    return row | {f"smooth_dabi_normal_output_{k}": v for k, v in error.items()}


@pytest.mark.parametrize("name", ["decoder-dabi", "decoder-dabi-residual"])
@pytest.mark.parametrize(
    ("flips", "isotropic", "count", "verdict"),
    [
        (0.5, 0.1, 4000, "holds"),
        (0.5, 0.0, 4000, "holds"),  # no isotropic flip: a lower end alone
        (0.5, 0.0, 20, "inconclusive"),
        (0.2, 0.15, 400, "inconclusive"),
        (0.1, 0.5, 4000, "refuted"),
    ],
)
def test_a_contrast_is_what_its_whole_interval_says(name, flips, isotropic, count, verdict):
    row = response(flips, isotropic, count)
    assert BY_ID[name].judge([row]).verdict == verdict
    elsewhere = response(0.1, 0.9, length=4.0)  # another length says nothing
    assert BY_ID[name].judge([row, elsewhere]).verdict == verdict


@pytest.mark.parametrize("name", ["decoder-dabi", "decoder-dabi-residual", "decoder-dabi-smooth"])
def test_the_failure_probability_is_split_over_heads(name):
    """Each head's interval is wider beside six others, and the claim's probability the same."""
    claim, row = BY_ID[name], response(0.5, 0.1, 4000, 0.25 if "smooth" in name else 1.0)
    alone, beside = (claim.judge([row] * heads) for heads in (1, 7))
    assert alone.failure_probability == beside.failure_probability == claim.failure
    assert beside.interval[0] < alone.interval[0] < alone.interval[1] < beside.interval[1]


def test_without_isotropic_flips_the_lower_end_is_that_of_clopper_and_pearson():
    """0 of N: the rate's upper end is 1 − (η/2)^{1/N}, η a half of the claim's probability."""
    verdict = BY_ID["decoder-dabi"].judge([response(1.0, 0.0, 100)])
    end = (BY_ID["decoder-dabi"].failure / 4) ** (1 / 100)
    assert verdict.interval == pytest.approx((end / (1 - end), math.inf))


def test_the_control_is_judged_at_the_short_step():
    claim = BY_ID["decoder-dabi-smooth"]
    assert claim.judge([response(0.5, 0.1, length=0.25)]).verdict == "holds"
    bad = response(0.5, 0.1, length=0.25, control=5.0)
    assert claim.judge([bad]).verdict == "refuted"
    assert claim.judge([bad | {"length": 1.0}]).verdict == "inconclusive"


def ablation(decoder: str, column: str, hard: float, soft: float, sem: float) -> list[store.Row]:
    return [
        {
            "decoder": decoder,
            "softness": softness,
            f"{column}_value": value,
            f"{column}_sem": sem,
            f"{column}_bias": 0.0,
            f"{column}_count": 200,
        }
        for softness, value in ((0.0, hard), (1.0, soft))
    ]


@pytest.mark.parametrize(
    ("hard", "soft", "sem", "verdict"),
    [(0.8, 4.7, 0.1, "holds"), (0.8, 0.9, 0.1, "inconclusive"), (4.7, 0.8, 0.1, "refuted")],
)
def test_what_text_loses(hard, soft, sem, verdict):
    rows = ablation("textgenrnn", "nats", hard, soft, sem)
    assert BY_ID["decoder-soft-text"].judge(rows).verdict == verdict


@pytest.mark.parametrize(
    ("more", "sem", "verdict"),
    [(0.001, 0.001, "holds"), (0.001, 0.02, "inconclusive"), (0.4, 0.01, "refuted")],
)
def test_what_spelling_loses(more, sem, verdict):
    rows = ablation("g2p-en", "errors_more", 0.0, more, sem)
    assert BY_ID["decoder-soft-spelling"].judge(rows).verdict == verdict


@pytest.mark.parametrize(("cci", "verdict"), [(1.0, "holds"), (0.9, "refuted")])
def test_a_hard_step_erases_all(cci, verdict):
    row: store.Row = {"decoder": "textgenrnn", "softness": 0.0}
    for way in ("isotropic", "normal"):
        row |= {f"cci_{way}_{k}": v for k, v in (("value", cci), ("sem", 0.0), ("bias", 0.0))}
        row[f"cci_{way}_count"] = 100
    state = row | {"decoder": "g2p-en", "cci_normal_value": -0.2}  # a GRU carries its state
    assert BY_ID["decoder-hard-step"].judge([row, state]).verdict == verdict


def test_without_the_rows_that_bear_on_it_a_claim_is_inconclusive():
    alone = ablation("g2p-en", "errors_more", 0.0, 0.0, 0.01)
    assert BY_ID["decoder-soft-text"].judge(alone).verdict == "inconclusive"
    assert BY_ID["decoder-hard-step"].judge(alone).verdict == "inconclusive"
