"""Laws of single tokens and of neighbours in sequences, and how far they are from the true ones.

Tokens of a sequence depend on each other: errors are taken over sequences.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from theory.estimate import Estimate
from theory.markov_chain import check_tokens

GROUPS = 2  # halves of the sequences, whose distance bounds the bias of a distance


def unigram_entropy(tokens: object, vocabulary: int) -> Estimate:
    """−Σ p log p of the tokens' frequencies in nats.

    Its bias, which is what counting loses, is at most about (V' − 1)/(2N) for N independent
    tokens, V' of them seen; N is taken as the tokens over the sequences' inflation of variance.

    Raises:
        ValueError: on tokens that are not integers 0 … V−1 of shape (sequences, length), or fewer
            than two sequences.
    """
    found = check_tokens(tokens, vocabulary)
    count, length = found.shape
    _check_sequences(count)
    share = np.bincount(found.ravel(), minlength=vocabulary) / found.size
    with np.errstate(divide="ignore"):
        nats = -np.log(share)[found]  # what is not seen is not looked up
    own = nats.mean(axis=1)
    value = abs(float(own.mean()))
    sem = float(own.std(ddof=1)) / math.sqrt(count)
    alone = float(nats.std()) / math.sqrt(found.size)
    inflation = max(1.0, (sem / alone) ** 2) if alone > 0 else float(length)
    bias = (int((share > 0).sum()) - 1) / (2 * found.size) * inflation
    return Estimate(value, sem, bias, count)


def bigram_law(tokens: object, vocabulary: int) -> Float[np.ndarray, "V V"]:
    """Frequencies of two tokens in a row.

    Raises:
        ValueError: as `unigram_entropy`, or on sequences of one token.
    """
    found = check_tokens(tokens, vocabulary)
    if found.shape[1] < 2:
        raise ValueError("pairs need sequences of two tokens at least")
    pairs = _pairs(found, vocabulary)
    counts = np.bincount(pairs.ravel(), minlength=vocabulary**2)
    return counts.reshape(vocabulary, vocabulary) / pairs.size


def bigram_distance(tokens: object, law: object) -> Estimate:
    """Total variation ½Σ|q̂ − p| of the bigrams' frequencies q̂ from a law p of pairs.

    It is biased up by at most E TV(q̂, q), q the sampler's own law, and that is at most the
    expected distance of the frequencies of two halves of the sequences (Jensen), which stands as
    the bias. The standard error is that of ½Σ sign(q̂ − p)·q̂ over sequences.

    Args:
        tokens: shape (sequences, length), length ≥ 2, at least four sequences.
        law: p, shape (V, V), masses that sum to 1.

    Raises:
        ValueError: on other shapes, or a p that is no law.
    """
    wanted = np.asarray(law, np.float64)
    if wanted.ndim != 2 or wanted.shape[0] != wanted.shape[1]:
        raise ValueError(f"a law of pairs has shape (V, V), got {wanted.shape}")
    if not (wanted.min() >= 0 and abs(wanted.sum() - 1) < 1e-9):
        raise ValueError(f"masses must be ≥ 0 and sum to 1, got a sum of {wanted.sum()}")
    modes = len(wanted)
    found = check_tokens(tokens, modes)
    _check_sequences(len(found) // GROUPS)
    law_found = bigram_law(found, modes)
    sign = np.sign(law_found - wanted).ravel() / 2
    own = sign[_pairs(found, modes)].mean(axis=1)
    halves = [bigram_law(found[k::GROUPS], modes) for k in range(GROUPS)]
    return Estimate(
        float(np.abs(law_found - wanted).sum() / 2),
        float(own.std(ddof=1)) / math.sqrt(len(found)),
        float(np.abs(halves[0] - halves[1]).sum() / 2),
        len(found),
    )


def _pairs(tokens: Int[np.ndarray, "N L"], vocabulary: int) -> Int[np.ndarray, "N L1"]:
    return tokens[:, :-1].astype(np.int64) * vocabulary + tokens[:, 1:]


def _check_sequences(count: int) -> None:
    if count < 2:
        raise ValueError("errors are taken over sequences: too few of them came")
