"""What every figure shows, in a sentence: captions, and names for those who do not see it."""

CAPTIONS = {
    "interface_exact-profile": "Gaussian perimeter P over √log M of partitions whose P is known, "
    "with the sharp and the elementary floor.",
    "interface_exact-agreement": "Every estimator over the exact perimeter, partition by "
    "partition; all should be at 1.",
    "interface_profile-profile": "Best found P over √log M against M for every dimension n; below, "
    "enlarged, what lies near the floor.",
    "interface_profile-fixed_dimension": "Best found P over M^(1/n) at fixed n against M, with the "
    "coefficients of the large-M law.",
    "interface_profile-large_dimension": "P over √log M at the largest n, against the floor P_S.",
    "interface_profile-phase_diagram": "Dimension penalty D = P/P_S over M and n; on and above the "
    "line n = M − 1 it is 1.",
    "interface_profile-collapse": "D against the rate R = log M / n, with the band in which R "
    "alone would place it, and the orthants that leave it.",
    "interface_profile-planar": "The best partitions found in the plane; colours fade as the "
    "Gaussian weight does.",
    "stiffness_phase-phase": "Least Lipschitz constant Λ that reaches a leak of 0.1 over M, at "
    "n = 1, 2 and M: best known, trained, floor.",
    "stiffness_phase-shortfall": "Λ of trained maps over the best known Λ of the same leak.",
    "stiffness_phase-map": "A trained map of the plane: its cells, and how hard it stretches, ‖DT‖ "
    "over Λ.",
    "stiffness_phase-losses": "What training made smaller, step by step.",
    "inverse_stiffness-leak": "Leak ε against Λ: the sharp map's exact leak, trained maps, and the "
    "floor.",
    "inverse_stiffness-ratio": "Λε over κP_S against Λ: it rises to 1 as first and second order "
    "say.",
    "inverse_stiffness-sharp_maps": "Leaks of sharp maps and of raw scores, for several "
    "partitions, over their tubes.",
    "inverse_stiffness-losses": "What training made smaller, step by step.",
    "depth_hierarchy-tradeoff": "B levels instead of one: how much the peak stiffness falls at a "
    "fixed leak of a step, and what it costs at a fixed total leak.",
    "depth_hierarchy-leaks": "Leak of all B levels against the leak of one, with 1 − (1 − ε)^B.",
    "tube_law-predicted": "Observed flips against the predicted √(2/π)·s·A_W.",
    "tube_law-ratio": "Flips over the tube law against the noise s, with the second order.",
    "tube_law-areas": "A_W over the predicted one, by the density of margins at zero and by "
    "Crofton's lines.",
    "tube_law-limits": "The ratio as s → 0, and the coefficient after it over its prediction.",
    "tube_law-margins": "Half the density of the margin δ near zero; it starts at A_W.",
    "tube_crossover-map": "Flips over the tube law over latent width τ and noise s, with the "
    "reported place.",
    "tube_crossover-collapse": "The same ratios against λ ≈ sd/τ²: one curve without a parameter.",
    "tube_crossover-rare": "Standard error over value of rates down to 1e-6, by weighted draws and "
    "by as many plain ones.",
    "decoder_sensitivity-dabi": "DABI of synthetic readouts: flips along facet normals and "
    "residuals over isotropic ones, against the length of the step.",
    "decoder_sensitivity": "Flips and rise of the cross-entropy along every direction, one "
    "readout.",
    "oracle_rollin-terminal": "Flips of a terminal step against the noise s, one readout.",
    "oracle_rollin-residual": "Share of residuals in the row space over its isotropic value, and "
    "structured over isotropic flips, one readout.",
    "oracle_rollin-rollin": "K exact ODE steps: results near facets, differing tokens, cumulative "
    "flips, one readout.",
    "oracle_rollin-sequence": "K exact ODE steps of sequences: results near facets, flips, entropy "
    "of tokens.",
    "bridge_identity-ratio": "Λε over flip/s of one interface, over κ√(π/2), as s = 1/Λ = t → 0.",
    "bridge_identity-ordering": "Slabs and tripod, ordered one way by flips and the other by cost, "
    "against the barrier κ_13.",
    "bridge_identity-interface": "Slabs and tripod in the plane: points that flip and points that "
    "leak.",
    "coarea_levels-ratio": "∫P({u > t})dt by line crossings over E‖∇u‖ by differentiation, "
    "function by function.",
    "coarea_levels-levels": "Both sides of the coarea identity, band by band of levels.",
    "few_step-reference": "The reference language: perplexity over the truth, entropy less the "
    "truth's and bigram distance over the number of steps K, by sampler.",
    "few_step-sweep": "Perplexity over the truth against K, for one vocabulary, by length and "
    "dimension.",
    "few_step-look": "Two exact steps: perplexity over the truth against the time of the second "
    "look.",
    "few_step-modes": "Separated modes: leak over K by sampler, and stiffness of the steps beside "
    "the floor of their leak.",
    "churn_sweep-language": "Perplexity and entropy over K, a curve for every churn γ, one "
    "language.",
    "churn_sweep-gain": "Perplexity of the ODE over that of churn ½, by what was varied; right of "
    "1 the SDE is better.",
    "commitment_rounds": "Perplexity, entropy and bigrams over the rounds of commitment, by order, "
    "one language.",
    "limited_stiffness-floors": "Perplexity over the truth with a noise floor against K.",
    "limited_stiffness-depth": "Denoisers of certified stiffness Λ: perplexity and Fréchet "
    "distance over K.",
    "limited_stiffness-stiffness": "The same over Λ, a curve for every K; the exact denoiser at "
    "the right edge.",
    "limited_stiffness-students": "Students of one step: tokens other than the teacher's, latents "
    "off the vertices, and the line of 1/Λ.",
    "diagnostic_taxonomy-plane": "The plane of DABI and CCI with every synthetic generator on it.",
    "diagnostic_taxonomy-ablation": "Perplexity over the truth and entropy over the share of the "
    "softmax average that is fed back.",
    "decoder_tube-distances": "How near to a facet the latents of real heads lie, in units of "
    "their norm.",
    "decoder_tube": "Flips of one real head against the noise, with tube law and sandwich; the "
    "ending -law means draws of a law fitted to its latents.",
    "decoder_response-dabi": "DABI of real heads: responses along facet normals and residuals over "
    "isotropic ones.",
    "decoder_response": "Flips and rise of the cross-entropy along every direction, one real head.",
    "commit_ablation": "What one real decoder writes as softmax averages are fed back: quality, "
    "CCI, retention, texts.",
    "decoder_contrast-dabi": "DABI of text heads beside image decoders, by response and direction.",
    "decoder_contrast-amplification": "How much image decoders amplify steps of every direction: "
    "pixels left, perceptual right.",
    "decoder_contrast-plane": "The plane of DABI and CCI with text heads, image decoders and "
    "synthetic generators on it.",
    "decoder_contrast-spectrum": "Singular values of Jacobians over the largest, text beside "
    "images.",
    "decoder_contrast-strip": "What one step in every direction does to what people see: decoded "
    "samples.",
}


def caption(name: str) -> str:
    """The sentence of the longest key that `name` begins with; without one, the name itself."""
    known = [key for key in CAPTIONS if name == key or name.startswith(f"{key}-")]
    return CAPTIONS[max(known, key=len)] if known else name
