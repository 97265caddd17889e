"""The experiments by name. Imports none of them, so that listing them is instant."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

PACKAGE = "experiments"
EXPERIMENTS: dict[str, str] = {
    "interface_exact": "Gaussian perimeter of partitions with a known one, by every estimator "
    "(Theorem 6)",
    "interface_profile": "least perimeter found of M equal cells in R^n: the phase diagram and its "
    "laws (Theorem 6)",
    "inverse_stiffness": "leak against stiffness: the 1/Λ law, its sharp maps and trained ones "
    "(Theorem 5)",
    "stiffness_phase": "least certified stiffness that reaches a leak, over M and n (Theorem 6)",
    "depth_hierarchy": "peak stiffness and its price in a hierarchy of B levels (Theorem 7)",
    "tube_law": "token flips of raw noise and posterior mean against the tube law, its second "
    "order and the sandwich (Theorem 3)",
    "tube_crossover": "where the tube law stops: flips over √(2/π)·s·A_W over latent width, noise "
    "and code, and rates of 1e-6 (Theorem 3)",
    "decoder_sensitivity": "responses of readouts to steps along facet normals, residuals and "
    "isotropic directions: DABI (Theorem 3)",
    "oracle_rollin": "terminal steps from exact noised latents, their residuals, and K exact ODE "
    "steps (Theorem 3)",
    "bridge_identity": "flips and leak of one interface: their ratio κ√(π/2), its first "
    "correction, two opposite orderings (Theorem 17)",
    "coarea_levels": "E‖∇u‖ by autodiff against perimeters of level sets by line crossings "
    "(Theorem 17)",
    "few_step": "K-step samplers of a language and of separated modes with the exact denoiser: "
    "perplexity, entropy, leak (Theorems 5–7)",
    "churn_sweep": "where an SDE beats the ODE: churn, steps, dimension, schedule, guidance, "
    "noise floor",
    "limited_stiffness": "few-step generation by denoisers and students of certified stiffness "
    "(Theorem 5)",
    "commitment_rounds": "categorical commitment: exact in ⌈log₂(L+1)⌉ rounds of bisection, and "
    "other orders",
    "diagnostic_taxonomy": "DABI and CCI of every synthetic generator, and what soft feedback "
    "loses",
    "decoder_tube": "nearest facets, A_W and token flips of real decoder heads, by raw noise and "
    "after denoising, against the tube law and the sandwich (Theorem 3)",
    "decoder_response": "responses of real heads to steps along facet normals, residuals and "
    "isotropic directions: DABI",
    "commit_ablation": "what real autoregressive decoders lose when softmax averages are fed back, "
    "not tokens, and CCI of their steps",
    "decoder_contrast": "text heads against image decoders under the same steps: DABI, CCI, "
    "spectra of Jacobians, decoded samples",
}


IMAGES: dict[str, str] = {
    "dcgan": "noise to faces: a generator without an encoder, latents N(0, I)",
    "autoencoder": "small convolutional autoencoder that the suite trains on photographs",
    "super-resolver": "features of a small image to one of twice its size",
    "taef2": "tiny autoencoder of a large image generator; weights from --path",
}


DECODERS: dict[str, str] = {
    "g2p-en": "spelling to phonemes: states of a GRU, from words",
    "textgenrnn": "characters: attended states of LSTMs, from English prose",
    "pp-ocr": "text in images: frames of rendered lines that are no blank",
    "pp-ocr-blank": "the same head on its blank frames",
    "minilm": "control: an encoder beside a table of tokens it was never trained against",
    "smollm2": "a language model of 135 million weights, tied head",
}


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known; otherwise a ValueError with the known names and the nearest."""
    known = list(known)
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"unknown {kind} {name!r}: {guess}known: {', '.join(known)}")


def module_name(name: str) -> str:
    """The module that defines experiment `name`."""
    return f"{PACKAGE}.{choose('experiment', name, EXPERIMENTS)}"


def load(name: str) -> ModuleType:
    """Import experiment `name`; call `runtime.configure` first, so that its constants are float64.

    Such a module has `Grid`, `PRESETS`, `cells(grid)`, `measure(cell, key)` and may have
    `cost(cell)`, the seconds a cell is expected to take, and `program(cell)`, a name for what it
    compiles and loads: a worker goes on with cells of the same, in whatever experiment. With
    `CHECKPOINTS` true it is called as `measure(cell, key, checkpoint)`, and may keep its state in
    that `store.Checkpoint`.
    """
    return importlib.import_module(module_name(name))
