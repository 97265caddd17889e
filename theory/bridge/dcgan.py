"""The generator of gan-face-generate: noise in R^100 to a face of 64 × 64 pixels.

Port of the DCGAN generator (Radford, Metz and Chintala, 1511.06434) of gan-face-generate 1.1.1
(Liu, MIT), from its tensors alone. It was trained on latents from N(0, I), and has no encoder.
"""

import math
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.bridge.checkpoint import read_shaped
from theory.bridge.image_decoder import Images, Latents, check_latents

PACKAGE = "gan-face-generate 1.1.1"
PREFIX = "netG_state_dict.main"
STAGES = (0, 3, 6, 9, 12)  # places of the transposed convolutions in the package's sequence
NORM = ("weight", "bias", "running_mean", "running_var")
EPSILON = 1e-5  # beside the variances of the BatchNorms
SIDE = 4  # of every kernel, and of what the first stage draws


class DCGAN(eqx.Module):
    """Five transposed convolutions; an `ImageDecoder`.

    Fields:
        kernels: of the stages, each with the scale of the BatchNorm that follows it.
        shifts: what those BatchNorms add; none follows the last stage.
    """

    kernels: tuple[Float[Array, "_in 4 4 _out"], ...]
    shifts: tuple[Float[Array, " _out"], ...]

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "DCGAN":
        """The generator of the package's weights.tar, or of another file with its tensor names.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when a tensor is missing, torn, not finite or of another shape, or a
                variance is negative.
        """
        names = [f"{PREFIX}.{stage}.weight" for stage in STAGES]
        free = dict.fromkeys(names, (None, None, SIDE, SIDE))
        widths = [kernel.shape[0] for kernel in read_shaped(path, free, PACKAGE).values()]
        sizes = zip(widths, [*widths[1:], 3], strict=True)
        chained = {name: (*size, SIDE, SIDE) for name, size in zip(names, sizes, strict=True)}
        read = read_shaped(path, chained, PACKAGE).values()
        kernels = [np.moveaxis(np.asarray(kernel), 1, 3) for kernel in read]
        norms = [_norm(path, at + 1, c) for at, c in zip(STAGES, widths[1:], strict=False)]
        scaled = [kernel * scale for kernel, (scale, _) in zip(kernels, norms, strict=False)]
        return cls(
            tuple(map(jnp.asarray, (*scaled, kernels[-1]))),
            tuple(jnp.asarray(shift) for _, shift in norms),
        )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(100,) for the package's weights."""
        return self.kernels[0].shape[:1]

    @property
    def dimension(self) -> int:
        """n; the law of the latents is N(0, I_n)."""
        return math.prod(self.latent_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(64, 64, 3): every stage after the first doubles the side."""
        side = SIDE * 2 ** len(self.shifts)
        return side, side, self.kernels[-1].shape[3]

    def decode(self, z: Latents) -> Images:
        """(1 + tanh x)/2, x the last of x ← T(relu(x + b)), T doubling the side.

        Raises:
            ValueError: as `check_latents`.
        """
        z = check_latents(z, self.dimension)
        x = jnp.einsum("rc,cklo->rklo", z, self.kernels[0])
        for shift, kernel in zip(self.shifts, self.kernels[1:], strict=True):
            x = doubled(jax.nn.relu(x + shift), kernel)
        return (1 + jnp.tanh(x)) / 2


def doubled(
    x: Float[Array, "rows height width c_in"], kernel: Float[Array, "c_in 4 4 c_out"]
) -> Float[Array, "rows 2*height 2*width c_out"]:
    """The transposed convolution with stride 2 and padding 1, y[2i + k − 1] = Σ_i x[i] W[k].

    Done as one matrix product and four shifted sums: k = 2a + p, and entry 2(i + a) + p − 1 of y
    has four terms. XLA's own convolution multiplies by the zeros between the pixels.
    """
    rows, height, width, _ = x.shape
    spread = jnp.einsum("rhwc,cklo->rhwklo", x, kernel)
    blocks = spread.reshape(rows, height, width, 2, 2, 2, 2, -1)  # axes a, p, then for columns
    y = sum(
        jnp.pad(blocks[:, :, :, a, :, b], [(0, 0), (a, 1 - a), (b, 1 - b), *[(0, 0)] * 3])
        for a in (0, 1)
        for b in (0, 1)
    )
    y = jnp.swapaxes(jnp.asarray(y), 2, 3)
    return y.reshape(rows, 2 * height + 2, 2 * width + 2, -1)[:, 1:-1, 1:-1]


def _norm(path: str | os.PathLike[str], place: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale γ/√(v + ε) and shift β − γ m/√(v + ε) of a BatchNorm with running mean m, variance v.

    Raises:
        ValueError: when a variance is negative, or as `read_shaped`.
    """
    shapes = {f"{PREFIX}.{place}.{name}": (channels,) for name in NORM}
    read = read_shaped(path, shapes, PACKAGE).values()
    gamma, beta, mean, variance = map(np.asarray, read)
    if (variance < 0).any():
        raise ValueError(
            f"{path}:{PREFIX}.{place}.running_var has entries below 0, expected variances; "
            f"give the checkpoint of {PACKAGE}"
        )
    scale = gamma / np.sqrt(variance + EPSILON)
    return scale, beta - scale * mean
