"""How unlike two images look, without a trained network: √(1 − SSIM).

SSIM (Wang, Bovik, Sheikh, Simoncelli 2004) compares local means, variances and covariances under a
Gaussian window. 1 − SSIM is quadratic in small steps, as a squared distance is, so the ratio of two
small responses would come out squared beside that of ‖ΔD‖. The unit here is its root, which is
linear in small steps and, patch by patch, close to a metric (Brunet, Vrscay, Wang 2012).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

WINDOW = 11  # pixels of the Gaussian window of SSIM, of standard deviation 1.5
OUTSIDE = 0.25  # share of numbers beyond black and white that tells of another scale
CELLS = 1 << 20  # numbers of the images that are compared at a time

Images = Float[Array, "N H W C"] | Float[np.ndarray, "N H W C"]


def structural_distance(first: Images, second: Images) -> Float[Array, " N"]:
    """√(1 − SSIM) of image pairs, from 0 (the same) to √2, the mean of SSIM over all channels.

    Images have black at 0 and white at 1; what a decoder puts beyond is clipped, as on a screen.
    Worked in JAX's default precision, whatever the images': 1 − SSIM cancels, so that in float32
    distances below some 10⁻² are rounding.

    Args:
        first: shape (N, H, W, C), H and W at least WINDOW.
        second: the same shape.

    Raises:
        ValueError: on other shapes, images below the window, or images on another scale: more
            than OUTSIDE of their numbers beyond [0, 1], or NaN.
        ImportError: when dm-pix is not installed.
    """
    a, b = _checked(first), _checked(second)
    if a.shape != b.shape:
        raise ValueError(f"expected two stacks of images of one shape, got {a.shape} and {b.shape}")
    return _distances(a, b)


@jax.jit
def _distances(a: Array, b: Array) -> Array:
    size = max(1, CELLS // a[0].size)
    return lax.map(lambda pair: _distance(*pair), (a, b), batch_size=size)


def _distance(a: Array, b: Array) -> Array:
    wide = jnp.zeros(()).dtype
    first, second = (jnp.clip(image, 0, 1).astype(wide) for image in (a, b))
    return jnp.sqrt(jnp.maximum(1 - _ssim()(first, second), 0)).astype(a.dtype)


@functools.cache
def _ssim() -> Callable[[Array, Array], Array]:
    try:
        from dm_pix import ssim
    except ImportError as error:
        raise ImportError(
            f"SSIM is computed by dm-pix, which cannot be imported ({error}); "
            "pip install 'noncommit[images]'"
        ) from error
    return functools.partial(ssim, max_val=1.0, filter_size=WINDOW)


def _checked(images: object) -> Array:
    found = jnp.asarray(images)
    if found.ndim != 4 or found.size == 0 or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"expected floating images (N, H, W, C), N ≥ 1, got {found.dtype} {found.shape}"
        )
    if min(found.shape[1:3]) < WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {WINDOW} × {WINDOW} pixels, got {found.shape[1:3]}"
        )
    if isinstance(found, jax.core.Tracer):  # whoever made the concrete one has seen it
        return found
    share = 1 - float(jnp.mean((found >= 0) & (found <= 1)))
    if share > OUTSIDE or not bool(jnp.all(jnp.isfinite(found))):
        raise ValueError(
            f"images lie on the scale [0, 1], got {float(jnp.min(found)):.6g} to "
            f"{float(jnp.max(found)):.6g}, {share:.0%} of the numbers beyond"
        )
    return found
