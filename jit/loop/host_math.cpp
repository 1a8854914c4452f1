// Functions that compiled kernels and the interpreter both call, one lane at a time.

#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "jit/loop/formulas.h"

namespace tenon::loop {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double rsqrt(double x) { return 1 / std::sqrt(x); }

// lgamma writes the global signgam; the reentrant form does not.
double log_gamma(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
}

// Reflection to positive x, recurrence up to 10, then the asymptotic series (DLMF 5.5.2, 5.5.4,
// 5.11.2). Poles at 0 give -+infinity by the sign of the zero, at negative integers NaN, as
// PyTorch.
double digamma(double x) {
  if (x == 0) return std::copysign(kInfinity, -x);
  if (x < 0) {
    if (x == std::trunc(x)) return kNaN;
    const double fraction = x - std::trunc(x);
    return digamma(1 - x) - std::numbers::pi / std::tan(std::numbers::pi * fraction);
  }
  double sum = 0;
  for (; x < 10; x += 1) sum -= 1 / x;
  if (x == kInfinity) return x;
  const double z = 1 / (x * x);
  const double series =
      z * (1.0 / 12 - z * (1.0 / 120 -
                           z * (1.0 / 252 -
                                z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
  return sum + std::log(x) - 0.5 / x - series;
}

// Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011) to 1e-7, then two Newton
// steps on erf (or on erfc in the tails, where erf has no digits left).
double erfinv(double x) {
  if (std::isnan(x) || std::fabs(x) > 1) return kNaN;
  if (std::fabs(x) == 1) return std::copysign(kInfinity, x);
  if (x == 0) return x;
  const double w = -std::log((1 - x) * (1 + x));
  double p;
  if (w < 5) {
    const double v = w - 2.5;
    p = 2.81022636e-08;
    for (double c : {3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                     -0.00417768164, 0.246640727, 1.50140941}) {
      p = c + p * v;
    }
  } else {
    const double v = std::sqrt(w) - 3;
    p = -0.000200214257;
    for (double c : {0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
                     0.00943887047, 1.00167406, 2.83297682}) {
      p = c + p * v;
    }
  }
  double y = std::fabs(p * x);
  const double target = std::fabs(x);
  for (int step = 0; step < 2; ++step) {
    const double error = target > 0.5 ? (1 - target) - std::erfc(y) : std::erf(y) - target;
    const double signed_error = error;
    const double newton = signed_error * std::sqrt(std::numbers::pi) / 2 * std::exp(y * y);
    y -= newton / (1 + y * newton);  // Halley's correction
  }
  return std::copysign(y, x);
}

// PyTorch's floor division and remainder of floating numbers, on c10::div_floor_floating's lines.
double remainder_of(double x, double y) {
  const double r = std::fmod(x, y);
  return r != 0 && (y < 0) != (r < 0) ? r + y : r;
}

double floor_divide(double x, double y) {
  if (y == 0) return x / y;
  const double r = std::fmod(x, y);
  double quotient = (x - r) / y;
  if (r != 0 && (y < 0) != (r < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, x / y);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

template <double (*F)(double)>
double call(double x) {
  return F(x);
}

// New ones go to the end: compiled kernels on disk name them by number.
constexpr HostFunction kFunctions[] = {
    {"exp", call<std::exp>, nullptr},
    {"exp2", call<std::exp2>, nullptr},
    {"expm1", call<std::expm1>, nullptr},
    {"log", call<std::log>, nullptr},
    {"log2", call<std::log2>, nullptr},
    {"log10", call<std::log10>, nullptr},
    {"log1p", call<std::log1p>, nullptr},
    {"sin", call<std::sin>, nullptr},
    {"cos", call<std::cos>, nullptr},
    {"tan", call<std::tan>, nullptr},
    {"asin", call<std::asin>, nullptr},
    {"acos", call<std::acos>, nullptr},
    {"atan", call<std::atan>, nullptr},
    {"sinh", call<std::sinh>, nullptr},
    {"cosh", call<std::cosh>, nullptr},
    {"tanh", call<std::tanh>, nullptr},
    {"asinh", call<std::asinh>, nullptr},
    {"acosh", call<std::acosh>, nullptr},
    {"atanh", call<std::atanh>, nullptr},
    {"erf", call<std::erf>, nullptr},
    {"erfc", call<std::erfc>, nullptr},
    {"erfinv", erfinv, nullptr},
    {"lgamma", log_gamma, nullptr},
    {"digamma", digamma, nullptr},
    {"rsqrt", rsqrt, nullptr},
    {"pow", nullptr, [](double x, double y) { return std::pow(x, y); }},
    {"atan2", nullptr, [](double y, double x) { return std::atan2(y, x); }},
    {"fmod", nullptr, [](double x, double y) { return std::fmod(x, y); }},
    {"remainder", nullptr, remainder_of},
    {"floor_div", nullptr, floor_divide},
};

}  // namespace

std::span<const HostFunction> host_functions() { return kFunctions; }

uint32_t formulas::host_function(std::string_view name) {
  for (uint32_t i = 0; i < std::size(kFunctions); ++i) {
    if (kFunctions[i].name == name) return i;
  }
  fail(ErrorKind::Internal, "no host function named {}", name);
}

}  // namespace tenon::loop
