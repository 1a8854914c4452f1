"""Writes the Chebyshev series of trace/ops/special_series.h.

Run: python trace/ops/tools/series.py > trace/ops/special_series.h. Each is the interpolant of a
smooth function on [-1, 1], worked out with mpmath at 40 digits and cut where its coefficients fall
below 1e-17 of the largest.
"""

import mpmath as mp

mp.mp.dps = 40
MOST = 64


def chebyshev(function):
    nodes = [mp.cos(mp.pi * (k + mp.mpf(1) / 2) / MOST) for k in range(MOST)]
    values = [function(y) for y in nodes]
    coefficients = []
    for j in range(MOST):
        terms = (v * mp.cos(j * mp.pi * (k + mp.mpf(1) / 2) / MOST) for k, v in enumerate(values))
        coefficients.append(2 * mp.fsum(terms) / MOST)
    coefficients[0] /= 2
    largest = max(abs(c) for c in coefficients)
    while len(coefficients) > 1 and abs(coefficients[-1]) < 1e-17 * largest:
        coefficients.pop()
    return coefficients


def on(low, high, function):
    """Of a function on [low, high]."""
    low, high = mp.mpf(low), mp.mpf(high)
    return lambda y: function(low + (high - low) * (y + 1) / 2)


def above(least, function):
    """Of a function of x on [least, infinity), in 2 least / x - 1."""
    return lambda y: function(2 * mp.mpf(least) / (y + 1))


def above_squared(least, function):
    """The same in 2 (least / x)^2 - 1."""
    return lambda y: function(mp.mpf(least) * mp.sqrt(2 / (y + 1)))


def amplitudes(order, sine):
    """P or x Q: J, Y = sqrt(2 / (pi x)) (P cos - Q sin, P sin + Q cos) of x - (1 + 2n) pi / 4."""

    def function(x):
        angle = x - (2 * order + 1) * mp.pi / 4
        j, y = mp.besselj(order, x), mp.bessely(order, x)
        root = mp.sqrt(mp.pi * x / 2)
        c, s = mp.cos(angle), mp.sin(angle)
        return root * (y * c - j * s) * x if sine else root * (j * c + y * s)

    return function


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def normal_tail(z):
    """z (z - log(z) / z - x), x being the quantile of the normal law at -exp(-z^2 / 2)."""
    p = mp.exp(-z * z / 2)
    start = z - mp.log(z) / z - mp.log(2 * mp.pi) / (2 * z)
    log_tail = lambda x: mp.log(erfcx(x / mp.sqrt(2)) / 2) - x * x / 2  # noqa: E731
    x = mp.findroot(lambda x: log_tail(x) - mp.log(p), start)
    return z * (z - mp.log(z) / z - x)


def airy_decay(x):
    z = 2 * x ** mp.mpf("1.5") / 3
    return 2 * mp.sqrt(mp.pi) * mp.root(x, 4) * mp.exp(z) * mp.airyai(x)


def airy_wave(sine):
    """P or z Q of Ai(-x) = (P cos + Q sin of z - pi / 4) / (sqrt(pi) x^(1/4)) (DLMF 9.7.9)."""

    def function(y):
        x = 5 * mp.cbrt(2 / (y + 1))
        z = 2 * x ** mp.mpf("1.5") / 3
        c, s = mp.cos(z - mp.pi / 4), mp.sin(z - mp.pi / 4)
        ai, bi = mp.airyai(-x), mp.airybi(-x)
        root = mp.sqrt(mp.pi) * mp.root(x, 4)
        return root * (ai * s + bi * c) * z if sine else root * (ai * c - bi * s)

    return function


def two_over_pi_log(x):
    return 2 / mp.pi * mp.log(x)


SERIES = {
    "I0eNear": ("exp(-x) I0(x) on [0, 8]", on(0, 8, lambda x: mp.exp(-x) * mp.besseli(0, x))),
    "I0eFar": (
        "sqrt(x) exp(-x) I0(x) from 8",
        above(8, lambda x: mp.sqrt(x) * mp.exp(-x) * mp.besseli(0, x)),
    ),
    "I1eNear": (
        "exp(-x) I1(x) / x on [0, 8]",
        on(0, 8, lambda x: mp.exp(-x) * mp.besseli(1, x) / x),
    ),
    "I1eFar": (
        "sqrt(x) exp(-x) I1(x) from 8",
        above(8, lambda x: mp.sqrt(x) * mp.exp(-x) * mp.besseli(1, x)),
    ),
    "K0Near": (
        "K0(x) + log(x / 2) I0(x) of x^2 on [0, 4]",
        on(
            0,
            4,
            lambda s: (
                mp.besselk(0, mp.sqrt(s)) + mp.log(mp.sqrt(s) / 2) * mp.besseli(0, mp.sqrt(s))
            ),
        ),
    ),
    "K0Far": (
        "sqrt(x) exp(x) K0(x) from 2",
        above(2, lambda x: mp.sqrt(x) * mp.exp(x) * mp.besselk(0, x)),
    ),
    "K1Near": (
        "x (K1(x) - log(x / 2) I1(x)) of x^2 on [0, 4]",
        on(
            0,
            4,
            lambda s: (
                mp.sqrt(s)
                * (mp.besselk(1, mp.sqrt(s)) - mp.log(mp.sqrt(s) / 2) * mp.besseli(1, mp.sqrt(s)))
            ),
        ),
    ),
    "K1Far": (
        "sqrt(x) exp(x) K1(x) from 2",
        above(2, lambda x: mp.sqrt(x) * mp.exp(x) * mp.besselk(1, x)),
    ),
    "J0Near": ("J0(x) of x^2 on [0, 64]", on(0, 64, lambda s: mp.besselj(0, mp.sqrt(s)))),
    "J1Near": (
        "J1(x) / x of x^2 on [0, 64]",
        on(0, 64, lambda s: mp.besselj(1, mp.sqrt(s)) / mp.sqrt(s)),
    ),
    "Y0Near": (
        "Y0(x) - 2 / pi log(x) J0(x) of x^2 on [0, 64]",
        on(
            0,
            64,
            lambda s: (
                mp.bessely(0, mp.sqrt(s)) - two_over_pi_log(mp.sqrt(s)) * mp.besselj(0, mp.sqrt(s))
            ),
        ),
    ),
    "Y1Near": (
        "(Y1(x) - 2 / pi (log(x) J1(x) - 1 / x)) / x of x^2 on [0, 64]",
        on(
            0,
            64,
            lambda s: (
                (
                    mp.bessely(1, mp.sqrt(s))
                    - two_over_pi_log(mp.sqrt(s)) * mp.besselj(1, mp.sqrt(s))
                    + 2 / mp.pi / mp.sqrt(s)
                )
                / mp.sqrt(s)
            ),
        ),
    ),
    "P0": ("P of order 0 from 8, in 2 (8 / x)^2 - 1", above_squared(8, amplitudes(0, False))),
    "Q0": ("x Q of order 0 from 8, the same", above_squared(8, amplitudes(0, True))),
    "P1": ("P of order 1 from 8, the same", above_squared(8, amplitudes(1, False))),
    "Q1": ("x Q of order 1 from 8, the same", above_squared(8, amplitudes(1, True))),
    "Erfcx": (
        "(1 + 2 x) exp(x^2) erfc(x) of (x - 3.75) / (x + 3.75)",
        lambda y: (1 + 2 * (3.75 * (1 + y) / (1 - y))) * erfcx(mp.mpf(3.75) * (1 + y) / (1 - y)),
    ),
    "NormalNear": (
        "z (z - log(z) / z - x) of 1 / z on [1 / 8, 1 / 2]: quantiles x of exp(-z^2 / 2)",
        on(mp.mpf(1) / 8, mp.mpf(1) / 2, lambda t: normal_tail(1 / t)),
    ),
    "AiryMiddle": ("Ai(x) on [-5, 1]", on(-5, 1, mp.airyai)),
    "AiryDecay": (
        "2 sqrt(pi) x^(1/4) exp(z) Ai(x) from 1, in 2 x^(-3/2) - 1, where z = 2/3 x^(3/2)",
        lambda y: airy_decay((2 / (y + 1)) ** (mp.mpf(2) / 3)),
    ),
    "AiryP": ("P of Ai(-x) from 5, in 2 (5 / x)^3 - 1", airy_wave(False)),
    "AiryQ": ("z Q of Ai(-x) from 5, the same", airy_wave(True)),
    "NormalFar": (
        "the same on [1 / 40, 1 / 8]",
        on(mp.mpf(1) / 40, mp.mpf(1) / 8, lambda t: normal_tail(1 / t)),
    ),
}


def main():
    print("// Written by trace/ops/tools/series.py: Chebyshev series of special functions.")
    print("#pragma once\n\nnamespace tenon::values::series {\n")
    for name, (what, function) in SERIES.items():
        print(f"// {what}.\ninline constexpr double k{name}[] = {{")
        numbers = [mp.nstr(c, 18, min_fixed=0, max_fixed=0) for c in chebyshev(function)]
        for first in range(0, len(numbers), 3):
            print("    " + " ".join(f"{number}," for number in numbers[first : first + 3]))
        print("};\n")
    print("}  // namespace tenon::values::series")


if __name__ == "__main__":
    main()
