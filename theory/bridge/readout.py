"""A linear head argmax_y ⟨w_y, z⟩ + b_y as the power diagram it is."""

import numpy as np
from jax.typing import ArrayLike

from theory.partition import PowerDiagram


def readout(
    weight: ArrayLike, bias: ArrayLike | None = None, *, transpose: bool = False
) -> PowerDiagram:
    """The diagram with sites w_y, the rows of `weight`, and offsets b_y; dtype of the weights.

    Args:
        weight: (classes, latent), or (latent, classes) with `transpose`.
        bias: (classes,); zero when absent.
        transpose: whether the classes are the columns.

    Raises:
        ValueError: unless the shapes agree and at least two classes have different rows.
    """
    given = np.asarray(weight)
    if given.ndim != 2:
        raise ValueError(f"weight has shape {given.shape}, expected (classes, latent)")
    rows = given.T if transpose else given
    offsets = np.zeros(len(rows), rows.dtype) if bias is None else np.asarray(bias)
    _check_bias(given, rows, offsets, transpose)
    _check_classes(given, rows, transpose)
    return PowerDiagram(rows, offsets.astype(rows.dtype))


def check_latents(diagram: PowerDiagram, latents: ArrayLike) -> None:
    """Raise ValueError unless `latents` is (N, n) with N ≥ 1, n the latent dimension."""
    shape = np.shape(latents)
    modes, dimension = diagram.sites.shape
    if len(shape) == 2 and shape[0] >= 1 and shape[1] == dimension:
        return
    advice = "save them as one row a latent"
    if len(shape) == 2 and shape[1] == modes:
        advice = "the other side of the weight matches: transpose it (--transpose)"
    elif len(shape) == 2 and shape[0] == dimension:
        advice = "their other side matches: save them transposed"
    raise ValueError(
        f"latents have shape {shape}, expected (N, {dimension}) with N ≥ 1 for a readout of "
        f"shape {(modes, dimension)} (classes, latent); {advice}"
    )


def _check_bias(given: np.ndarray, rows: np.ndarray, bias: np.ndarray, transpose: bool) -> None:
    """ValueError naming both shapes unless there is one number a class."""
    if bias.shape == rows.shape[:1]:
        return
    advice = "give one number a class"
    if bias.shape == rows.shape[1:]:
        turn = (
            "do not transpose it (drop --transpose)" if transpose else "transpose it (--transpose)"
        )
        advice = f"the other side of the weight matches: {turn}"
    raise ValueError(
        f"bias has shape {bias.shape}, expected ({len(rows)},) for a weight of shape {given.shape}"
        f"{' read transposed' if transpose else ''}; {advice}"
    )


def _check_classes(given: np.ndarray, rows: np.ndarray, transpose: bool) -> None:
    """ValueError for a head that has no boundary."""
    axis = "columns" if transpose else "rows"
    if len(rows) < 2:
        raise ValueError(
            f"weight has shape {given.shape}, {len(rows)} class along its {axis}, expected at "
            f"least 2; {'drop' if transpose else 'add'} --transpose if they lie on the other side"
        )
    if np.all(rows == rows[0]):
        raise ValueError(
            f"all {len(rows)} {axis} of the weight of shape {given.shape} are equal, so no latent "
            "lies on a boundary; expected at least two classes that differ: name another tensor"
        )
