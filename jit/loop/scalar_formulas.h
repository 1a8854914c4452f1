// Formulas of functions on f64 that neither C++ nor CUDA has. Both compile this file: host_math.cpp
// and, as text, the CUDA back end. So it includes nothing; the functions of <cmath> are known.
#pragma once

namespace tenon::scalar_formulas {

// Reflection to positive x, recurrence up to 10, then the asymptotic series (DLMF 5.5.2, 5.5.4,
// 5.11.2). Poles at 0 give -+infinity by the sign of the zero, at negative integers NaN, as
// PyTorch.
inline double digamma(double x) {
  constexpr double kPi = 3.141592653589793;
  if (x == 0) return copysign(1 / fabs(x), -x);
  double reflection = 0;
  const bool is_negative = x < 0;
  if (is_negative) {
    if (x == trunc(x)) return sqrt(x);  // NaN
    reflection = kPi / tan(kPi * (x - trunc(x)));
    x = 1 - x;
  }
  double sum = 0;
  for (; x < 10; x += 1) sum -= 1 / x;
  if (x - x != 0) return x;  // infinity or NaN
  const double z = 1 / (x * x);
  const double series =
      z * (1.0 / 12 - z * (1.0 / 120 -
                           z * (1.0 / 252 -
                                z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
  const double result = sum + log(x) - 0.5 / x - series;
  return is_negative ? result - reflection : result;
}

// Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011) to 1e-7, then two Newton
// steps on erf (or on erfc in the tails, where erf has no digits left).
inline double erfinv(double x) {
  constexpr double kPi = 3.141592653589793;
  constexpr double kCenter[] = {2.81022636e-08,  3.43273939e-07, -3.5233877e-06,
                                -4.39150654e-06, 0.00021858087,  -0.00125372503,
                                -0.00417768164,  0.246640727,    1.50140941};
  constexpr double kTail[] = {-0.000200214257, 0.000100950558, 0.00134934322,
                              -0.00367342844,  0.00573950773,  -0.0076224613,
                              0.00943887047,   1.00167406,     2.83297682};
  const double target = fabs(x);
  if (!(target <= 1)) return sqrt(-1 - target);  // NaN
  if (target == 1) return x / (1 - target);      // infinity
  if (x == 0) return x;
  const double w = -log((1 - x) * (1 + x));
  const bool is_center = w < 5;
  const double v = is_center ? w - 2.5 : sqrt(w) - 3;
  double p = is_center ? kCenter[0] : kTail[0];
  for (int i = 1; i < 9; ++i) p = (is_center ? kCenter[i] : kTail[i]) + p * v;
  double y = fabs(p * x);
  for (int step = 0; step < 2; ++step) {
    const double error = target > 0.5 ? (1 - target) - erfc(y) : erf(y) - target;
    const double newton = error * sqrt(kPi) / 2 * exp(y * y);
    y -= newton / (1 + y * newton);  // Halley's correction
  }
  return copysign(y, x);
}

// PyTorch's floor division and remainder of floating numbers, on c10::div_floor_floating's lines.
inline double remainder_of(double x, double y) {
  const double r = fmod(x, y);
  return r != 0 && (y < 0) != (r < 0) ? r + y : r;
}

inline double floor_divide(double x, double y) {
  if (y == 0) return x / y;
  const double r = fmod(x, y);
  double quotient = (x - r) / y;
  if (r != 0 && (y < 0) != (r < 0)) quotient -= 1;
  if (quotient == 0) return copysign(0.0, x / y);
  const double below = floor(quotient);
  return quotient - below > 0.5 ? below + 1 : below;
}

}  // namespace tenon::scalar_formulas
