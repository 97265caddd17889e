"""Steps of `theory.transport.fit` against the same training written in PyTorch.

Both start from one network, train it by Adam on fresh points of γ a step, and orthonormalise the
weights in every step by QR. The flops are those of the layers, forward and back; the mean losses
tell whether both trained the same thing.
"""

import itertools
import math
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case, Contender, Entry, Run

LAYERS, STIFFNESS = 3, 16.0
CASES: dict[str, Case] = {
    "full": {"modes": 64, "dimension": 16, "width": 64, "batch": 2048, "steps": 40},
    "tiny": {"modes": 4, "dimension": 2, "width": 4, "batch": 64, "steps": 4},
}


def entries(size: str) -> list[Entry]:
    """Both."""
    return [Entry(name, [CASES[size]]) for name in CONTENDERS]


def _fresh(modes: int, dimension: int, width: int) -> Any:
    import jax

    from theory.transport.lipschitz import lipschitz_network

    return lipschitz_network(
        jax.random.key(0), modes, dimension, STIFFNESS, width=width, layers=LAYERS
    )


def _flops(modes: int, dimension: int, width: int, batch: int, steps: int) -> float:
    """Three products a layer, each 2·in·out a point: forward, and back to weights and inputs."""
    sizes = [dimension, *[width] * (LAYERS - 1), modes]
    return 6.0 * steps * batch * sum(inner * outer for inner, outer in itertools.pairwise(sizes))


def _run(call: Any, modes: int, dimension: int, width: int, batch: int, steps: int) -> Run:
    def facts(answers: list[float], seconds: float) -> dict[str, float]:
        return {"loss": float(np.mean(answers)), "points_per_second": steps * batch / seconds}

    return Run(call, _flops(modes, dimension, width, batch, steps), "float32", facts)


def _theory(modes: int, dimension: int, width: int, batch: int, steps: int) -> Run:
    import jax

    from theory.transport.fit import Schedule, fit

    network = _fresh(modes, dimension, width)
    schedule = Schedule(steps=steps, batch=batch)

    def call(repeat: int) -> float:
        return fit(jax.random.key(repeat), network, schedule=schedule, chunk=steps).losses[-1]

    return _run(call, modes, dimension, width, batch, steps)


def _torch(modes: int, dimension: int, width: int, batch: int, steps: int) -> Run:
    import torch

    from theory.transport.fit import Schedule

    fresh = _fresh(modes, dimension, width)
    start = [np.array(a) for a in (*fresh.weights, *fresh.biases)]
    smoothing, schedule = float(fresh.smoothing), Schedule(steps=steps, batch=batch)

    def call(repeat: int) -> float:
        generator = torch.Generator().manual_seed(repeat)
        parameters = [torch.tensor(a, requires_grad=True) for a in start]
        adam = torch.optim.Adam(parameters, lr=schedule.rate, betas=(0.9, 0.99))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        losses = []
        for number in range(steps):
            x = torch.randn(batch, dimension, generator=generator)
            loss = _loss(parameters, x, smoothing, number / steps, schedule)
            adam.zero_grad()
            loss.backward()
            adam.step()
            cosine.step()
            losses.append(loss.item())
        return sum(losses) / steps

    return _run(call, modes, dimension, width, batch, steps)


def _loss(parameters: list[Any], x: Any, smoothing: float, done: float, schedule: Any) -> Any:
    """E V/(V + τ) + w·KL(m ‖ E softmax(βΛg)), as `theory.transport.fit` has it."""
    import torch

    parted = min(done / schedule.parting, 1)
    softness = _geometric(schedule.softness[0], schedule.softness[1], min(done / 0.9, 1))
    sharpness = _geometric(schedule.sharpness[0] / STIFFNESS, schedule.sharpness[1], parted)
    logits = STIFFNESS * _chain(parameters, x, smoothing)
    modes = logits.shape[1]
    apart = _sparsemax(logits)[:, None] - torch.eye(modes)
    cost = ((apart**2).sum(-1) + 1e-12).sqrt().amin(1)
    reached = torch.logsumexp(torch.log_softmax(sharpness * logits, 1), 0) - math.log(len(x))
    unbalance = (-math.log(modes) - reached).mean()
    return parted * (cost / (cost + softness)).mean() + schedule.balance * unbalance


def _chain(parameters: list[Any], x: Any, smoothing: float) -> Any:
    """g(x): orthonormal layers, and smooth sorting of pairs between them."""
    import torch

    for layer in range(LAYERS):
        weight, bias = parameters[layer], parameters[LAYERS + layer]
        wide = weight.shape[0] < weight.shape[1]
        factor, triangle = torch.linalg.qr(weight.T if wide else weight)
        factor = factor * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
        x = x @ (factor if wide else factor.T) + bias
        if layer < LAYERS - 1:
            first, second = x[:, ::2], x[:, 1::2]
            half = ((first - second) ** 2 + smoothing**2).sqrt() / 2
            middle = (first + second) / 2
            x = torch.stack([middle + half, middle - half], -1).reshape(x.shape)
    return x


def _sparsemax(x: Any) -> Any:
    """The nearest point of the simplex, by sorting (Martins, Astudillo 2016)."""
    import torch

    ordered = x.sort(dim=1, descending=True).values
    place = torch.arange(1, x.shape[1] + 1)
    sums = ordered.cumsum(1) - 1
    support = (place * ordered > sums).sum(1, keepdim=True)
    return (x - sums.gather(1, support - 1) / support).clamp(min=0)


def _geometric(start: float, end: float, share: float) -> float:
    return math.exp((1 - share) * math.log(start) + share * math.log(end))


CONTENDERS = {
    "noncommit": Contender(OURS, _theory),
    "PyTorch": Contender("torch", _torch),
}
