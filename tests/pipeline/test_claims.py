"""Verdicts: true tables hold, tables bent a little are refuted, vague ones are inconclusive."""

import math
from pathlib import Path

import numpy as np
import pytest

from experiments import claims, store
from experiments.claims import CLAIMS, Check
from theory import bound
from theory.estimate import Interval

BY_ID = {claim.id: claim for claim in CLAIMS}


def interface_rows(factor: float = 1.0, sem: float = 1e-3) -> list[store.Row]:
    rows: list[store.Row] = []
    for family, modes, exact in [
        ("simplicial", 3, bound.interface_floor(3)),
        ("simplicial", 64, bound.interface_floor(64)),
        ("orthants", 16, 4 / np.sqrt(2 * np.pi)),
        ("orthants", 256, 8 / np.sqrt(2 * np.pi)),
        ("intervals", 256, 256 / np.sqrt(4 * np.pi)),
        ("intervals", 4096, 4096 / np.sqrt(4 * np.pi)),
    ]:
        routes = ["crofton", "tube", *(["gauss-green"] if family == "simplicial" else [])]
        for estimator in routes:
            row: store.Row = {
                "family": family,
                "modes": modes,
                "estimator": estimator,
                "perimeter_value": float(factor * exact),
                "perimeter_sem": float(sem * exact),
                "perimeter_bias": 0.0,
                "perimeter_count": 100_000,
                "exact": float(exact),
                "interface_floor": bound.interface_floor(modes),
                "elementary_floor": bound.elementary_floor(modes),
                "root_log_modes": math.sqrt(math.log(modes)),
                "facets": None,
                "facets_outside": None,
            }
            rows.append(row)
    cluster = factor * bound.unequal_floor(np.array([1.0, 2.0, 3.0]) / 6)[0]
    unequal = {"perimeter_value": cluster, "perimeter_sem": sem * cluster}
    rows.append({**rows[0], **unequal, "family": "unequal", "facets": 3, "facets_outside": 0})
    return rows


def decoder_rows(flips: float = 0.012, ratio: float = 1.0, sem: float = 0.005) -> list[store.Row]:
    return [
        {
            "decoder": "head",
            "ratio": 0.05,
            "runner_up_share": 0.84,
            "flips_value": flips,
            "flips_sem": 1e-4,
            "flips_bias": 0.0,
            "flips_count": 1_000_000,
            "sandwich_lower": 0.011,
            "sandwich_upper": 0.013,
            "ratio_to_law_value": ratio,
            "ratio_to_law_sem": sem,
            "ratio_to_law_bias": 0.0,
            "ratio_to_law_count": 1000,
            "law_mean_ratio_to_law_value": 1.0,
            "law_mean_ratio_to_law_sem": 0.01,
            "law_mean_ratio_to_law_bias": 0.0,
            "law_mean_ratio_to_law_count": 1000,
        }
    ]


def profile_rows(factor: float = 1.0, sem: float = 1e-3) -> list[store.Row]:
    """D of a cluster with room, and of 16 cells in the plane."""
    shared: store.Row = {"penalty_bias": 0.0, "penalty_count": 100_000}
    return [
        {
            "family": "best",
            "modes": modes,
            "dimension": dimension,
            "penalty_value": factor * penalty,
            "penalty_sem": sem * penalty,
            **shared,
        }
        for modes, dimension, penalty in [(4, 3, 1.0), (9, 8, 1.0), (16, 2, 1.51)]
    ]


INTERFACE = [claim.id for claim in CLAIMS if claim.experiment == "interface_exact"]
DECODER = [claim.id for claim in CLAIMS if claim.experiment == "decoder_tube"]


def law_rows(dimension: int, exponent: float, scatter: float = 1e-3) -> list[store.Row]:
    """P² = −0.2 + 0.25·M^{2·exponent} with alternating relative errors in P."""
    modes = [2**k for k in range(3, 11)]
    exact = [math.sqrt(0.25 * m ** (2 * exponent) - 0.2) for m in modes]
    return [
        {
            "family": "best",
            "modes": m,
            "dimension": dimension,
            "perimeter_value": exact[k] * (1 + scatter * (-1) ** k),
            "perimeter_sem": 1e-5,
            "perimeter_bias": 0.0,
            "perimeter_count": 1000,
        }
        for k, m in enumerate(modes)
    ]


def test_the_exponent_holds_what_leaving_out_the_least_mode_count_changes():
    """One cell off the curve by 5%: the exponents with and without it are both inside."""
    claim, rows = BY_ID["exponent-2"], law_rows(2, 0.5, scatter=1e-5)
    rows[0]["perimeter_value"] *= 1.05
    bent, without = claim.judge(rows), claim.judge(rows[1:])
    assert bent.verdict == "holds"
    assert bent.interval[0] < without.effect < bent.interval[1]


def coded_rows(over: float, sem: float = 1e-3) -> list[store.Row]:
    """D at `over` times the upper curve of n = 16, and a cluster, of which nothing is said."""
    law = {"penalty_sem": sem, "penalty_bias": 0.0, "penalty_count": 1000, "band_upper": 1.2}
    coded = {"modes": 256, "dimension": 16, "penalty_value": over * 1.2}
    cluster = {"modes": 9, "dimension": 8, "penalty_value": 1.0}
    return [{"family": "best", **law, **row} for row in (coded, cluster)]


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_the_exponent_at_fixed_dimension_is_told_from_its_neighbours(dimension: int):
    claim = BY_ID[f"exponent-{dimension}"]
    assert claim.judge(law_rows(dimension, 1 / dimension)).verdict == "holds"
    assert claim.judge(law_rows(dimension, 1 / (dimension + 1))).verdict == "refuted"
    assert claim.judge(law_rows(dimension, 1 / dimension, scatter=0.6)).verdict == "inconclusive"
    for too_few in (law_rows(dimension, 1 / dimension)[:4], law_rows(dimension + 1, 0.5)):
        verdict = claim.judge(too_few)
        assert (verdict.verdict, verdict.effect, verdict.interval) == ("inconclusive", None, None)
    assert claim.judge([]).verdict == "missing"


def test_the_side_of_the_upper_curve_is_said_only_when_it_is_clear():
    claim = BY_ID["below-random-codes"]
    assert claim.judge(coded_rows(0.9)).verdict == "holds"
    assert claim.judge(coded_rows(1.1)).verdict == "refuted"
    assert claim.judge(coded_rows(1.0)).verdict == "inconclusive"
    assert claim.judge(coded_rows(0.9)[1:]).verdict == "inconclusive"
    assert claim.judge([]).verdict == "missing"


@pytest.mark.parametrize("name", INTERFACE)
def test_a_true_table_holds(name: str):
    assert BY_ID[name].judge(interface_rows()).verdict == "holds"


@pytest.mark.parametrize("name", DECODER)
def test_a_true_decoder_table_holds(name: str):
    assert BY_ID[name].judge(decoder_rows()).verdict == "holds"


@pytest.mark.parametrize("name", ["dimension-penalty", "found-cluster"])
def test_a_true_profile_holds(name: str):
    assert BY_ID[name].judge(profile_rows()).verdict == "holds"


def test_a_penalty_below_one_is_refuted_and_a_cluster_missed_is_too():
    assert BY_ID["dimension-penalty"].judge(profile_rows(0.95)).verdict == "refuted"
    assert BY_ID["dimension-penalty"].judge(profile_rows(1.05)).verdict == "holds"
    for factor in (0.95, 1.05):
        verdict = BY_ID["found-cluster"].judge(profile_rows(factor))
        assert (verdict.verdict, verdict.effect) == ("refuted", pytest.approx(factor))
    assert BY_ID["found-cluster"].judge(profile_rows(sem=0.02)).verdict == "inconclusive"


@pytest.mark.parametrize(
    "name", ["simplicial-optimum", "routes-agree", "gauss-green", "unequal-optimum"]
)
@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_perimeter_off_by_a_twentieth_is_refuted(name: str, factor: float):
    verdict = BY_ID[name].judge(interface_rows(factor))
    assert verdict.verdict == "refuted"
    assert verdict.effect == pytest.approx(factor)


@pytest.mark.parametrize("name", ["elementary-floor", "floors-apart"])
def test_three_cells_below_the_elementary_floor_are_refuted(name: str):
    assert BY_ID[name].judge(interface_rows(0.9)).verdict == "refuted"


def test_a_share_of_root_log_that_falls_or_passes_1_is_refuted():
    rows = interface_rows()
    fall = [{**row, "root_log_modes": float(row["modes"])} for row in rows]
    assert BY_ID["simplicial-root-log"].judge(fall).verdict == "refuted"
    assert BY_ID["simplicial-root-log"].judge(interface_rows(1.3)).verdict == "refuted"
    assert BY_ID["simplicial-root-log"].judge(interface_rows(sem=0.1)).verdict == "inconclusive"


def test_a_perimeter_below_the_floor_is_refuted_and_one_above_is_not():
    assert BY_ID["interface-floor"].judge(interface_rows(0.95)).verdict == "refuted"
    assert BY_ID["interface-floor"].judge(interface_rows(1.05)).verdict == "holds"


@pytest.mark.parametrize("name", ["orthants-log", "intervals-linear"])
def test_an_exponent_off_by_a_tenth_is_refuted(name: str):
    rows = interface_rows()
    for row in rows:
        scale = np.log(row["modes"]) if name == "orthants-log" else row["modes"]
        row["perimeter_value"] *= scale**0.1
    assert BY_ID[name].judge(rows).verdict == "refuted"


def test_a_facet_outside_its_interval_is_refuted():
    rows = interface_rows()
    rows[-1]["facets_outside"] = 1
    assert BY_ID["facet-areas"].judge(rows).verdict == "refuted"


@pytest.mark.parametrize("flips", [0.010, 0.014])
def test_flips_outside_the_sandwich_are_refuted(flips: float):
    assert BY_ID["decoder-sandwich"].judge(decoder_rows(flips)).verdict == "refuted"


def test_a_head_in_which_the_runner_up_is_always_nearest_is_refuted():
    rows = [{**row, "runner_up_share": 0.99} for row in decoder_rows()]
    assert BY_ID["decoder-runner-up"].judge(rows).verdict == "refuted"


@pytest.mark.parametrize("ratio", [np.sqrt(2 / np.pi), 1.05])
def test_a_law_with_a_wrong_constant_is_refuted(ratio: float):
    assert BY_ID["decoder-tube-law"].judge(decoder_rows(ratio=ratio)).verdict == "refuted"


def test_vague_tables_are_inconclusive():
    vague = interface_rows(sem=0.05)
    assert BY_ID["simplicial-optimum"].judge(vague).verdict == "inconclusive"
    assert BY_ID["orthants-log"].judge(vague).verdict == "inconclusive"
    assert BY_ID["decoder-tube-law"].judge(decoder_rows(sem=0.5)).verdict == "inconclusive"


def test_no_table_is_missing_and_no_number_is_no_agreement(tmp_path: Path):
    assert {v.verdict for v in claims.evaluate(tmp_path)} == {"missing"}
    nothing = Check(float("nan"), Interval(float("nan"), float("nan")), Interval(1.0, 1.0))
    assert nothing.verdict == "inconclusive"


def test_an_unknown_claim_names_the_nearest():
    with pytest.raises(ValueError, match="interface-floor"):
        claims.evaluate(Path(), "interface-flor")
