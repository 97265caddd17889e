"""What the convolutional ports share: a convolution, a doubling of the side, their tensors' shapes.

Images are (rows, height, width, channels) throughout.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Convolution(eqx.Module):
    """y[i] = Σ_k x[stride·i + k − ⌊side/2⌋] W[k] + b, zeros around the image; the side is odd.

    Fields:
        kernel: W.
        bias: b.
        stride: pixels from one output to the next.
    """

    kernel: Float[Array, "side side c_in c_out"]
    bias: Float[Array, " c_out"]
    stride: int = eqx.field(static=True, default=1)

    def __call__(
        self, x: Float[Array, "rows height width c_in"]
    ) -> Float[Array, "rows _height _width c_out"]:
        """y, in the wider of the dtypes of x and W."""
        pad = self.kernel.shape[0] // 2
        dtype = jnp.promote_types(x.dtype, self.kernel.dtype)
        y = jax.lax.conv_general_dilated(
            x.astype(dtype),
            self.kernel.astype(dtype),
            window_strides=(self.stride, self.stride),
            padding=[(pad, pad), (pad, pad)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + self.bias


def enlarged(x: Float[Array, "rows height width c"]) -> Float[Array, "rows 2*height 2*width c"]:
    """Every pixel four times: nearest-neighbour interpolation to twice the side."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
