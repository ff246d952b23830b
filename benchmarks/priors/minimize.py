"""Many small problems minimised side by side: L-BFGS in which each row has its own memory, its own step length and its own end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]
"""Energies (M,) of points (M, ...) that belong to the problems whose numbers (M,) are given."""

TOLERANCE = 0.05
"""Nats that the energy must fall by in `PATIENCE` steps for a fit to go on."""
PATIENCE = 10
_MEMORY = 20
_FIRST_MOVE, _LONGEST_MOVE = 0.05, 1.5  # of a component, in radians
_SUFFICIENT, _SHRINK, _TRIALS = 1e-4, 0.3, 12


@dataclass(frozen=True)
class Fit:
    """What became of N problems.

    Args:
        point: (N, ...) the lowest points found.
        energy: (N,) there; not finite if the start was not.
        start_energy: (N,) where it began.
        steps: (N,) steps taken.
        converged: (N,) bool: the energy fell by less than `TOLERANCE` in `PATIENCE` steps, or no step along the gradient lowers it.
        broken: (N,) bool: an energy or a gradient on the way was not finite.
    """

    point: Tensor
    energy: Tensor
    start_energy: Tensor
    steps: Tensor
    converged: Tensor
    broken: Tensor

    @property
    def failed(self) -> Tensor:
        """(N,) bool: not finite anywhere on the way or at the end, ended above the start, or did not converge."""
        return self.broken | ~torch.isfinite(self.energy) | ~(self.energy <= self.start_energy) | ~self.converged


class _Rows:
    """The state of the problems; all tensors (N, ...), memory (m, N, D)."""

    def __init__(self, objective: Objective, start: Tensor) -> None:
        self.objective, self.shape = objective, start.shape[1:]
        self.x = start.detach().double().flatten(1).clone()
        num = len(self.x)
        self.broken = torch.zeros(num, dtype=torch.bool)
        self.f, self.g = self.evaluate(self.x, torch.arange(num))
        self.s, self.y = torch.zeros(_MEMORY, *self.x.shape, dtype=torch.float64), torch.zeros(_MEMORY, *self.x.shape, dtype=torch.float64)
        self.rho, self.scale = torch.zeros(_MEMORY, num, dtype=torch.float64), torch.zeros(num, dtype=torch.float64)

    def evaluate(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (M,) and gradients (M, D); infinite and zero where either is not finite, which is noted."""
        point = x.detach().requires_grad_()
        energy = self.objective(point.view(-1, *self.shape), rows)
        (gradient,) = torch.autograd.grad(energy.sum(), point)
        bad = ~(torch.isfinite(energy) & torch.isfinite(gradient).all(1)).detach()
        self.broken[rows[bad]] = True
        return energy.detach().double().masked_fill(bad, torch.inf), gradient.masked_fill(bad[:, None], 0)

    def direction(self, rows: Tensor) -> Tensor:
        """The two-loop recursion (Nocedal & Wright, "Numerical Optimization", algorithm 7.4); along the gradient where memory is empty."""
        s, y, rho, gradient = self.s[:, rows], self.y[:, rows], self.rho[:, rows], self.g[rows]
        q, shares = gradient, []
        for i in range(_MEMORY):
            shares.append(rho[i] * (s[i] * q).sum(1))
            q = q - shares[i][:, None] * y[i]
        first = _FIRST_MOVE / gradient.abs().amax(1).clamp_min(1e-30)
        q = q * torch.where(self.scale[rows] > 0, self.scale[rows], first)[:, None]
        for i in reversed(range(_MEMORY)):
            q = q + s[i] * (shares[i] - rho[i] * (y[i] * q).sum(1))[:, None]
        uphill = (q * gradient).sum(1) <= 0
        q = torch.where(uphill[:, None], gradient * first[:, None], q)
        self.forget(rows[uphill])
        return -q * (_LONGEST_MOVE / q.abs().amax(1).clamp_min(_LONGEST_MOVE))[:, None]

    def remember(self, rows: Tensor, s: Tensor, y: Tensor) -> None:
        """Newest first; pairs without positive curvature are not kept."""
        curvature = (s * y).sum(1)
        kept = curvature > 1e-10 * s.norm(dim=1) * y.norm(dim=1)
        rows, s, y, curvature = rows[kept], s[kept], y[kept], curvature[kept]
        for memory, newest in ((self.s, s), (self.y, y), (self.rho, 1 / curvature)):
            memory[1:, rows] = memory[:-1, rows]
            memory[0, rows] = newest
        self.scale[rows] = curvature / y.square().sum(1)

    def forget(self, rows: Tensor) -> None:
        self.rho[:, rows], self.scale[rows] = 0, 0

    def search(self, rows: Tensor) -> Tensor:
        """Moves each row along its direction as far as that lowers its energy; (M,) bool, which moved."""
        direction = self.direction(rows)
        slope = (direction * self.g[rows]).sum(1)
        length = torch.ones(len(rows), dtype=torch.float64)
        pending = torch.arange(len(rows))
        for _ in range(_TRIALS):
            at = rows[pending]
            x = self.x[at] + length[pending, None] * direction[pending]
            f, g = self.evaluate(x, at)
            low = f <= self.f[at] + _SUFFICIENT * length[pending] * slope[pending]
            taken = at[low]
            self.remember(taken, x[low] - self.x[taken], g[low] - self.g[taken])
            self.x[taken], self.f[taken], self.g[taken] = x[low], f[low], g[low]
            pending = pending[~low]
            if not len(pending):
                break
            length[pending] *= _SHRINK
        moved = torch.ones(len(rows), dtype=torch.bool)
        moved[pending] = False
        return moved


def minimize(objective: Objective, start: Tensor, max_steps: int) -> Fit:
    """The nearest minimum of each of N problems.

    Args:
        objective: differentiable; rows must not depend on each other.
        start: (N, ...).
        max_steps: of each problem at most.
    """
    rows = _Rows(objective, start)
    start_energy = rows.f.clone()
    steps, converged = torch.zeros(len(start), dtype=torch.long), torch.zeros(len(start), dtype=torch.bool)
    active, before = torch.isfinite(rows.f).nonzero()[:, 0], rows.f.clone()
    for step in range(1, max_steps + 1):
        if not len(active):
            break
        plain = rows.scale[active] == 0
        moved = rows.search(active)
        steps[active] = step
        stuck = active[~moved]
        rows.forget(stuck)
        converged[stuck[plain[~moved]]] = True
        if step % PATIENCE == 0:
            converged[active[before[active] - rows.f[active] < TOLERANCE]] = True
            before = rows.f.clone()
        active = active[~converged[active]]
    return Fit(rows.x.view(start.shape), rows.f, start_energy, steps, converged, rows.broken)
