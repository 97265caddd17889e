"""The tiny autoencoder of the FLUX.2 latent: images to 32 channels at an eighth of the side.

Port of taef2 of madebyollin/taesd (Bohan, MIT) at commit 5cccb12d, from its tensors alone. No
package carries them; `theory.bridge.catalog` says how to give the two files.
"""

import itertools
import math
import os
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.bridge.checkpoint import Shape, read_shaped
from theory.bridge.convolution import Convolution, enlarged
from theory.bridge.image_decoder import Images, Latents, check_images, check_latents
from theory.check import check_count

PACKAGE = "taef2 (madebyollin/taesd)"
FACTOR = 8  # sides of image and latent
GROUPS = 4  # of channels, normalized together
EPSILON = 1e-5  # beside the variances
SPREAD = 4  # channels of a pool for one of its block
BOUND = 3  # the decoder reads B tanh(z/B)
CONVOLUTIONS = ("conv.0", "conv.2", "conv.4")  # of a block; relu stands between them


class Layout(NamedTuple):
    """Where the layers stand in one file's sequence.

    Fields:
        enter: the first convolution.
        blocks: the blocks of every resolution.
        resample: the convolutions between resolutions, which have no bias.
        leave: the last convolution.
        pooled: the resolution whose blocks have a pool, the coarsest.
    """

    enter: int
    blocks: tuple[tuple[int, ...], ...]
    resample: tuple[int, ...]
    leave: int
    pooled: int


ENCODER = Layout(0, ((1,), (3, 4, 5), (7, 8, 9), (11, 12, 13)), (2, 6, 10), 14, 3)
DECODER = Layout(1, ((3, 4, 5), (8, 9, 10), (13, 14, 15), (18,)), (7, 12, 17), 19, 0)


class Pool(eqx.Module):
    """Two pointwise convolutions around a normalization over the whole image."""

    spread: Convolution
    scale: Float[Array, " c"]
    shift: Float[Array, " c"]
    gather: Convolution

    def __call__(self, x: Images) -> Images:
        """gather(relu(γ ⊙ (y − m)/√(v + ε) + β)), y = spread(x), m, v by group of channels."""
        y = self.spread(x)
        groups = y.reshape(*y.shape[:3], GROUPS, -1)
        mean = groups.mean(axis=(1, 2, 4), keepdims=True)
        variance = groups.var(axis=(1, 2, 4), keepdims=True)
        y = ((groups - mean) / jnp.sqrt(variance + EPSILON)).reshape(y.shape)
        return self.gather(jax.nn.relu(self.scale * y + self.shift))


class Block(eqx.Module):
    """Three convolutions around which the image is added."""

    convolutions: tuple[Convolution, Convolution, Convolution]
    pool: Pool | None

    def __call__(self, x: Images) -> Images:
        """relu(x + c₃(relu(c₂(relu(c₁(x)))))), after x ← x + pool(x) where there is a pool."""
        if self.pool is not None:
            x = x + self.pool(x)
        first, second, third = self.convolutions
        return jax.nn.relu(x + third(jax.nn.relu(second(jax.nn.relu(first(x))))))


class Half(eqx.Module):
    """Encoder or decoder: blocks at four resolutions, convolutions between them."""

    enter: Convolution
    blocks: tuple[tuple[Block, ...], ...]
    resample: tuple[Convolution, ...]
    leave: Convolution

    def __call__(self, x: Array, *, grow: bool) -> Array:
        """Every resolution in turn, each half or, to grow, twice the one before."""
        x = jax.nn.relu(self.enter(x)) if grow else self.enter(x)
        x = _through(self.blocks[0], x)
        for resample, blocks in zip(self.resample, self.blocks[1:], strict=True):
            x = _through(blocks, resample(enlarged(x) if grow else x))
        return self.leave(x)


class TAEF2(eqx.Module):
    """An `ImageAutoencoder` for square images of one size.

    Fields:
        encoder, decoder: the two files.
        size: side of the images in pixels, a multiple of 8.
    """

    encoder: Half
    decoder: Half
    size: int = eqx.field(static=True)

    @classmethod
    def from_files(
        cls, encoder: str | os.PathLike[str], decoder: str | os.PathLike[str], size: int
    ) -> "TAEF2":
        """The autoencoder of taef2_encoder.pth and taef2_decoder.pth.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when `size` is no positive multiple of 8, a tensor is missing, torn, not
                finite or of another shape, or the halves do not fit.
        """
        check_count("size", size, FACTOR)
        if size % FACTOR:
            raise ValueError(f"size must be a multiple of {FACTOR} pixels, got {size}")
        down = _half(encoder, ENCODER, stride=2)
        up = _half(decoder, DECODER, stride=1)
        written, read = down.leave.kernel.shape[3], up.enter.kernel.shape[2]
        colours = down.enter.kernel.shape[2], up.leave.kernel.shape[3]
        if written != read or colours != (3, 3):
            raise ValueError(
                f"{encoder} maps {colours[0]} channels to {written}, {decoder} {read} to "
                f"{colours[1]}, expected 3 to n and n to 3; give the two files of {PACKAGE}"
            )
        return cls(down, up, size)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(size/8, size/8, 32) for the published weights."""
        return self.size // FACTOR, self.size // FACTOR, self.encoder.leave.kernel.shape[3]

    @property
    def dimension(self) -> int:
        """n, the product of `latent_shape`."""
        return math.prod(self.latent_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(size, size, 3)."""
        return self.size, self.size, 3

    def encode(self, images: Images) -> Latents:
        """The latents of images.

        Raises:
            ValueError: as `check_images`.
        """
        images = check_images(images, self.image_shape)
        return self.encoder(images, grow=False).reshape(-1, self.dimension)

    def decode(self, z: Latents) -> Images:
        """The images of latents, which are read as 3 tanh(z/3).

        Raises:
            ValueError: as `check_latents`.
        """
        z = check_latents(z, self.dimension).reshape(-1, *self.latent_shape)
        return self.decoder(BOUND * jnp.tanh(z / BOUND), grow=True)


def _through(blocks: tuple[Block, ...], x: Array) -> Array:
    for block in blocks:
        x = block(x)
    return x


def _half(path: str | os.PathLike[str], layout: Layout, stride: int) -> Half:
    """The layers of one file; its first and last convolution say how many channels there are."""
    ends = [f"{place}.weight" for place in (layout.enter, layout.leave)]
    entry, end = read_shaped(path, dict.fromkeys(ends, (None, None, 3, 3)), PACKAGE).values()
    shapes = _shapes(layout, entry.shape[1], entry.shape[0], end.shape[0])
    tensors = read_shaped(path, shapes, PACKAGE)
    return Half(
        enter=_convolution(tensors, f"{layout.enter}"),
        blocks=tuple(tuple(_block(tensors, place) for place in row) for row in layout.blocks),
        resample=tuple(_convolution(tensors, f"{place}", stride) for place in layout.resample),
        leave=_convolution(tensors, f"{layout.leave}"),
    )


def _shapes(layout: Layout, read: int, width: int, written: int) -> dict[str, Shape]:
    """Every tensor of a file whose blocks have `width` channels."""
    square, wide = (width, width, 3, 3), SPREAD * width
    shapes: dict[str, Shape] = {
        f"{layout.enter}.weight": (width, read, 3, 3),
        f"{layout.enter}.bias": (width,),
        f"{layout.leave}.weight": (written, width, 3, 3),
        f"{layout.leave}.bias": (written,),
        **{f"{place}.weight": square for place in layout.resample},
    }
    for place in itertools.chain(*layout.blocks):
        for name in CONVOLUTIONS:
            shapes |= {f"{place}.{name}.weight": square, f"{place}.{name}.bias": (width,)}
    for place in layout.blocks[layout.pooled]:
        shapes |= {f"{place}.pool.0.weight": (wide, width, 1, 1)}
        shapes |= {f"{place}.pool.1.weight": (wide,), f"{place}.pool.1.bias": (wide,)}
        shapes |= {f"{place}.pool.3.weight": (width, wide, 1, 1)}
    return shapes


def _block(tensors: dict[str, Array], place: int) -> Block:
    """The block at a place, with its pool if it has one."""
    first, second, third = (_convolution(tensors, f"{place}.{name}") for name in CONVOLUTIONS)
    pool = None
    if f"{place}.pool.0.weight" in tensors:
        pool = Pool(
            spread=_convolution(tensors, f"{place}.pool.0"),
            scale=tensors[f"{place}.pool.1.weight"],
            shift=tensors[f"{place}.pool.1.bias"],
            gather=_convolution(tensors, f"{place}.pool.3"),
        )
    return Block((first, second, third), pool)


def _convolution(tensors: dict[str, Array], name: str, stride: int = 1) -> Convolution:
    """From PyTorch's (out, in, side, side); without a bias of its own it adds 0."""
    kernel = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
    bias = tensors.get(f"{name}.bias", jnp.zeros(kernel.shape[3], kernel.dtype))
    return Convolution(kernel, bias, stride)
