"""Long elementwise programs: Black-Scholes on 8M options, 50 Mandelbrot steps on 1M points.

python benchmarks/elementwise.py [--case black_scholes] [--peers tenon torch jax.jit]
"""

from __future__ import annotations

import numpy as np
from harness import Options, main
from twins import peers

OPTIONS, SIDE, STEPS = 8 << 20, 1024, 50
CASES = ["black_scholes", "mandelbrot"]


def arrays(case: str):
    rng = np.random.default_rng(0)
    if case == "mandelbrot":
        x, y = np.meshgrid(np.linspace(-2, 0.5, SIDE), np.linspace(-1.2, 1.2, SIDE))
        return [x.astype(np.float32), y.astype(np.float32)]
    spot, strike = rng.uniform(10, 100, (2, OPTIONS)).astype(np.float32)
    return [spot, strike, rng.uniform(0.25, 2, OPTIONS).astype(np.float32)]


def mandelbrot(where):
    def count(x, y):
        real, imaginary, steps = x * 0, y * 0, x * 0
        for _ in range(STEPS):
            inside = real * real + imaginary * imaginary < 4
            real, imaginary = (
                where(inside, real * real - imaginary * imaginary + x, real),
                where(inside, 2 * real * imaginary + y, imaginary),
            )
            steps = steps + where(inside, 1.0, 0.0)
        return steps

    return count


def black_scholes(log, sqrt, exp, erf):
    def call(spot, strike, years):
        rate, volatility = 0.02, 0.3
        spread = volatility * sqrt(years)
        d1 = (log(spot / strike) + (rate + volatility * volatility / 2) * years) / spread
        d2 = d1 - spread

        def normal(d):
            return 0.5 + 0.5 * erf(d * 0.7071067811865476)

        return spot * normal(d1) - strike * exp(-rate * years) * normal(d2)

    return call


def program(t, case: str):
    if case == "mandelbrot":
        return mandelbrot(t.where)
    return black_scholes(t.log, t.sqrt, t.exp, t.erf)


def jax_program(case: str):
    import jax
    import jax.numpy as jnp

    if case == "mandelbrot":
        return mandelbrot(jnp.where)
    return black_scholes(jnp.log, jnp.sqrt, jnp.exp, jax.scipy.special.erf)


def drjit_program(case: str):
    import drjit as dr

    if case == "mandelbrot":
        return mandelbrot(dr.select)
    return black_scholes(dr.log, dr.sqrt, dr.exp, dr.erf)


def compared(case: str, values: np.ndarray) -> np.ndarray:
    """Steps of a point on the set's edge depend on roundings: means of squares of 64 points."""
    if case != "mandelbrot":
        return values
    return values.reshape(SIDE // 8, 8, SIDE // 8, 8).mean((1, 3))


PEERS = peers(arrays, program, jax_program, compared=compared, drjit_program=drjit_program)

if __name__ == "__main__":
    main(__doc__, PEERS, CASES, Options(tolerance=1e-2, rounds=5, unit="ms"))
