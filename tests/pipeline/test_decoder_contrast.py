"""decoder_contrast on decoders small enough to know the answers; its grids, cells and claims."""

import math
from dataclasses import asdict, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    contrast_images,
    decoder_contrast,
    decoders,
    real_heads,
    runtime,
    store,
)
from experiments.claims import CLAIMS
from experiments.image_decoders import Source
from tests.pipeline.small_heads import forget, reader, sampled
from tests.refusals import refusals
from theory.mixture import Mixture

BY_ID = {claim.id: claim for claim in CLAIMS}
SIDE, LATENT = 11, 6  # the least side that SSIM's window fits into
TEXT = decoder_contrast.Cell("step", "text", "textgenrnn", "none", 0.5, 0.25, 90, 0, 12, 0)
IMAGE = decoder_contrast.Cell("step", "image", "small", "none", 0.1, 0.25, 24, 24, 4, 0)


class Isometry(eqx.Module):
    """z ↦ ½ + Qz with orthonormal columns Q, but for one of them that is `steep` times as long."""

    matrix: jax.Array

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SIDE, SIDE, 3

    def decode(self, z: jax.Array) -> jax.Array:
        return 0.5 + (z @ self.matrix.T).reshape(-1, *self.image_shape)

    def encode(self, images: jax.Array) -> jax.Array:
        return (images - 0.5).reshape(len(images), -1) @ self.matrix


def small(steep: float = 1.0) -> Source:
    rng = np.random.default_rng(3)
    columns = np.linalg.qr(rng.standard_normal((SIDE * SIDE * 3, LATENT)))[0]
    matrix = jnp.asarray(columns * np.where(np.arange(LATENT) == 0, steep, 1.0))
    latents = 0.3 * rng.standard_normal((24, LATENT))
    images = np.asarray(Isometry(matrix).decode(latents))
    law = Mixture(np.zeros((1, LATENT)), 0.3)
    return Source(Isometry(matrix), latents, np.arange(24) // 2, law, 0.3, images)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch):
    """Small decoders in the place of all real ones."""
    forget()
    monkeypatch.setattr(real_heads, "sampled", sampled)
    monkeypatch.setattr(decoders, "model", lambda name: reader())
    monkeypatch.setattr(contrast_images, "source", lambda *asked: small())
    yield
    forget()


def measured(cell: Any) -> store.Row:
    """The row under one fixed key, so that only the cell can make the difference."""
    forget()
    found = decoder_contrast.measure(cell, runtime.cell_key({"fixed": True}, 0))
    row = store.flatten(found[0] if isinstance(found, tuple) else found)
    assert not row.keys() & asdict(cell).keys()
    return row


BAD = {
    "unknown decoder 'g2p': did you mean 'g2p-en'?": lambda: decoder_contrast.Grid(("g2p",)),
    "unknown image decoder 'taef': did you mean 'taef2'?": lambda: decoder_contrast.Grid(
        images=("taef",)
    ),
    "unknown family 'steps'": lambda: decoder_contrast.Grid(families=("steps",)),
    "expected count ≥ 16, crops ≥ 4, most ≥ 2, modes ≥ 2 and training ≥ 1, got 8, 128": (
        lambda: decoder_contrast.Grid(count=8)
    ),
    "and training ≥ 1, got 4000, 128, 32, 128 and 0": lambda: decoder_contrast.Grid(training=0),
    "must be positive and finite, got (0.0, 0.25, 0.1)": lambda: decoder_contrast.Grid(
        lengths=(0.0,)
    ),
    "must be positive and finite, got (0.25, 0.1)": lambda: decoder_contrast.Grid(lengths=()),
    "must be positive and finite, got (0.1, nan, 0.1)": lambda: decoder_contrast.Grid(
        lengths=(0.1,), noise=math.nan
    ),
}
test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


def test_every_preset_has_every_decoder_in_every_family_it_names():
    for grid in decoder_contrast.PRESETS.values():
        made = decoder_contrast.cells(grid)
        assert len(set(made)) == len(made)
        seen = {(cell.family, cell.decoder) for cell in made if cell.kind != "synthetic"}
        families = set(grid.families) - {"generator"}
        wanted = {(f, d) for f in families for d in (*grid.text, *grid.images)}
        assert wanted - seen <= {("strip", "pp-ocr")}  # frames of a line are not a text


def test_an_isometry_feels_all_directions_alike_and_its_psnr_is_perfect():
    row = measured(IMAGE)
    for way in ("singular", "residual"):
        lower, upper = (row[f"dabi_{way}_output_{end}"] for end in ("lower", "upper"))
        assert lower <= 1 <= upper
        assert abs(row[f"dabi_{way}_output_value"] - 1) < 1e-6
        assert abs(row[f"{way}_amplification_value"] - 1) < 1e-6
    assert row["independent"] == 12
    assert row["latents"] == 24
    spectrum = measured(replace(IMAGE, family="spectrum"))
    assert abs(spectrum["stretch"] - 1) < 1e-6
    assert abs(spectrum["effective_rank_value"] - LATENT) < 1e-6
    assert spectrum["psnr_value"] > 100


def test_a_steep_column_is_the_singular_direction(monkeypatch):
    monkeypatch.setattr(contrast_images, "source", lambda *asked: small(5.0))
    row = measured(IMAGE)
    assert abs(row["singular_amplification_value"] - 5) < 1e-3
    assert 2 < row["dabi_singular_output_value"] < 5


def test_a_posterior_mean_of_a_gaussian_erases_what_its_slope_says():
    row = measured(replace(IMAGE, family="generator", way="denoise"))
    slope = 0.3**2 / (0.3**2 + row["scale"] ** 2)
    assert abs(row["cci_isotropic_value"] - (1 - slope**2)) < 1e-6
    again = measured(replace(IMAGE, family="generator", way="encode again"))
    assert abs(again["cci_isotropic_value"]) < 1e-6  # an isometry undone is a pass-through


def test_a_strip_holds_the_images_of_every_direction_as_grey_levels():
    key = runtime.cell_key({"fixed": True}, 0)
    _, arrays = contrast_images.strip_row(replace(IMAGE, family="strip"), key)
    assert arrays.keys() == {"clean", "singular", "residual", "isotropic"}
    for images in arrays.values():
        assert images.dtype == np.uint8
        assert images.shape == (contrast_images.SHOWN, SIDE, SIDE, 3)
    clean = np.round(255 * np.clip(small().truth[::2][:4], 0, 1))
    np.testing.assert_array_equal(arrays["clean"], clean)
    assert (arrays["singular"] != arrays["clean"]).any()


def test_text_steps_are_as_long_as_asked_in_units_of_the_norm():
    row = measured(TEXT)
    latents = sampled("textgenrnn", 90)[1].latents
    norm = np.median(np.linalg.norm(latents, axis=1))
    assert row["norm_median"] == pytest.approx(norm)
    assert row["step"] == pytest.approx(0.5 * norm)
    assert row["scale"] == pytest.approx(0.25 * norm / math.sqrt(3))
    assert row["normal_flips_value"] >= row["isotropic_flips_value"]


def test_a_generator_of_tokens_erases_and_one_of_averages_does_not():
    hard = measured(replace(TEXT, family="generator", way="token"))
    soft = measured(replace(TEXT, family="generator", way="average"))
    assert hard["cci_isotropic_value"] == 1
    assert soft["cci_isotropic_value"] < 1
    assert hard["retention_value"] == 1


def test_the_spectrum_of_a_head_is_that_of_its_centred_weights():
    found, arrays = decoder_contrast.measure(
        replace(TEXT, family="spectrum"), runtime.cell_key({}, 0)
    )
    sites = np.asarray(sampled("textgenrnn", 90)[0].sites)
    values = np.linalg.svd(sites - sites.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(arrays["spectrum"], values, rtol=1e-12)
    assert found["effective_rank"] == pytest.approx((values**2).sum() / values[0] ** 2)


def test_a_strip_of_text_says_the_same_only_where_no_token_flips():
    row = measured(replace(TEXT, family="strip", length=1e-6))
    assert row["said_0_clean"] == row["said_0_normal"] == row["said_0_isotropic"]
    far = measured(replace(TEXT, family="strip", length=3.0))
    assert far["said_0_normal"] != far["said_0_clean"]


CHANGES = {"decoder": "g2p-en", "length": 0.7, "noise": 0.4, "count": 99, "modes": 9}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_of_a_text_cell_counts(field):
    assert measured(replace(TEXT, **{field: CHANGES[field]})) != measured(TEXT)


def ratio(kind: str, column: str, low: float, high: float | None) -> store.Row:
    ends = {"lower": low, "upper": high, "value": None if high is None else (low + high) / 2}
    return {"family": "step", "kind": kind, "length": 0.1} | {
        f"{column}_{name}": value for name, value in ends.items()
    }


@pytest.mark.parametrize(
    ("name", "kind", "column"),
    [
        ("contrast-image-residual", "image", "dabi_residual_output"),
        ("contrast-text-residual", "text", "dabi_residual_output"),
    ],
)
@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.9, 1.1, "holds"), (0.3, 1.1, "inconclusive"), (3.0, 4.0, "refuted")],
)
def test_residuals_are_as_isotropic_steps_within_a_factor_of_two(
    name, kind, column, low, high, verdict
):
    rows = [ratio(kind, column, low, high)]
    other = ratio("text" if kind == "image" else "image", column, 9.0, 10.0)
    assert BY_ID[name].judge([*rows, other]).verdict == verdict


@pytest.mark.parametrize(
    ("name", "kind", "column"),
    [
        ("contrast-image-worst", "image", "dabi_singular_output"),
        ("contrast-text-worst", "text", "dabi_normal_flips"),
    ],
)
@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(2.5, 9.0, "holds"), (3.0, None, "holds"), (1.0, 9.0, "inconclusive"), (0.5, 1.5, "refuted")],
)
def test_worst_directions_are_felt_over_twice_as_much(name, kind, column, low, high, verdict):
    assert BY_ID[name].judge([ratio(kind, column, low, high)]).verdict == verdict
