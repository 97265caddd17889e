"""What a mutation run leaves alone, and why: constants of speed, and faults that change nothing."""

CHUNK = "how much is held at once; the numbers are the same"
WHEN = "from which size on another route to the same numbers is taken"
PATIENCE = "seconds or attempts before a download is given up"

PERFORMANCE: dict[str, dict[str, str]] = {
    "theory/denoise_step.py": {"ROWS": CHUNK},
    "theory/descent.py": {"DIRECTIONS": CHUNK},
    "theory/minimal.py": {"CODED": WHEN, "FINER": CHUNK, "MEETINGS": CHUNK, "WALKED": CHUNK},
    "theory/rare_area.py": {"TRIPLES": CHUNK, "ROWS": CHUNK},
    "theory/rare_proposal.py": {"PAIRS": CHUNK},
    "theory/autoencoder.py": {"CHUNK": CHUNK},
    "theory/perceptual.py": {"CELLS": CHUNK},
    "theory/tube.py": {"ROWS": CHUNK, "BLOCK": CHUNK},
    "theory/total_variation.py": {"ROWS": CHUNK},
    "theory/line.py": {"FLAT": WHEN, "CROWD": WHEN},
    "theory/residual_law.py": {"CELLS": CHUNK},
    "theory/commitment.py": {"CELLS": CHUNK},
    "theory/lanczos.py": {"KRYLOV": CHUNK},
    "theory/balance.py": {"SAVED": WHEN, "MEETINGS": WHEN, "RAISED_ON": CHUNK},
    "theory/perimeter/coarea.py": {"CELLS": CHUNK},
    "theory/perimeter/crofton.py": {"CELLS": CHUNK},
    "theory/perimeter/projection.py": {"CELLS": CHUNK},
    "theory/sampler.py": {"CELLS": CHUNK},
    "theory/strip.py": {"CELLS": CHUNK},
    "theory/flips.py": {"ROWS": CHUNK},
    "theory/latent_steps.py": {"CHUNK": CHUNK},
    "theory/transport/fit.py": {"CHUNK": CHUNK},
    "theory/jacobian_spectrum.py": {"DENSE": WHEN, "BLOCK": CHUNK},
    "theory/crossover.py": {"ROWS": CHUNK},
    "theory/level_sets.py": {"CHORDS": CHUNK},
    "theory/pruning.py": {"GROUP": CHUNK, "FEW": CHUNK},
    "theory/nearest.py": {"MANY": WHEN, "CELLS": CHUNK, "ROWS": CHUNK, "PRUNED": CHUNK},
    "theory/screening.py": {"BLOCK": CHUNK, "FEW": CHUNK},
    "theory/bridge/npm_archive.py": {"NPM_SECONDS": PATIENCE},
    "theory/bridge/archives.py": {"PIP_SECONDS": PATIENCE},
    "theory/bridge/smollm2.py": {"TOKENS": CHUNK},
    "theory/bridge/minilm.py": {"TOKENS": CHUNK},
    "theory/bridge/rotary_transformer.py": {"POSITIONS": CHUNK},
    "theory/bridge/g2p_en.py": {"LENGTHS": CHUNK, "CHUNK": CHUNK},
    "theory/bridge/textgenrnn.py": {"CHUNK": CHUNK, "LENGTH": CHUNK},
}

# By the name of the drawn fault: why no test can tell it from the original.
EQUIVALENT: dict[str, str] = {}
