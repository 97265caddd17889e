"""Standard Gaussian: φ, Φ, tails, quantiles, isoperimetric profile, expected maximum.

Closed forms compute in NumPy/SciPy float64 whatever JAX's x64 setting; `pdf` and `tail` also
take JAX arrays and then follow their dtype.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from scipy import special

from theory.check import check_count
from theory.devices import spread

SQRT_TWO_PI = math.sqrt(2 * math.pi)


def pdf(x: Any) -> Any:
    """φ(x) = e^{−x²/2}/√(2π)."""
    xp = jnp if isinstance(x, jax.Array) else np
    return xp.exp(-0.5 * xp.square(x)) / SQRT_TWO_PI


def tail(x: Any) -> Any:
    """Q(x) = 1 − Φ(x), accurate to rounding in the upper tail."""
    if isinstance(x, jax.Array):
        return jax.scipy.special.erfc(x / math.sqrt(2)) / 2
    return special.ndtr(-np.asarray(x, dtype=np.float64))[()]


def log_cdf(x: Any) -> Any:
    """log Φ(x) with small *relative* error in both tails.

    log(erfcx(−x/√2)/2) − x²/2 for x < 0; log1p(−erfc(x/√2)/2) for x ≥ 0, where the library
    function for JAX arrays loses relative accuracy (3.5% at x = 7.9).
    """
    jaxed = isinstance(x, jax.Array)
    xp: Any = jnp if jaxed else np
    sp: Any = jax.scipy.special if jaxed else special
    x = x if jaxed else np.asarray(x, dtype=np.float64)
    negative, positive = xp.minimum(x, 0.0), xp.maximum(x, 0.0)
    lower = xp.log(sp.erfcx(-negative / math.sqrt(2)) / 2) - negative**2 / 2
    upper = xp.log1p(-sp.erfc(positive / math.sqrt(2)) / 2)
    return xp.where(x < 0, lower, upper)[()]


def quantile(v: Any) -> Any:
    """Φ⁻¹(v). Above ½ prefer `tail_quantile(1 − v)` where 1 − v is known exactly.

    Raises:
        ValueError: when some v is outside [0, 1] or NaN.
    """
    return special.ndtri(_checked_mass(v))[()]


def tail_quantile(q: Any) -> Any:
    """Q⁻¹(q), the x with 1 − Φ(x) = q: accurate for upper tails too thin for 1 − q to hold.

    Raises:
        ValueError: when some q is outside [0, 1] or NaN.
    """
    return -special.ndtri(_checked_mass(q))[()]


def isoperimetric_profile(v: Any) -> Any:
    """I(v) = φ(Φ⁻¹(v)), the least perimeter of a set of mass v (Borell; Sudakov, Tsirelson).

    Computed as v·φ(x)/Φ(x) with x = Φ⁻¹(v), whose relative condition is 1 where φ(Φ⁻¹(v)) has
    condition x²; symmetric, I(v) = I(1 − v).

    Args:
        v: masses in [0, 1], any shape.

    Raises:
        ValueError: when some v is outside [0, 1] or NaN.
    """
    mass = _checked_mass(v)
    small = np.minimum(mass, 1 - mass)
    inner = np.where(small > 0, small, 0.5)
    hazard = math.sqrt(2 / math.pi) / special.erfcx(-special.ndtri(inner) / math.sqrt(2))
    return np.where(small > 0, inner * hazard, 0.0)[()]


@partial(jax.jit, static_argnames=("shape", "dtype", "samples"))
def normal(
    key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = None, samples: int | None = None
) -> Array:
    """Independent N(0, 1) draws; float64 ones by Φ⁻¹ of 52-bit uniforms.

    That is four times as fast on CPU as the library's inverse error function in float64, and
    reaches 8.1σ on either side where float32 draws stop near 5σ.

    Args:
        key: PRNG key.
        shape: of the draws.
        dtype: JAX's default if None.
        samples: the axis of samples, which the local devices draw and keep each a share of
            (`theory.devices.spread`); None if the draws are no samples.
    """
    dtype = jnp.zeros((), dtype).dtype
    if dtype != jnp.float64:
        return _spread(jax.random.normal(key, shape, dtype), samples)
    # The uniforms are multiples of 2⁻⁵²; a zero becomes half a step, as far out as 1 − 2⁻⁵³.
    half_step = float(jnp.finfo(dtype).epsneg)
    uniform = jnp.maximum(jax.random.uniform(key, shape, dtype), half_step)
    return _spread(jax.scipy.special.ndtri(uniform), samples)


def _spread(draws: Array, samples: int | None) -> Array:
    return draws if samples is None else spread(draws, samples)


def expected_maximum(count: int) -> float:
    """a_M = E max of M iid N(0,1) = ∫_0^∞ (1 − Φ(x)^M − Φ(−x)^M) dx.

    Raises:
        ValueError: when count is not an integer ≥ 1.
    """
    check_count("count", count, 1)
    nodes, weights = composite_legendre(0.0, 40.0, panels=160)
    upper = -np.expm1(count * log_cdf(nodes))
    lower = np.exp(count * log_cdf(-nodes))
    return math.fsum(weights * (upper - lower))


def composite_legendre(lower: float, upper: float, panels: int, order: int = 20) -> tuple[Any, Any]:
    """Nodes and weights of Gauss–Legendre of the given order on equal panels of [lower, upper]."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = (upper - lower) / (2 * panels)
    centres = lower + half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * nodes).ravel(), np.tile(half * weights, panels)


def _checked_mass(v: Any) -> np.ndarray:
    mass = np.asarray(v, dtype=np.float64)
    outside = mass[~((mass >= 0) & (mass <= 1))]  # NaN is outside
    if mass.size == 0 or outside.size:
        raise ValueError(f"a mass lies in [0, 1], got {outside[0] if outside.size else 'none'}")
    return mass
