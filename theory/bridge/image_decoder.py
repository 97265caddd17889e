"""What an image decoder is: flat latents in, images on the scale [0, 1] out, differentiable."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Latents = Float[Array, "rows n"]
Images = Float[Array, "rows height width channels"]


@runtime_checkable
class ImageDecoder(Protocol):
    """An equinox module whose `decode` is a smooth map almost everywhere, by jvp and by vjp.

    Images have channels red, green, blue; black is 0 and white 1, and nothing is clipped. The
    dtype follows weights and latents as in any JAX product: float64 when either is.
    """

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent before it is flattened in row-major order, channels last."""

    @property
    def dimension(self) -> int:
        """n, the product of `latent_shape`."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height and width in pixels, channels."""

    def decode(self, z: Latents) -> Images:
        """The images of latents.

        Raises:
            ValueError: as `check_latents`.
        """


@runtime_checkable
class ImageAutoencoder(ImageDecoder, Protocol):
    """A decoder with the encoder that it was trained with."""

    def encode(self, images: Images) -> Latents:
        """The latents of images.

        Raises:
            ValueError: as `check_images`.
        """


def check_latents(z: object, dimension: int) -> Latents:
    """The latents as an array, or ValueError unless floating, finite, of shape (rows, n)."""
    latents = jnp.asarray(z)
    if latents.ndim != 2 or latents.shape[1] != dimension or latents.shape[0] == 0:
        raise ValueError(
            f"latents must have shape (rows, {dimension}), rows ≥ 1, got shape {latents.shape}"
        )
    _check_floating("latents", latents)
    values = _known(latents)
    if values is not None and not np.isfinite(values).all():
        raise ValueError("latents must be finite, got NaN or infinity")
    return latents


def check_images(images: object, shape: tuple[int, int, int]) -> Images:
    """The images as an array, or ValueError unless floating, in [0, 1], of shape (rows, *shape)."""
    array = jnp.asarray(images)
    if array.ndim != 4 or array.shape[1:] != shape or array.shape[0] == 0:
        wanted = ", ".join(map(str, shape))
        raise ValueError(
            f"images must have shape (rows, {wanted}), rows ≥ 1, got shape {array.shape}"
        )
    _check_floating("images", array)
    values = _known(array)
    if values is not None and not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"images must lie in [0, 1], got values from {values.min():g} to {values.max():g}"
        )
    return array


def _check_floating(name: str, array: Array) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating, got dtype {array.dtype}")


def _known(array: Array) -> np.ndarray | None:
    """The numbers, unless the array is traced: then whoever made the concrete one knows them.

    They are NumPy's: within a trace JAX would trace what is asked of a concrete array too.
    """
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)
