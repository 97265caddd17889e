"""`diagnostic_taxonomy`: fields that count, refusals, claims on handmade rows, pictures."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from experiments import diagnostic_taxonomy as taxonomy
from experiments import embedded, generators, runtime, store
from experiments.claims import diagnostic as claims
from figures import diagnostic_taxonomy as pictures
from tests.pipeline.drawn import column, ends, save, shown
from tests.refusals import refusals

GENERATOR = taxonomy.Cell(
    "generator", "random 5 3", "soft 1", "argmax", 0.0, 2.0, 1.0, 0.1, "none", 0.0, 0.0, 0.01
)
ABLATION = taxonomy.Cell(
    "ablation", "random 5 3 4", "none", "none", 0, 0, 0, 0, "bisection", 0.0, 0.25, 0.01
)


def measured(cell) -> store.Row:
    """The row under one fixed key, so that only the cell can make the difference."""
    return store.flatten(taxonomy.measure(cell, runtime.cell_key({"fixed": True}, 0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        (
            GENERATOR,
            {
                "readout": "clustered 5 3",
                "carrier": "soft 2",
                "decoder": "smooth",
                "noise": 1.0,
                "length": 1.0,
                "scale": 0.5,
                "width": 0.2,
                "effort": 0.2,
            },
        ),
        (
            ABLATION,
            {"order": "left-to-right", "softness": 1.0, "read": 2.0, "effort": 0.1},
        ),
    ],
    ids=["generator", "ablation"],
)
def test_swept_fields_change_the_row(cell, changes: dict):
    before = measured(cell)
    for name, value in changes.items():
        assert measured(replace(cell, **{name: value})) != before, name


def test_grid_fields_reach_cells():
    grid = taxonomy.Grid(
        ("simplex 3 4", "lowrank 8 2 4"),
        ("pass", "context 1"),
        noises=(0.0, 0.5),
        languages=("random 5 3 4",),
        orders=("bisection",),
        softnesses=(0.5,),
        reads=(0.3,),
        length=1.5,
        scale=0.7,
        width=0.2,
        effort=0.1,
    )
    made = taxonomy.cells(grid)
    names = [(c.readout, c.carrier, c.decoder, c.noise) for c in made]
    assert names == [
        ("simplex 3 4", "pass", "argmax", 0.0),
        ("simplex 3 4", "pass", "argmax", 0.5),
        ("simplex 3 4", "pass", "smooth", 0.0),
        ("simplex 3 4", "context 1", "argmax", 0.0),
        ("simplex 3 4", "context 1", "argmax", 0.5),
        ("lowrank 8 2 4", "pass", "argmax", 0.0),
        ("lowrank 8 2 4", "pass", "argmax", 0.5),
        ("random 5 3 4", "none", "none", 0.0),
    ]
    first, last = made[0], made[-1]
    assert (first.length, first.scale, first.width, first.effort) == (1.5, 0.7, 0.2, 0.1)
    assert (last.order, last.softness, last.read) == ("bisection", 0.5, 0.3)
    assert all(taxonomy.cost(cell) > 0 for cell in made)
    for preset in taxonomy.PRESETS.values():
        configs = [store.canonical(store.configuration(c)) for c in taxonomy.cells(preset)]
        assert len(set(configs)) == len(configs)
    assert {f.name for f in fields(taxonomy.Grid)} >= {"readouts", "carriers", "decoders"}


@pytest.mark.parametrize("words", ["random 6 4", "clustered 6 4", "simplex 5 4", "lowrank 6 2 4"])
def test_embeddings_have_their_norm_and_rank(words: str):
    _, vocabulary, rank, dimension = embedded.table_sizes(words)
    table = embedded.table(words)
    assert table.shape == (vocabulary, dimension)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), math.sqrt(dimension), rtol=1e-12)
    assert np.linalg.matrix_rank(table) == rank
    np.testing.assert_array_equal(
        embedded.readout(words).label(embedded.latents(words, 0.1).means), np.arange(vocabulary)
    )
    turn = embedded.orthogonal(dimension)
    np.testing.assert_allclose(turn @ turn.T, np.eye(dimension), atol=1e-12)


@pytest.mark.slow
def test_rows_of_known_carriers():
    row = measured(replace(GENERATOR, carrier="pass"))
    assert (row["cci_isotropic_value"], row["cci_normal_value"]) == pytest.approx((0, 0), abs=1e-9)
    assert row["retention_value"] == 1
    assert row["dabi_value"] == row["dabi_normal_flips_value"]
    assert row["dabi_response"] == "flips"
    ode = measured(replace(GENERATOR, carrier="ode 0.2 0.1"))
    assert ode["cci_isotropic_value"] == pytest.approx(
        claims.carried_law({"carrier": "ode 0.2 0.1", "width": 0.1}), abs=0.01
    )
    said = measured(ABLATION)
    assert said["distinct"] <= said["perplexity_count"] == 64
    assert said["perplexity_over_truth_value"] == pytest.approx(1, abs=0.5)


BAD = {
    "a carrier is 'pass', 'commit'": lambda: taxonomy.Grid(carriers=("soft",)),
    "numbers positive, got 'soft -1'": lambda: generators.parsed("soft -1"),
    "numbers positive, got 'soft one'": lambda: generators.parsed("soft one"),
    "got 'melt 1'": lambda: generators.parsed("melt 1"),
    "got ''": lambda: generators.parsed(""),
    "noise falls in a step, s′ < s, got 'ode 1 2'": lambda: generators.parsed("ode 1 2"),
    "embeddings are 'KIND V n'": lambda: taxonomy.Grid(readouts=("random 64",)),
    "2 ≤ rank ≤ n, got 'lowrank 8 5 4'": lambda: embedded.table_sizes("lowrank 8 5 4"),
    "a simplex has V ≤ n + 1, got 'simplex 6 4'": lambda: embedded.table_sizes("simplex 6 4"),
    "a language is 'KIND V n L'": lambda: taxonomy.Grid(languages=("lowrank 8 2 4",)),
    "with L from 2 to 4096, got 'random 8 4 1'": lambda: embedded.language_sizes("random 8 4 1"),
    "orders are any of bisection, left-to-right, got ('odd',)": lambda: taxonomy.Grid(
        orders=("odd",)
    ),
    "decoders are any of argmax, smooth, got ('odd',)": lambda: taxonomy.Grid(decoders=("odd",)),
    "noises must be finite and ≥ 0, got (-1.0,)": lambda: taxonomy.Grid(noises=(-1.0,)),
    "softnesses lie in [0, 1], got (2.0,)": lambda: taxonomy.Grid(softnesses=(2.0,)),
    "reads must be positive and finite, got (0.0,)": lambda: taxonomy.Grid(reads=(0.0,)),
    "effort must be positive and finite, got nan": lambda: taxonomy.Grid(effort=math.nan),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


# Claims

BY_ID = {claim.id: claim for claim in claims.CLAIMS}


def estimated(name: str, value: float, half: float, count: int = 10**6) -> dict:
    """The columns of an estimate whose interval reaches about `half` to either side."""
    sem = half / 6.11
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": count}


CCI = {"pass": 0.0, "commit": 1.0, "constant": 1.0, "soft 1": 0.8, "ode 0.5 0.25": 0.7304}
KEPT = {"constant": 0.02}


def generator(carrier: str, off: float, half: float, decoder: str = "argmax") -> store.Row:
    """A row whose CCI is `off` away from the true one, and DABI less by that."""
    bent = CCI[carrier] + (off if carrier != "soft 1" else 5 * off)
    row = {
        "family": "generator",
        "readout": "random 64 16",
        "carrier": carrier,
        "decoder": decoder,
        "noise": 0.0,
        "width": 0.1,
        "dabi_response": "flips" if decoder == "argmax" else "output",
        **estimated("cci_isotropic", bent, half),
        **estimated("cci_normal", bent, half),
        **estimated("retention", KEPT.get(carrier, 1.0), 0.0, 40 if half else 10**5),
        **ends("dabi", 20.0 if decoder == "argmax" else 1.0, 0.3),
    }
    value = 20 * (1 - 4 * off) if decoder == "argmax" else 1 + off
    names = (
        ["dabi_normal_flips"]
        if decoder == "argmax"
        else [f"dabi_{way}_output" for way in claims.VARIANTS]
    )
    for name in names:
        row |= ends(name, value, half)
    return row


def ablation(softness: float, off: float, half: float, **options) -> store.Row:
    over = 2.5 - 8 * off if softness else 1 + off
    entropy = 3.0 + 5 * off if softness else 4.0
    return {
        "family": "ablation",
        "readout": "random 64 16 32",
        "order": "bisection",
        "read": 0.25,
        "softness": softness,
        "entropy_truth": 4.0,
        **estimated("perplexity_over_truth", over, max(half, 0.01) * over),
        **estimated("entropy", entropy, max(half, 0.01) * 4),
    } | options


def table(off: float = 0.0, half: float = 0.0) -> list[store.Row]:
    made = [generator(carrier, off, half) for carrier in CCI]
    made.append(generator("pass", off, half, "smooth"))
    return made + [ablation(x, off, half) for x in (0.0, 1.0)]


@pytest.mark.parametrize("claim", BY_ID)
def test_true_rows_hold_and_rows_bent_are_refuted(claim: str):
    assert BY_ID[claim].judge(table()).verdict == "holds"
    assert BY_ID[claim].judge(table(0.25)).verdict == "refuted"


@pytest.mark.parametrize("claim", BY_ID)
def test_vague_rows_say_nothing_and_no_rows_are_missing(claim: str):
    assert BY_ID[claim].judge(table(half=0.95)).verdict == "inconclusive"
    assert BY_ID[claim].judge([]).verdict == "missing"


def test_a_commit_that_forgets_and_a_constant_that_keeps_are_refuted():
    rows = table()
    for row in rows:
        if row.get("carrier") in ("commit", "constant"):
            row["retention_value"] = 0.5
    assert BY_ID["cci-commit"].judge(rows).verdict == "refuted"
    assert BY_ID["cci-constant"].judge(rows).verdict == "refuted"


def test_no_isotropic_flip_leaves_a_lower_end():
    rows = table()
    for row in rows:
        row |= {"dabi_normal_flips_value": None, "dabi_normal_flips_upper": None}
    assert BY_ID["dabi-argmax"].judge(rows).verdict == "holds"


# Pictures


def test_pictures_show_their_tables():
    rows = [*table(half=0.01), generator("soft 1", 0.0, 0.01) | {"noise": 1.0}]
    rows[1] |= {"dabi_value": None, "dabi_upper": None}
    rows.append(ablation(1.0, 0.0, 0.02, read=0.5, order="left-to-right"))
    figures = pictures.draw(rows)
    assert set(figures) == {"plane-0", "plane-1", "ablation-random-64-16-32"}
    made = [r for r in rows if r["family"] == "generator" and r["noise"] == 0]
    for axes, way in zip(figures["plane-0"].axes, ("isotropic", "normal"), strict=True):
        drawn = np.concatenate([c.lines[0].get_xydata() for c in axes.containers])
        want = [(row["dabi_value"] or row["dabi_lower"], row[f"cci_{way}_value"]) for row in made]
        np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(want))
        said = {text.get_text() for text in axes.texts}
        assert said >= set(CCI)
    top, bottom = figures["ablation-random-64-16-32"].axes
    lost = [r for r in rows if r["family"] == "ablation"]
    over, entropy = (
        sorted(column(lost, f"{n}_value")) for n in ("perplexity_over_truth", "entropy")
    )
    np.testing.assert_allclose(shown(top)[:, 0], over)
    np.testing.assert_allclose(shown(bottom)[:, 0], entropy)
    save(figures)
    assert pictures.draw([]) == {}
