"""Claims on few-step generation with the exact denoiser, and on its two escapes."""

from experiments.claims import churn, commitment, few_step

CLAIMS = [*few_step.CLAIMS, *churn.CLAIMS, *commitment.CLAIMS]
