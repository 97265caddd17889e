"""Where `rare` draws: for every mode and class Gaussians of the plane across their hyperplane.

Seen from mode i the hyperplane of class j is at a distance c, and the label of μ(x) changes at a
distance l along its normal ν. With z, x the parts of Z − a_i, X − a_i along ν, the components are

    plain      the law itself, drawn once a mode;
    latent     Z moved onto the hyperplane: (q/p)⁻¹ ≤ e^{−c²/2τ²} beyond it;
    noisy      X moved onto it (or to l, if less): (q/p)⁻¹ ≤ e^{−c²/2v} beyond it, v = τ² + s²;
    raw        the moments of (z, x) given that one of them is beyond c and the other is not;
    mean       the same with x beyond l.

A raw flip has Z or X beyond some hyperplane, so that there the weight is bounded too.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy import special

from theory.gaussian import composite_legendre, pdf
from theory.mixture import Mixture, check_pair
from theory.partition import PowerDiagram

SHARES = (0.1, 0.1, 0.1, 0.35, 0.35)  # of the draws, in the order above
NOMINAL = SHARES[0]
INFLATION = 1.5  # of the covariances of what flips, whose tails are not Gaussian
PAIRS = 1 << 16  # (mode, class) pairs: tables of that size are held
HALVINGS = 10  # of the distance l

Table = Float[np.ndarray, "modes classes"]
Shape = Float[np.ndarray, "modes classes 5"]


class Proposal(NamedTuple):
    """Where draws go: for mode i, class j and component c a Gaussian of the plane (u, ξ).

    Fields:
        own: label of the mean a_i.
        scores: of all classes at a_i.
        apart: ‖w_j − w_own‖, 1 where there is no hyperplane.
        shape: the Gaussian as (mean of u, mean of ξ, L_11, L_21, L_22), LLᵀ its covariance.
        chance: π_ijc, summing to 1.
        cumulative: its partial sums but the last, so that a uniform number picks an entry.
    """

    own: Int[Array, " modes"]
    scores: Float[Array, "modes classes"]
    apart: Float[Array, "modes classes"]
    shape: Float[Array, "modes classes components 5"]
    chance: Float[Array, "modes classes components"]
    cumulative: Float[Array, " entries"]


def propose(mixture: Mixture, diagram: PowerDiagram, scale: float) -> Proposal:
    """The tables; hyperplanes between equal sites do not exist.

    Raises:
        ValueError: on an atom, dimensions that differ, more than 65536 pairs of a mode and a
            class, or flips whose rate is 0 in floating point.
    """
    check_together(mixture, diagram)
    if mixture.modes * diagram.modes > PAIRS:
        raise ValueError(f"{mixture.modes} modes × {diagram.modes} classes exceed {PAIRS} pairs")
    scores, own, apart, exists = seen_from_means(mixture, diagram)
    below = np.take_along_axis(scores, own[:, None], axis=1) - scores
    latent = np.where(exists, np.maximum(below, 0) / apart, 0.0)
    noisy = _leaving(mixture, diagram, scale, own, latent)
    width = np.asarray(mixture.widths, np.float64)[:, None]
    raw, raw_shape = crossing(latent, latent, width, scale)
    mean, mean_shape = crossing(latent, noisy, width, scale)
    near, none = np.minimum(latent, noisy) / (width**2 + scale**2), np.zeros_like(latent)
    moved = ((none, none), (latent / width, none), (width * near, scale * near))
    shapes = [*(_moved(*means) for means in moved), raw_shape, mean_shape]
    masses = np.asarray(mixture.masses, np.float64)[:, None]
    plain = np.zeros_like(latent)
    np.put_along_axis(plain, own[:, None], masses, axis=1)
    flips = (raw, np.maximum(raw, mean), raw, mean)
    parts = [plain, *(exists * masses * part for part in flips)]
    chance = [_shared(part, share) for part, share in zip(parts, SHARES, strict=True)]
    joint = np.stack(chance, axis=-1)
    tables = (scores, apart, np.stack(shapes, axis=2), joint, np.cumsum(joint)[:-1])
    return Proposal(jnp.asarray(own), *(jnp.asarray(t, mixture.means.dtype) for t in tables))


def check_together(mixture: Mixture, diagram: PowerDiagram) -> None:
    """ValueError unless the dimensions are the same and every width is positive."""
    check_pair(mixture, diagram)
    if not float(jnp.min(mixture.widths)) > 0:
        raise ValueError("every width must be positive, got an atom (width 0)")


def seen_from_means(
    mixture: Mixture, diagram: PowerDiagram
) -> tuple[Table, Int[np.ndarray, " modes"], Table, Bool[np.ndarray, "modes classes"]]:
    """Scores at the means, their labels, ‖w_j − w_own‖ or 1, and whether j has a hyperplane."""
    means, sites = (np.asarray(a, np.float64) for a in (mixture.means, diagram.sites))
    scores = means @ sites.T + np.asarray(diagram.offsets, np.float64)
    own = np.argmax(scores, axis=1)
    apart = np.stack([np.linalg.norm(sites - sites[label], axis=1) for label in own])
    groups = diagram.groups()
    exists = groups[None, :] != groups[own][:, None]
    return scores, own, np.where(exists, apart, 1.0), exists


def crossing(
    latent: Table, noisy: Table, width: Float[np.ndarray, "modes 1"], scale: float
) -> tuple[Table, Shape]:
    """P(z < c, x > l) + P(z > c, x < l) with z ~ N(0, τ²), x ~ N(z, s²); the law of what crosses.

    By quadrature over x on either side of l; only the efficiency of the draws depends on how
    accurate it is.
    """
    c, edge, tau = (a[..., None] for a in np.broadcast_arrays(latent, noisy, width))
    variance = tau**2 + scale**2
    nodes, weights = composite_legendre(0.0, 1.0, panels=2)
    lengths = (
        np.sqrt(edge**2 + 60 * variance) - edge,
        np.maximum(edge - c, 0) + 8 * scale,
    )
    moments = np.zeros((6, *latent.shape))
    for side, length in zip((1.0, -1.0), lengths, strict=True):
        x = edge + side * length * nodes**3  # nodes are dense near l
        area = 3 * length * nodes**2 * weights * pdf(x / np.sqrt(variance)) / np.sqrt(variance)
        moments += _moments(x, area, side, c, tau, scale)
    return moments[0], _matched(moments)


def _moments(
    x: np.ndarray, area: np.ndarray, side: float, c: np.ndarray, tau: np.ndarray, scale: float
) -> Float[np.ndarray, "6 modes classes"]:
    """Mass, u, ξ, u², uξ, ξ² of z on its side of c given x, over the nodes x."""
    variance = tau**2 + scale**2
    slope, spread = tau**2 / variance, tau * scale / np.sqrt(variance)
    k = side * (c - slope * x) / spread
    hazard = math.sqrt(2 / math.pi) / special.erfcx(-k / math.sqrt(2))  # φ(k)/Φ(k)
    z = slope * x - side * spread * hazard
    square = z**2 + spread**2 * (1 - k * hazard - hazard**2)
    noise = (x**2 - 2 * z * x + square) / scale**2
    parts = (
        1.0,
        z / tau,
        (x - z) / scale,
        square / tau**2,
        (z * x - square) / (tau * scale),
        noise,
    )
    mass = area * special.ndtr(k)
    return np.stack([np.sum(mass * part, axis=-1) for part in parts])


def _matched(moments: Float[np.ndarray, "6 modes classes"]) -> Shape:
    """The Gaussian of these moments, its covariance inflated; the plain law where mass is 0."""
    seen = moments[0] > 1e-290
    parts = moments[1:] / np.where(seen, moments[0], 1.0)
    u, xi, uu, uxi, xixi = np.where(seen, parts, 0.0)
    least = np.where(seen, 1e-12, 1.0)
    l11 = np.sqrt(np.maximum(INFLATION * (uu - u**2), least))
    l21 = INFLATION * (uxi - u * xi) / l11
    l22 = np.sqrt(np.maximum(INFLATION * (xixi - xi**2) - l21**2, least))
    return np.stack([u, xi, l11, l21, l22], axis=-1)


def _moved(mean_u: Table, mean_xi: Table) -> Shape:
    """The plain law about another mean."""
    one = np.ones_like(mean_u)
    return np.stack([mean_u, mean_xi, one, 0 * one, one], axis=-1)


def _shared(chance: Table, share: float) -> Table:
    total = chance.sum()
    if not total > 0:
        raise ValueError("the rate of these flips is 0 in floating point: modes too far apart")
    return share * chance / total


def _leaving(
    mixture: Mixture, diagram: PowerDiagram, scale: float, own: np.ndarray, latent: Table
) -> Table:
    """l by halving [0, 2c]; c where μ has not left the cell at 2c."""
    sites, means = (np.asarray(a, np.float64) for a in (diagram.sites, mixture.means))
    found = np.array(latent)
    for mode, label in enumerate(own):
        away = sites - sites[label]
        length = np.linalg.norm(away, axis=1, keepdims=True)
        away = away / np.where(length > 0, length, 1.0)
        low, high = np.zeros(diagram.modes), 2 * latent[mode]
        for step in range(HALVINGS + 1):
            middle = (low + high) / 2 if step else high
            x = means[mode] + middle[:, None] * away
            out = _denoised_label(mixture, diagram, scale, x) != label
            if step == 0:
                leaves = out
            else:
                low, high = np.where(out, low, middle), np.where(out, middle, high)
        found[mode] = np.where(leaves, high, latent[mode])
    return found


def _denoised_label(
    mixture: Mixture, diagram: PowerDiagram, scale: float, x: Float[np.ndarray, "rows n"]
) -> Int[np.ndarray, " rows"]:
    """y(μ(x)) without compilation; where to draw need not be known to the last digit."""
    means, widths, masses, sites, offsets = (
        np.asarray(a, np.float64)
        for a in (mixture.means, mixture.widths, mixture.masses, diagram.sites, diagram.offsets)
    )
    variance = widths**2 + scale**2
    square = np.sum(x**2, axis=1, keepdims=True) - 2 * x @ means.T + np.sum(means**2, axis=1)
    logits = np.log(masses) - square / (2 * variance) - means.shape[1] / 2 * np.log(variance)
    weight = special.softmax(logits, axis=1) / variance
    mean = scale**2 * weight @ means + (weight @ widths**2)[:, None] * x
    return np.argmax(mean @ sites.T + offsets, axis=1)
