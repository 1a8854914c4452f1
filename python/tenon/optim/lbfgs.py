"""L-BFGS: steps along an estimate of Newton's direction, from the last gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .optimizer import Optimizer

# A place on the line of a search: the step, the loss, the gradient, and its product with the
# direction.
Point = tuple[float, float, Tensor, float]


def _cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through two places with their slopes, within bounds.

    Nocedal, Wright, "Numerical optimization", 2nd edition, (3.59).
    """
    (x1, f1, _, g1), (x2, f2, _, g2) = a, b
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if square < 0:
        return (low + high) / 2
    d2 = square**0.5
    if x1 <= x2:
        place = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        place = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(place, low), high)


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]],
    t: float,
    direction: Tensor,
    begin: Point,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    most: int = 25,
) -> tuple[float, Tensor, float, int]:
    """A step that lowers the loss enough and flattens the slope: (loss, gradient, step, calls).

    Nocedal, Wright, "Numerical optimization", algorithms 3.5 and 3.6.
    """
    _, loss, _, slope = begin
    scale = direction.abs().max().item()

    def at(t: float) -> Point:
        value, gradient = evaluate(t)
        return t, value, gradient, gradient.dot(direction).item()

    previous, now, calls = begin, at(t), 1
    bracket: list[Point] = []
    done = False
    count = 0
    while count < most:
        step, value, _, steep = now
        if value > loss + c1 * step * slope or (count > 1 and value >= previous[1]):
            bracket = [previous, now]
            break
        if abs(steep) <= -c2 * slope:
            bracket, done = [now], True
            break
        if steep >= 0:
            bracket = [previous, now]
            break
        least = step + 0.01 * (step - previous[0])
        after = _cubic_minimum(previous, now, (least, step * 10))
        previous, now = now, at(after)
        calls += 1
        count += 1
    if count == most:
        bracket = [begin, now]
    slow = False
    while not done and count < most and len(bracket) == 2:
        low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        ends = sorted(point[0] for point in bracket)
        if (ends[1] - ends[0]) * scale < tolerance_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1])
        margin = 0.1 * (ends[1] - ends[0])
        if min(ends[1] - t, t - ends[0]) < margin:  # too near an end, twice in a row or beyond it
            if slow or t >= ends[1] or t <= ends[0]:
                near_high = abs(t - ends[1]) < abs(t - ends[0])
                t = ends[1] - margin if near_high else ends[0] + margin
                slow = False
            else:
                slow = True
        else:
            slow = False
        new = at(t)
        calls += 1
        count += 1
        if new[1] > loss + c1 * t * slope or new[1] >= bracket[low][1]:
            bracket[high] = new
            continue
        if abs(new[3]) <= -c2 * slope:
            done = True
        elif new[3] * (bracket[high][0] - bracket[low][0]) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    best = min(bracket, key=lambda point: point[1])
    return best[1], best[2], best[0], calls


class LBFGS(Optimizer):
    """Limited-memory BFGS: `step(closure)` takes several iterations, each reading the loss.

    All parameters are one group. line_search_fn: None takes steps of lr, "strong_wolfe" searches.
    Errors: ValueError for several groups; RuntimeError for another line_search_fn.

    Source: Liu, Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 1989.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> optimizer = tn.optim.LBFGS([p], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = ((p - 3) ** 2 * tn.tensor([1.0, 10.0])).sum()
        ...     loss.backward()
        ...     return loss
        >>> _ = optimizer.step(closure)
        >>> tn.allclose(p, tn.tensor([3.0, 3.0]), atol=1e-4)
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not float(lr) >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        parts = [
            _tn.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.reshape(-1)
            for p in self._params
        ]
        return _tn.cat(parts)

    def _move(self, begin: list[Tensor], step: float, direction: Tensor) -> None:
        offset = 0
        for p, old in zip(self._params, begin, strict=True):
            part = direction[offset : offset + p.numel()].reshape(p.shape)
            p.copy_(old + step * part)
            offset += p.numel()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; the closure computes the loss and its gradients anew."""
        if closure is None:
            raise TypeError("LBFGS.step: a closure that computes the loss anew is required")
        with _tn.no_grad():
            return self._minimize(_tn.enable_grad()(closure))

    def _direction(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        """The two loops over the last differences of steps and gradients."""
        steps, changes, inverses = state["old_stps"], state["old_dirs"], state["ro"]
        q = -gradient
        weights: list[Tensor] = []
        for s, y, r in zip(reversed(steps), reversed(changes), reversed(inverses), strict=True):
            weights.append(s.dot(q) * r)
            q = q - weights[-1] * y
        d = q * state["H_diag"]
        for s, y, r in zip(steps, changes, inverses, strict=True):
            d = d + s * (weights.pop() - y.dot(d) * r)
        return d

    def _remember(self, gradient: Tensor, state: dict[str, Any], size: int) -> None:
        y, s = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = y.dot(s).item()
        if curvature <= 1e-10:
            return
        for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / curvature)):
            if len(state[name]) == size:
                state[name].pop(0)
            state[name].append(value)
        state["H_diag"] = curvature / y.dot(y).item()

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        rate, search = float(group["lr"]), group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        original = closure()
        loss, calls = float(original), 1
        state["func_evals"] += 1
        gradient = self._gradient()
        if gradient.abs().max().item() <= group["tolerance_grad"]:
            return original
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction = -gradient
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            else:
                self._remember(gradient, state, group["history_size"])
                direction = self._direction(gradient, state)
            state["prev_flat_grad"], before = gradient, loss
            first = state["n_iter"] == 1
            step = min(1.0, 1.0 / gradient.abs().sum().item()) * rate if first else rate
            slope = gradient.dot(direction).item()
            if slope > -group["tolerance_change"]:
                state.update(d=direction, t=step)
                break
            begin = [p.clone() for p in self._params]
            used = 1
            if search is not None:

                def evaluate(
                    t: float, begin: list[Tensor] = begin, direction: Tensor = direction
                ) -> tuple[float, Tensor]:
                    self._move(begin, t, direction)
                    value = float(closure())
                    return value, self._gradient()

                start = (0.0, loss, gradient, slope)
                loss, gradient, step, used = strong_wolfe(evaluate, step, direction, start)
                self._move(begin, step, direction)
            else:
                self._move(begin, step, direction)
                if iterations != group["max_iter"]:
                    loss = float(closure())
                    gradient = self._gradient()
            state.update(d=direction, t=step)
            calls += used
            state["func_evals"] += used
            if (
                iterations == group["max_iter"]
                or calls >= group["max_eval"]
                or gradient.abs().max().item() <= group["tolerance_grad"]
                or (direction * step).abs().max().item() <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        state["prev_loss"] = before
        _tn.eval(*self._params)
        return original
