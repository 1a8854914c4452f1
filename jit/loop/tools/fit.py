"""Fits the polynomials of jit/loop/math_*.cpp: minimax by Lawson's reweighted least squares.

Run: python jit/loop/tools/fit.py. Prints each polynomial, lowest power first, and its largest
relative (or absolute) error. Functions are evaluated with mpmath at 40 digits. For float32 the
leading coefficients are rounded one at a time and the rest fitted again, so that what is printed
is what runs.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40
POINTS = 600


def minimax(values, points, weights, powers, rounds=60):
    """Coefficients of sum c_k x^p_k with the least max |weights * (sum - values)|."""
    basis = np.array([points**p for p in powers], dtype=np.longdouble).T * weights[:, None]
    target = values * weights
    lawson = np.ones(len(points), dtype=np.longdouble)
    for _ in range(rounds):
        root = np.sqrt(lawson)
        scale = np.abs(basis).max(axis=0)
        q, r = np.linalg.qr((basis / scale * root[:, None]).astype(np.float64))
        solve = np.linalg.solve(r, q.T @ (target * root).astype(np.float64))
        # One step of iterative refinement in extended precision.
        residual = (target - (basis / scale) @ solve.astype(np.longdouble)) * root
        solve = solve + np.linalg.solve(r, q.T @ residual.astype(np.float64))
        error = np.abs((basis / scale) @ solve.astype(np.longdouble) - target)
        lawson = lawson * (error / error.max() + 1e-6)
        lawson /= lawson.sum()
    return solve / scale.astype(np.float64), float(error.max())


def fit(name, function, low, high, powers, single=True, weight=None, fixed=0):
    """Fits function on [low, high]; the first `powers` are rounded to float32 in turn."""
    k = np.arange(POINTS)
    points = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (k + 0.5) / POINTS)
    points = points[np.abs(points) > 1e-9]
    exact = [mp.mpf(function(mp.mpf(float(x)))) for x in points]
    values = np.array([np.longdouble(mp.nstr(v, 25)) for v in exact])
    weights = (
        1 / np.abs(values)
        if weight is None
        else np.array(
            [np.longdouble(mp.nstr(mp.mpf(weight(mp.mpf(float(x)))), 25)) for x in points]
        )
    )
    points = points.astype(np.longdouble)
    powers = list(powers)
    coefficients = []
    rest = values.copy()
    if single:
        for i in range(len(powers)):
            solved, error = minimax(rest, points, weights, powers[i:], 30)
            c = np.float32(solved[0])
            coefficients.append(float(c))
            rest = rest - np.longdouble(c) * points ** powers[i]
        error = float(np.abs(rest * weights).max())
    else:
        coefficients, error = minimax(rest, points, weights, powers)
    print(f"// {name}: error {error:.2e}")
    form = "{:.9g}" if single else "{:.17g}"
    print("  " + ", ".join(form.format(c) for c in coefficients))


def over(power, function, series):
    """function(x) / x^power with a series near 0 where cancellation would show."""
    return lambda x: series(x) if abs(x) < mp.mpf("1e-8") else function(x) / x**power


def main():
    ln2h = mp.log(2) / 2 * mp.mpf("1.002")
    zero = lambda c: lambda x: mp.mpf(c)
    fit(
        "exp f32: (exp(r)-1-r)/r^2",
        over(2, lambda r: mp.exp(r) - 1 - r, zero("0.5")),
        -ln2h,
        ln2h,
        range(5),
        weight=lambda r: r * r if r != 0 else 0,
    )
    fit(
        "expm1 f32: (exp(r)-1-r)/r^2, for relative error of expm1",
        over(2, lambda r: mp.exp(r) - 1 - r, zero("0.5")),
        -ln2h,
        ln2h,
        range(6),
        weight=lambda r: abs(r),
    )
    fit(
        "exp2 f32: (2^r-1)/r",
        over(1, lambda r: mp.mpf(2) ** r - 1, lambda x: mp.log(2)),
        -0.501,
        0.501,
        range(6),
        weight=lambda r: abs(r),
    )
    # log(1 + f) = f - f^2/2 + f^3 * p(f), f in [-1/4, 1/2]
    log_rest = over(3, lambda f: mp.log1p(f) - f + f * f / 2, lambda f: mp.mpf(1) / 3 - f / 4)
    fit("log f32: (log1p(f)-f+f^2/2)/f^3", log_rest, -0.26, 0.51, range(8), weight=lambda f: f * f)
    sin_rest = over(3, lambda x: mp.sin(x) - x, zero(mp.mpf(-1) / 6))
    root = lambda g: lambda z: g(mp.sqrt(z)) if z > 0 else g(mp.mpf("1e-12"))
    q = (mp.pi / 4 * mp.mpf("1.003")) ** 2
    fit("sin f32: (sin x - x)/x^3 in x^2", root(sin_rest), 0, q, range(4), weight=lambda z: z)
    cos_rest = over(4, lambda x: mp.cos(x) - 1 + x * x / 2, zero(mp.mpf(1) / 24))
    fit(
        "cos f32: (cos x - 1 + x^2/2)/x^4 in x^2",
        root(cos_rest),
        0,
        q,
        range(3),
        weight=lambda z: z * z,
    )
    erf_rest = over(1, mp.erf, zero(2 / mp.sqrt(mp.pi)))
    fit(
        "erf f32, small: erf(x)/x - 1 in x^2, x in [0, 0.92]",
        root(lambda x: erf_rest(x) - 1),
        0,
        0.86,
        range(7),
        weight=lambda z: 1,
    )
    fit(
        "erf f32, large: -log(1-erf(x)), x in [0.92, 4]",
        lambda x: -mp.log(mp.erfc(x)),
        0.91,
        4.0,
        range(8),
        weight=lambda x: mp.erfc(x),
    )
    fit(
        "tanh f32, small: (tanh x - x)/x^3 in x^2",
        root(over(3, lambda x: mp.tanh(x) - x, zero(mp.mpf(-1) / 3))),
        0,
        0.36,
        range(6),
        weight=lambda z: z,
    )

    double = dict(single=False)
    fit(
        "exp f64: (exp(r)-1)/r",
        over(1, lambda r: mp.exp(r) - 1, zero(1)),
        -ln2h,
        ln2h,
        range(9),
        weight=lambda r: abs(r),
        **double,
    )
    # log(1 + f) = 2 atanh(s), s = f / (2 + f), |s| <= 0.2
    fit(
        "log f64: atanh(s)/s - 1 over s^2, in s^2",
        root(lambda s: (mp.atanh(s) / s - 1) / s**2 if s > mp.mpf("1e-8") else mp.mpf(1) / 3),
        0,
        0.2**2 * 1.01,
        range(7),
        weight=lambda z: z,
        **double,
    )
    fit(
        "sin f64: (sin x - x)/x^3 in x^2",
        root(sin_rest),
        0,
        q,
        range(6),
        weight=lambda z: z,
        **double,
    )
    fit(
        "cos f64: (cos x - 1)/x^2 in x^2",
        root(over(2, lambda x: mp.cos(x) - 1, zero("-0.5"))),
        0,
        q,
        range(6),
        weight=lambda z: z,
        **double,
    )
    fit(
        "atan f64: atan(x)/x in x^2, x in [0, 1]",
        root(over(1, mp.atan, zero(1))),
        0,
        1.0,
        range(13),
        **double,
    )
    fit(
        "sinh f64: sinh(x)/x in x^2, x in [0, 1]",
        root(over(1, mp.sinh, zero(1))),
        0,
        1.0,
        range(6),
        **double,
    )

    # erfc(x) exp(x^2) (1 + 2x) in t = (x - 2) / (x + 2), x in [0, 10.5]
    def scaled(t):
        x = 2 * (1 + t) / (1 - t)
        return mp.erfc(x) * mp.exp(x * x) * (1 + 2 * x)

    fit(
        "erfc f64: erfc(x) exp(x^2) (1+2x) in (x-2)/(x+2)",
        scaled,
        -1,
        8.5 / 12.5,
        range(15),
        **double,
    )


main()
