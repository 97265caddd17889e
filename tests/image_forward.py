"""Convolutions from their definitions in float64: what the ports of image decoders must equal."""

import numpy as np


def convolved(x, kernel, bias=0.0, stride=1):
    """y[i, j] = Σ_{k, l} x[s i + k − p, s j + l − p] W[:, :, k, l]ᵀ + b, p = ⌊side/2⌋.

    Images (rows, height, width, in), kernels (out, in, side, side) with odd sides.
    """
    side = kernel.shape[2]
    padded = np.pad(np.asarray(x, np.float64), [(0, 0), *[(side // 2, side // 2)] * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.tensordot(windows, kernel.astype(np.float64), axes=[(3, 4, 5), (1, 2, 3)]) + bias


def scattered(x, kernel, stride, padding):
    """The transposed convolution: x[i, j] W[:, :, k, l] is added to y[s i + k − p, s j + l − p].

    Images (rows, height, width, in), kernels (in, out, side, side).
    """
    rows, height, width, _ = x.shape
    side = kernel.shape[2]
    size = [stride * (length - 1) + side for length in (height, width)]
    y = np.zeros((rows, *size, kernel.shape[1]))
    for k in range(side):
        for j in range(side):
            part = x @ kernel[:, :, k, j].astype(np.float64)
            y[:, k : k + stride * height : stride, j : j + stride * width : stride] += part
    return y[:, padding : size[0] - padding, padding : size[1] - padding]


def enlarged(x):
    """Every pixel four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
