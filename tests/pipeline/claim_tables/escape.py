"""Collapse, the order of ODE and SDE, what is vacuous, and margins."""

from functools import partial
from typing import Any

from experiments import store
from experiments.claims import escapes, margins
from theory import bound

CLAIMS = [claim for part in (escapes, margins) for claim in part.CLAIMS]
PLAIN = {"length": 64, "schedule": "flow", "grid": "uniform", "guidance": 0.0, "floor": 0.0}


def estimated(relative: float = 0.01, **named: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named.items():
        found |= {f"{name}_value": value, f"{name}_sem": relative * abs(value)}
        found |= {f"{name}_bias": 0.0, f"{name}_count": 10**5}
    return found


def pair(dimension: int, gain: float, relative: float, **varied: Any) -> list[store.Row]:
    """ODE and churn ½ at K = 2, V = 64."""
    shared = {**PLAIN, "language": f"markov 64 0.05 {dimension} random", "draw": 0, "steps": 2}
    return [
        {**shared, **varied, "churn": churn, **estimated(relative, perplexity=value, entropy=2.0)}
        for churn, value in ((0.0, 20 * gain), (0.5, 20.0))
    ]


def churn_rows(gains: tuple[float, float], relative: float, entropy: float) -> list[store.Row]:
    rows = pair(16, gains[0], relative) + pair(128, gains[1], relative, guidance=1.5)
    restart = {**rows[0], "churn": 1.0, "grid": "cosine", **estimated(entropy=entropy)}
    return [*rows, restart]


def few_rows(entropy: float) -> list[store.Row]:
    return [{"family": "reference", "steps": 1, **estimated(entropy=entropy)}]


def residual_rows(share: float) -> list[store.Row]:
    return [{"family": "terminal", "rank": 8, "dimension": 8, **estimated(0.0, share=share)}]


def factor_rows(cci: float) -> list[store.Row]:
    directions = estimated(0.0, cci_isotropic=cci, cci_normal=cci)
    return [{"family": "generator", "carrier": "factor 0.5", **directions}]


def law_rows(mean: float, margins: float, relative: float, count: int = 10**6) -> list[store.Row]:
    flips = estimated(paired_mean=mean) | {"paired_mean_count": count}
    areas = estimated(relative, area_margins=margins, area_crofton=1.0)
    return [{"pair": "half_space", "scale": 0.5, "oracle_raw": 0.119, **flips, **areas}]


def area_rows(over: float, relative: float = 1e-3) -> list[store.Row]:
    area = over * bound.interface_floor(8)
    own = {"pair": "simplicial_8", "scale": 0.1, "modes": 8}
    other = {**own, "pair": "mixture", **estimated(area_crofton=9.0)}
    return [{**own, **estimated(relative, area_crofton=area)}, other]


def head_rows(nearest: float) -> list[store.Row]:
    return [{"decoder": "head", "runner_up_share": nearest}]


TRUE = [
    ("one-step-collapse", partial(few_rows, 0.0)),
    ("churn-restart", partial(churn_rows, (0.5, 2.0), 0.01, 0.0)),
    ("churn-ingredients", partial(churn_rows, (0.5, 2.0), 0.01, 0.0)),
    ("row-space-vacuous", partial(residual_rows, 1.0)),
    ("cci-factor", partial(factor_rows, 0.75)),
    ("mean-leaves-sandwich", partial(law_rows, 0.11, 1.0, 0.005)),
    ("tube-margins", partial(law_rows, 0.11, 1.0, 0.005)),
    ("area-is-perimeter", partial(area_rows, 1.0)),
    ("decoder-runner-up", partial(head_rows, 0.84)),
]
BENT = [
    ("one-step-collapse", partial(few_rows, 2.01)),
    ("churn-restart", partial(churn_rows, (0.5, 2.0), 0.01, 1.0)),
    ("churn-ingredients", partial(churn_rows, (0.5, 0.5), 0.01, 0.0)),
    ("row-space-vacuous", partial(residual_rows, 0.99)),
    ("cci-factor", partial(factor_rows, 0.5)),
    ("mean-leaves-sandwich", partial(law_rows, 0.13, 1.0, 0.005)),
    ("tube-margins", partial(law_rows, 0.11, 2.0, 0.005)),
    ("area-is-perimeter", partial(area_rows, 1.05)),
    ("decoder-runner-up", partial(head_rows, 0.99)),
]
VAGUE = [
    ("churn-ingredients", partial(churn_rows, (0.9, 2.0), 0.1, 0.0)),
    ("mean-leaves-sandwich", partial(law_rows, 0.11, 1.0, 0.005, count=1000)),
    ("tube-margins", partial(law_rows, 0.11, 1.0, 0.1)),
    ("area-is-perimeter", partial(area_rows, 1.0, 0.05)),
]
OTHER: list = []
