"""Thirty faults of constants and formulas, each of which would make a theorem wrong."""

from tests.mutants.mutation import Replacement

BOUND = "tests/kernels/test_bound.py"
STIFFNESS = "tests/kernels/test_bound_stiffness.py"
ESTIMATE = "tests/kernels/test_estimate.py"
ESTIMATORS = "tests/kernels/test_perimeter_estimators.py"
EXACT = "tests/kernels/test_perimeter_exact.py"
FLIP_LAW = "tests/kernels/test_flip_law.py"
SAMPLER = "tests/kernels/test_sampler.py"
SPARSEMAX = "tests/kernels/test_transport_sparsemax.py"
CROSSOVER = "tests/kernels/test_crossover.py"
TUBE = "tests/kernels/test_tube.py"

NAMED = (
    Replacement(
        "theory/bound.py",
        "math.sqrt(2 / math.pi) * scale * area",
        "1.0 * scale * area",
        "the tube law's √(2/π) is 1",
        (BOUND, "tests/theorems/test_tube_law.py"),
    ),
    Replacement(
        "theory/bound.py",
        "return expected_maximum(_modes(modes)) / math.sqrt(2)",
        "return expected_maximum(_modes(modes)) / 2",
        "P_S(M) is a_M/2",
        (BOUND, "tests/theorems/test_interface_floor.py"),
    ),
    Replacement(
        "theory/bound.py",
        "_modes(modes) / 2 * float(isoperimetric_profile(1 / modes))",
        "_modes(modes) * float(isoperimetric_profile(1 / modes))",
        "the elementary floor counts each facet twice",
        (BOUND,),
    ),
    Replacement(
        "theory/bound.py",
        "return barrier / (2 * apart)",
        "return math.sqrt(barrier) / (2 * apart)",
        "κ is √κ in the stiffness floor",
        (STIFFNESS, "tests/theorems/test_stiffness_phase.py"),
    ),
    Replacement(
        "theory/bound.py",
        "triples = modes * (modes - 1) * (modes - 2) / 4",
        "triples = modes * (modes - 1) * (modes - 1) / 4",
        "M − 2 is M − 1 in the leak's second order",
        (STIFFNESS,),
    ),
    Replacement(
        "theory/bound.py",
        "_modes(modes) ** (1 / dimension)",
        "_modes(modes) ** (1 / (dimension + 1))",
        "the exponent of M is 1/(n+1)",
        (BOUND,),
    ),
    Replacement(
        "theory/bound.py",
        "(1 + (math.pi - angle) / math.tan(angle)) / (2 * math.pi)",
        "(1 + angle / math.tan(angle)) / (2 * math.pi)",
        "a ridge of angle α counts as π − α",
        (FLIP_LAW, BOUND),
    ),
    Replacement(
        "theory/bound.py",
        "return depth / peak_ratio(modes, depth)",
        "return peak_ratio(modes, depth) / depth",
        "the price of depth is its inverse",
        ("tests/kernels/test_hierarchy.py", "tests/theorems/test_depth_hierarchy.py"),
    ),
    Replacement(
        "theory/perimeter/crofton.py",
        "math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)",
        "math.lgamma((dimension - 1) / 2) - math.lgamma(dimension / 2)",
        "Crofton's c_n is c_{n−1}",
        (ESTIMATORS, "tests/theorems/test_interface_floor.py"),
    ),
    Replacement(
        "theory/perimeter/crofton.py",
        "base = normal(base_key, shape, dtype, samples=0)",
        "base = normal(direction_key, shape, dtype, samples=0)",
        "the key of the direction is used for the foot of a line again",
        (ESTIMATORS,),
    ),
    Replacement(
        "theory/perimeter/coarea.py",
        "first, second = 2 * once - twice,",
        "first, second = 2 * once - 2 * twice,",
        "the extrapolation of the coarea route takes too much off",
        (ESTIMATORS,),
    ),
    Replacement(
        "theory/perimeter/exact.py",
        "density = pairs - nodes**2 + (modes - 2) * log_cdf(nodes)",
        "density = pairs - nodes**2 + (modes - 1) * log_cdf(nodes)",
        "M − 2 is M − 1 in the pair integral",
        (EXACT,),
    ),
    Replacement(
        "theory/tube.py",
        "return np.where(u < 1, kernels, 0.0) / (2 * width)",
        "return np.where(u < 1, kernels, 0.0) / width",
        "margins count each side of a facet as a facet",
        (TUBE, "tests/theorems/test_tube_law.py"),
    ),
    Replacement(
        "theory/tube.py",
        "return _mean(lower), _mean(np.maximum(upper, lower))",
        "return _mean(np.maximum(upper, lower)), _mean(lower)",
        "the sides of the sandwich are swapped",
        (TUBE, "tests/theorems/test_tube_law.py"),
    ),
    Replacement(
        "theory/tube.py",
        "exists = real & (groups[j] != groups[label][:, None])",
        "exists = real & (j != label[:, None])",
        "a copy of a token counts as another class in the union bound",
        (TUBE,),
    ),
    Replacement(
        "theory/estimate.py",
        "sem = samples.std(axis=0, ddof=1) / math.sqrt(samples.shape[0])",
        "sem = samples.std(axis=0, ddof=1)",
        "the standard error of a mean without √N",
        (ESTIMATE,),
    ),
    Replacement(
        "theory/estimate.py",
        "special.betainccinv(successes + 1, failures, tail)",
        "special.betainccinv(successes, failures + 1, tail)",
        "the upper end of Clopper and Pearson has the shape of the lower one",
        (ESTIMATE,),
    ),
    Replacement(
        "theory/leak.py",
        "ends = Interval(float(1 / ordered[high - 1]), float(1 / ordered[low - 1]))",
        "ends = Interval(float(1 / ordered[low - 1]), float(1 / ordered[high - 1]))",
        "the ends of Λ(ε) are swapped",
        ("tests/kernels/test_leads.py", "tests/theorems/test_stiffness_phase.py"),
    ),
    Replacement(
        "theory/transport/sparsemax.py",
        "    power = modes - 1\n",
        "    power = modes - 2\n",
        "M − 1 is M − 2 in the leak of sparsemax",
        (SPARSEMAX,),
    ),
    Replacement(
        "theory/transport/line.py",
        "core, width = _core(modes, stiffness, BARRIER), BARRIER / stiffness",
        "core, width = _core(modes, stiffness, BARRIER), 1 / stiffness",
        "the gaps of the line forget κ",
        ("tests/kernels/test_transport_line.py", "tests/theorems/test_stiffness_phase.py"),
    ),
    Replacement(
        "theory/hierarchy.py",
        "self.ratio**k * step for",
        "self.ratio**-k * step for",
        "a nested hierarchy grows by 1/ρ",
        ("tests/kernels/test_hierarchy.py", "tests/theorems/test_depth_hierarchy.py"),
    ),
    Replacement(
        "theory/mixture.py",
        "return pulled + jnp.sum(square * weight) * x",
        "return pulled + x",
        "the posterior mean lacks the widths' share of the score",
        ("tests/kernels/test_mixture.py",),
    ),
    Replacement(
        "theory/denoise_step.py",
        "jnp.where(score, mixture.posterior_mean(clean + noise, scale) - clean, noise)",
        "jnp.where(score, noise, noise)",
        "a residual without the score term",
        ("tests/theorems/test_residual.py", "tests/kernels/test_residual.py"),
    ),
    Replacement(
        "theory/denoise_step.py",
        "return unit_rows(sites[neighbour] - sites[label])",
        "return unit_rows(sites[label] - sites[neighbour])",
        "the normal points away from the nearest facet",
        ("tests/kernels/test_residual.py", "tests/theorems/test_residual.py"),
    ),
    Replacement(
        "theory/markov_chain.py",
        "system = np.vstack([rows.T - np.eye(size), np.ones(size)])",
        "system = np.vstack([rows - np.eye(size), np.ones(size)])",
        "the stationary law is that of the rows: uniform",
        ("tests/kernels/test_markov_chain.py",),
    ),
    Replacement(
        "theory/forward_backward.py",
        "_at(evidence, t)), rows.T)",
        "_at(evidence, t)), rows)",
        "the backward pass lacks its transpose",
        ("tests/kernels/test_forward_backward.py",),
    ),
    Replacement(
        "theory/sampler.py",
        "ratio * (left / noise) ** 2,",
        "ratio * (left / noise),",
        "the ancestral step keeps σ'/σ of z, not its square",
        (SAMPLER,),
    ),
    Replacement(
        "theory/sampler.py",
        "loud**2 - (ratio * noise) ** 2",
        "loud**2 - ratio * noise**2",
        "churn adds noise for ρ, not ρ²",
        (SAMPLER,),
    ),
    Replacement(
        "theory/crossover.py",
        "growth = math.exp(strain**2 / 2)",
        "growth = math.exp(strain**2)",
        "the crossover grows as e^{λ²}",
        (CROSSOVER, "tests/theorems/test_tube_crossover.py"),
    ),
    Replacement(
        "theory/carrier.py",
        "return Estimate(1 - found.value, found.sem, 0.0, found.count)",
        "return Estimate(1 - 2 * found.value, found.sem, 0.0, found.count)",
        "CCI takes what is moved off twice",
        ("tests/kernels/test_carrier.py",),
    ),
)
