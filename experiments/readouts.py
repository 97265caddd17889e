"""Synthetic readouts and laws of latents by name, shared by the experiments on residuals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from theory.denoise_step import steps
from theory.mixture import Mixture
from theory.partition import PowerDiagram, simplicial_cluster
from theory.residual import row_space
from theory.residual_law import mean_cosine

MEDIAN = 16_384  # latents behind a median distance
LATENTS = ("gaussian", "overlapping", "separated", "nuisance")
WIDTHS = {"gaussian": 1.0, "overlapping": 1.0, "separated": 0.3, "nuisance": 0.3}
READOUTS = "'code M n', 'lowrank M rank n' or 'simplicial M n'"


def shape_of(diagram: PowerDiagram) -> dict[str, Any]:
    """M, n, the rank, and what isotropic residuals have: rank/n and E|⟨u, ν⟩|."""
    rank = len(row_space(diagram).spectrum)
    return {
        "classes": diagram.modes,
        "dimension": diagram.dimension,
        "rank": rank,
        "isotropic_share": rank / diagram.dimension,
        "isotropic_cosine": mean_cosine(diagram.dimension),
    }


def distances(key: Any, mixture: Mixture, diagram: PowerDiagram) -> np.ndarray:
    """δ(Z) of MEDIAN latents, drawn by what draws them elsewhere: one compilation."""
    drawn = steps(key, mixture, diagram, 1.0, samples=MEDIAN)
    return np.concatenate([np.asarray(step.facet.distance)[: step.live] for step in drawn])


def parsed(words: str) -> tuple[str, int, int, int]:
    """Family, M, rank and n of a readout, or a ValueError that says what was expected."""
    family, *sizes = words.split() or [""]
    counts = {"code": 2, "simplicial": 2, "lowrank": 3}
    if family not in counts or len(sizes) != counts[family] or not all(map(str.isdigit, sizes)):
        raise ValueError(f"a readout is {READOUTS}, got {words!r}")
    modes, *ranks = map(int, sizes)
    rank, dimension = ranks[0], ranks[-1]
    if family == "simplicial":
        rank = modes - 1
    if not 1 < modes <= 4096 or not 1 < rank <= dimension <= 4096:
        raise ValueError(f"a readout has 2 ≤ M ≤ 4096 and 2 ≤ rank ≤ n ≤ 4096, got {words!r}")
    return family, modes, rank, dimension


def check_names(readouts: Sequence[str], laws: Sequence[str]) -> None:
    """ValueError unless every readout and every law of latents is known."""
    for words in readouts:
        parsed(words)
    for name in laws:
        if name not in LATENTS:
            raise ValueError(f"latents are any of {', '.join(LATENTS)}, got {name!r}")


def room(words: str) -> bool:
    """Whether a readout leaves room for nuisance."""
    _, modes, rank, dimension = parsed(words)
    return rank <= dimension - 2 and modes >= 8


def readout(words: str) -> PowerDiagram:
    """The readout of this name, always the same one: sites of norm 1 (simplicial: distance √2)."""
    family, modes, rank, dimension = parsed(words)
    if family == "simplicial":
        return simplicial_cluster(modes, dimension=dimension)
    rng = np.random.default_rng([modes, rank, dimension])
    sites = rng.standard_normal((modes, rank))
    sites /= np.linalg.norm(sites, axis=1, keepdims=True)
    if family == "lowrank":
        sites = sites @ np.linalg.qr(rng.standard_normal((dimension, rank)))[0].T
    return PowerDiagram(sites)


def latents(name: str, words: str) -> Mixture:
    """The law of latents of this name for a readout: M modes of one width.

    gaussian: all modes at 0, N(0, I); the shapes are those of the other laws, so that nothing is
        compiled again.
    overlapping, separated: a mode at √n times every site, of width 1 or 0.3.
    nuisance: every fourth site at 2√n, and four places for each outside of the row space, 2 from
        its axis: what the readout sees is told apart, what it does not see is not.

    Raises:
        ValueError: when the name is not known, or the readout leaves no room for nuisance.
    """
    check_names([words], [name])
    sites = np.asarray(readout(words).sites)
    modes, dimension = sites.shape
    root = math.sqrt(dimension)
    places = {"gaussian": 0.0, "nuisance": 2 * root}.get(name, root) * sites
    if name == "nuisance":
        if not room(words):
            raise ValueError(f"nuisance needs rank ≤ n − 2 and M ≥ 8, got {words!r}")
        basis = row_space(PowerDiagram(sites)).basis
        aside = np.random.default_rng(modes).standard_normal((4, dimension))
        aside -= aside @ basis.T @ basis
        aside *= 2 / np.linalg.norm(aside, axis=1, keepdims=True)
        which = np.arange(modes)
        places = places[which // 4 * 4] + aside[which % 4]
    return Mixture(places, WIDTHS[name])
