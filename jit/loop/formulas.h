#pragma once

// The formulas behind math.h, on f32 operands unless said. Polynomials come from tools/fit.py;
// bounds in ulp are those the sweep in tests/llvm checks.

#include <span>

#include "jit/loop/builder.h"
#include "jit/loop/math.h"

namespace tenon::loop::formulas {

// Sum of coefficients[k] x^k by Horner's rule with fma, in the type of x.
Pack polynomial(Builder&, Pack x, std::initializer_list<double> coefficients);
Pack clamp(Builder&, Pack x, double low, double high);  // NaN stays
// Does any lane of any member hold true? Scalar i1.
Pack any(Builder&, Pack flags);

// math_f32.cpp: entirely in f32.
Pack exp(Builder&, Pack x);
Pack exp2(Builder&, Pack x);
Pack expm1(Builder&, Pack x);
Pack log(Builder&, Pack x);
Pack log2(Builder&, Pack x);
Pack log10(Builder&, Pack x);
Pack log1p(Builder&, Pack x);
Pack sin(Builder&, Pack x);
Pack cos(Builder&, Pack x);
Pack tanh(Builder&, Pack x);
Pack erf(Builder&, Pack x);

// math_wide.cpp: computed in f64 to 1e-9 or better and rounded once (at most 0.52 ulp).
Pack tan(Builder&, Pack x);
Pack asin(Builder&, Pack x);
Pack acos(Builder&, Pack x);
Pack atan(Builder&, Pack x);
Pack atan2(Builder&, Pack y, Pack x);
Pack sinh(Builder&, Pack x);
Pack cosh(Builder&, Pack x);
Pack asinh(Builder&, Pack x);
Pack acosh(Builder&, Pack x);
Pack atanh(Builder&, Pack x);
Pack erfc(Builder&, Pack x);
Pack pow(Builder&, Pack x, Pack y);
Pack fmod(Builder&, Pack x, Pack y);  // exact

// math_integer.cpp
Pack integer_pow(Builder&, Pack base, Pack exponent);
Pack next_after(Builder&, Pack x, Pack y);  // f32 or f64

// Numbers of host functions that formulas name themselves (host_math.cpp).
uint32_t host_function(std::string_view name);

}  // namespace tenon::loop::formulas
