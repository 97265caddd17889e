"""The tensors of a port, read once and of the shapes its architecture asks for."""

import os
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array

from theory.bridge.formats import read_tensors

Shape = tuple[int | None, ...]


def read_shaped(
    path: str | os.PathLike[str], shapes: Mapping[str, Shape], package: str
) -> dict[str, Array]:
    """The named tensors of one file; None in a shape stands for any size.

    Args:
        path: the checkpoint.
        shapes: what the architecture asks for, by tensor name.
        package: what the error advises to take the file from.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when a tensor is missing, torn, not finite or of another shape.
    """
    tensors = read_tensors(path, shapes)
    for name, wanted in shapes.items():
        got = tensors[name].shape
        if len(got) != len(wanted) or any(
            w not in (None, g) for g, w in zip(got, wanted, strict=True)
        ):
            shown = "(" + ", ".join("any" if w is None else str(w) for w in wanted) + ")"
            raise ValueError(
                f"{path}:{name} has shape {got}, expected {shown}; give the checkpoint of {package}"
            )
    return {name: jnp.asarray(tensor) for name, tensor in tensors.items()}
