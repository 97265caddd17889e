"""Claims on DABI and the commit ablation of real heads: true tables hold, false ones do not."""

import pytest

from experiments import store
from experiments.claims import CLAIMS

BY_ID = {claim.id: claim for claim in CLAIMS}


def response(low: float, high: float | None, length: float = 1.0) -> store.Row:
    """A row whose DABI of flips lies in an interval; the control is at 1 ± 0.05."""
    row: store.Row = {"decoder": "g2p-en", "length": length}
    for way in ("normal", "residual"):
        row |= {f"dabi_{way}_flips_{k}": v for k, v in (("lower", low), ("upper", high))}
        row[f"dabi_{way}_flips_value"] = None if high is None else (low + high) / 2
    control = {"value": 1.0, "lower": 0.95, "upper": 1.05}
    return row | {f"smooth_dabi_normal_output_{k}": v for k, v in control.items()}


@pytest.mark.parametrize("name", ["decoder-dabi", "decoder-dabi-residual"])
@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (5.0, 50.0, "holds"),
        (5.0, None, "holds"),  # no isotropic flip: a lower end alone
        (0.5, 50.0, "inconclusive"),
        (0.1, 0.9, "refuted"),
    ],
)
def test_a_contrast_is_what_its_whole_interval_says(name, low, high, verdict):
    assert BY_ID[name].judge([response(low, high)]).verdict == verdict
    elsewhere = response(0.1, 0.9, length=4.0)  # another length says nothing
    assert BY_ID[name].judge([response(low, high), elsewhere]).verdict == verdict


def test_the_control_is_judged_at_the_short_step():
    claim = BY_ID["decoder-dabi-smooth"]
    assert claim.judge([response(5, 50, length=0.25)]).verdict == "holds"
    bad = response(5, 50, length=0.25) | {
        f"smooth_dabi_normal_output_{k}": v
        for k, v in (("value", 5.0), ("lower", 4.0), ("upper", 6.0))
    }
    assert claim.judge([bad]).verdict == "refuted"


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
