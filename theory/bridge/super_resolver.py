"""The default model of UpscalerJS: an image to a latent of its own size to an image twice as large.

Port of the residual dense network (Zhang et al., 1802.08797) of @upscalerjs/default-model 1.0.0
(Scott, MIT), from its model.json and the numbers beside it. The latent is what the package's layer
FDF holds, 64 channels a pixel: more numbers than the image has, and no bottleneck.
"""

import math
import os

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from theory.bridge.checkpoint import Shape, read_shaped
from theory.bridge.convolution import Convolution, enlarged
from theory.bridge.image_decoder import Images, Latents, check_images, check_latents
from theory.check import check_count

PACKAGE = "@upscalerjs/default-model 1.0.0"
LEVELS = 255  # the package's images have values from 0 to 255
BLOCKS = (1, 2)
FREE = ("F_m1", "F_1_1", "UPN1", "UPN2", "UPN3")  # layers whose number of channels is read off
COLOURS = 3


class SuperResolver(eqx.Module):
    """An `ImageAutoencoder`, but for the sides: images of side 2s come of those of side s.

    Fields:
        layers: the convolutions by the package's names.
        size: side s in pixels of what is encoded.
    """

    layers: dict[str, Convolution]
    size: int = eqx.field(static=True)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], size: int) -> "SuperResolver":
        """The network of the package's model.json, its shard beside it.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when `size` is below 1, or a tensor is missing, torn, not finite or of
                another shape.
        """
        check_count("size", size, 1)
        free = {f"{name}/kernel": (None, None, None, None) for name in FREE}
        channels = [kernel.shape[3] for kernel in read_shaped(path, free, PACKAGE).values()]
        shapes: dict[str, Shape] = {}
        for name, (side, read, written) in _sizes(*channels).items():
            shapes |= {f"{name}/kernel": (side, side, read, written), f"{name}/bias": (written,)}
        tensors = read_shaped(path, shapes, PACKAGE)
        names = sorted({name.partition("/")[0] for name in tensors})
        pairs = {name: (tensors[f"{name}/kernel"], tensors[f"{name}/bias"]) for name in names}
        return cls({name: Convolution(*pair) for name, pair in pairs.items()}, size)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(size, size, 64) for the published weights."""
        return self.size, self.size, self.layers["GFF_2"].kernel.shape[3]

    @property
    def dimension(self) -> int:
        """n, the product of `latent_shape`."""
        return math.prod(self.latent_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(2·size, 2·size, 3)."""
        return 2 * self.size, 2 * self.size, COLOURS

    def encode(self, images: Images) -> Latents:
        """The latents of images of shape (size, size, 3), half the side of what is decoded.

        Two dense blocks x ← x + L(x, relu(F(x))), their results fused, and the first layer added.

        Raises:
            ValueError: as `check_images`.
        """
        images = check_images(images, (self.size, self.size, COLOURS))
        first = self.layers["F_m1"](LEVELS * images)
        x = self.layers["F_0"](first)
        results = []
        for block in BLOCKS:
            grown = jax.nn.relu(self.layers[f"F_{block}_1"](x))
            x = x + self.layers[f"LFF_{block}"](jnp.concatenate([x, grown], axis=3))
            results.append(x)
        fused = self.layers["GFF_1"](jnp.concatenate(results, axis=3))
        return (self.layers["GFF_2"](fused) + first).reshape(-1, self.dimension)

    def decode(self, z: Latents) -> Images:
        """The images of latents, each side doubled before the last convolution.

        Raises:
            ValueError: as `check_latents`.
        """
        x: Array = check_latents(z, self.dimension).reshape(-1, *self.latent_shape)
        for name in ("UPN1", "UPN2"):
            x = jax.nn.relu(self.layers[name](x))
        return self.layers["SR"](enlarged(self.layers["UPN3"](x))) / LEVELS


def _sizes(
    width: int, growth: int, upper: int, middle: int, lower: int
) -> dict[str, tuple[int, int, int]]:
    """Side of the kernel, channels read and written of every layer."""
    blocks = {f"F_{block}_1": (3, width, growth) for block in BLOCKS}
    return {
        "F_m1": (3, COLOURS, width),
        "F_0": (3, width, width),
        **blocks,
        **{f"LFF_{block}": (1, width + growth, width) for block in BLOCKS},
        "GFF_1": (1, len(BLOCKS) * width, width),
        "GFF_2": (3, width, width),
        "UPN1": (5, width, upper),
        "UPN2": (3, upper, middle),
        "UPN3": (3, middle, lower),
        "SR": (3, lower, COLOURS),
    }
