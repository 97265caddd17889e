"""K exact steps of the ODE with sequences of a language: the rows `sequence` of oracle_rollin.

From noised latents (t < 1) tokens are compared with the clean ones, from pure noise (t = 1) with
those at the end of the long flow from the same noise. Positions of a sequence depend on each other:
errors are taken over sequences.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import entr
from theory.carrier import nearest_embedding
from theory.estimate import Estimate, from_samples, proportion, proportion_interval
from theory.feedback import LEAST
from theory.gaussian import normal
from theory.language import Language
from theory.ngram import unigram_entropy
from theory.sampler import Denoiser, Latents, plan, roll, times
from theory.terminal import RECTIFIED_FLOW

from experiments import embedded
from experiments.readouts import shape_of

FAILURE = 1e-9
FOLLOWED, PARTS = 128, 8  # sequences compared with the flow at effort 1; 8 times as many rolled in
LITTLE = 0.1  # noise of the clean latents whose distance to facets is the unit
NARROW = 0.25  # width of the tube in units of their median distance


def seconds(words: str, steps: int, flow: int, effort: float) -> float:
    """Rough seconds on one core."""
    table, length = embedded.language_sizes(words)
    vocabulary = embedded.table_sizes(table)[1]
    return 2e-9 * effort * (steps * PARTS + flow) * FOLLOWED * length * vocabulary**2


def row(key: Any, words: str, steps: int, start: float, flow: int, effort: float) -> dict[str, Any]:
    """Where results lie and what they say, beside clean sequences noised little."""
    _, length = embedded.language_sizes(words)
    language = embedded.language(words)
    few = max(8, int(FOLLOWED * effort))
    count = PARTS * few
    keys = jax.random.split(key, 3)
    truth = np.asarray(language.sample(keys[0], count, length))
    clean = np.asarray(language.embeddings)[truth]
    noise = np.asarray(normal(keys[1], clean.shape, clean.dtype.name))
    noisy = jnp.asarray((1 - start) * clean + start * noise)
    exact = partial(exact_ode, language.denoiser(), start=start)
    # In parts of one shape, so that the flow compiles nothing anew.
    rolled = np.concatenate([exact(noisy[k : k + few], steps) for k in range(0, count, few)])
    followed = np.asarray(language.read(exact(noisy[:few], flow)))
    token = np.asarray(language.read(rolled))
    little = LITTLE * np.asarray(normal(keys[2], clean.shape, clean.dtype.name))
    law = language.unigram()
    found = {
        **shape_of(nearest_embedding(language.embeddings)),
        **_share("flow_flips", token[:few] != followed),
        **_tube(language, rolled, clean + little),
        "perplexity": language.perplexity(token, LEAST),
        "truth": language.truth(length),
        "entropy": unigram_entropy(token, language.vocabulary),
        "entropy_data": unigram_entropy(truth, language.vocabulary),
        "entropy_truth": float(entr(law).sum()),
    }
    return found | (_share("cumulative_flips", token != truth) if start < 1 else {})


def exact_ode(denoiser: Denoiser, noisy: Latents, steps: int, start: float) -> Latents:
    """K exact steps of the ODE on a uniform grid from z at t = `start`.

    dz/dt = (z − D(z, t))/t of the rectified schedule: the last step gives D, so that K = 1 is the
    terminal step itself; at t = 1 nothing is known, and D is the prior mean.

    Raises:
        ValueError: when K is no integer ≥ 1, or start is not in (0, 1].
    """
    route = plan("exact", RECTIFIED_FLOW, times("uniform", steps, start))
    return roll(jax.random.key(0), denoiser, route, noisy)  # nothing is drawn


def _share(name: str, happened: np.ndarray) -> dict[str, Any]:
    """A share of positions with its interval over sequences.

    Where all sequences have the same share, the exact interval of sequences: if the share is 0
    in each, a position is hit with at most the chance that a sequence is.
    """
    found = from_samples(happened.reshape(len(happened), -1).mean(axis=1))
    ends = found.interval(FAILURE)
    lower, upper = max(float(ends.lower), 0.0), min(float(ends.upper), 1.0)
    if found.sem == 0 and found.value in (0, 1):
        sequences = proportion(int(found.value * len(happened)), len(happened))
        lower, upper = proportion_interval(sequences, FAILURE)
    estimate = Estimate(float(found.value), float(found.sem), 0.0, found.count)
    return {name: estimate, f"{name}_lower": lower, f"{name}_upper": upper}


def _tube(language: Language, rolled: np.ndarray, clean: np.ndarray) -> dict[str, Any]:
    """P(δ < w) of results and of clean latents, w = NARROW times the median δ of the latter."""
    diagram = nearest_embedding(language.embeddings)
    distance, own = (np.asarray(diagram.nearest_facet(rows).distance) for rows in (rolled, clean))
    median = float(np.median(own))
    width = NARROW * median
    return {
        "distance_median": median,
        "tube_width": width,
        **_share("tube", distance < width),
        **_share("tube_data", own < width),
    }
