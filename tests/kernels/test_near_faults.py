"""Cases that only a nearly right kernel gets wrong: those that `make mutants` found unguarded."""

import numpy as np

from theory import latent_law


def test_a_held_out_latent_that_differs_in_the_sign_of_a_zero_is_a_repetition():
    rng = np.random.default_rng(0)
    training, held_out = rng.normal(size=(6, 2)), rng.normal(size=(5, 2))
    training[0, 0], held_out[0] = -0.0, [0.0, training[0, 1]]
    training[1, 0], held_out[1] = 0.0, [-0.0, training[1, 1]]
    assert latent_law.fit(training, held_out).repeated == 2
