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
    "theory/newton.py": {"SAVED": WHEN, "MEETINGS": WHEN, "RAISED_ON": CHUNK},
    "theory/balance.py": {"FLAT": WHEN, "CROWD": WHEN, "COARSE": CHUNK, "MET": CHUNK},
    "theory/conditional_masses.py": {"BLOCK": CHUNK, "PILOT": CHUNK},
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
    "theory/pruning.py": {"GROUP": CHUNK, "FEW": CHUNK, "FEWER": CHUNK},
    "theory/nearest.py": {
        "MANY": WHEN,
        "CELLS": CHUNK,
        "ROWS": CHUNK,
        "BLOCKS": CHUNK,
        "PRUNED": CHUNK,
    },
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
EQUIVALENT: dict[str, str] = {
    "theory/rare_area.py: sloped = others & (length > 1e-6 * np.sqrt(np.maximum(square, 0))) => "
    "sloped = others & (length > 1.1e-06 * np.sqrt(np.maximum(square, 0)))": (
        "parts lengths of rounding, up to 1e-8 of an edge, from those of sites: any number between "
        "them does, and the thresholds only weight draws whose mean they leave as it is"
    ),
    "theory/rare_proposal.py: HALVINGS = 10  # of the distance l => "
    "HALVINGS = 11  # of the distance l": (
        "places the draws, which are weighted by their chance: the mean is the same from anywhere"
    ),
    "theory/crossover.py: NODES, WEIGHTS = composite_legendre(0.0, 1.0, panels=24) => "
    "NODES, WEIGHTS = composite_legendre(0.0, 1.0, panels=(23))": (
        "both quadratures have converged: rates differ by 1.4e-14 of themselves at most, over "
        "distances 0.5 to 3, widths 0.1 to 2, noises 0.01 to 5 and masses 0.2 to 0.999"
    ),
    "theory/bridge_identity.py: cut = float(pdf(special.ndtri(1 / 3))) => "
    "cut = float(pdf(special.ndtri(2 / 3)))": (
        "φ(Φ⁻¹(1/3)) = φ(Φ⁻¹(2/3)), since Φ⁻¹(1 − p) = −Φ⁻¹(p) and φ is even"
    ),
    "theory/newton.py: least, skipped = 0.5 * min(float(mass[mass > 0].min()), float(law.min())), 0"
    " => least, skipped = 0.55 * min(float(mass[mass > 0].min()), float(law.min())), 0": (
        "how small a step may make the smallest cell on the way to the minimum of a convex "
        "function, which is the same from anywhere"
    ),
}
