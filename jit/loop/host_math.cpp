// Functions that compiled kernels and the interpreter both call, one lane at a time.

#include <cmath>

#include "core/error.h"
#include "jit/loop/formulas.h"
#include "jit/loop/scalar_formulas.h"

namespace tenon::loop {

namespace {

double rsqrt(double x) { return 1 / std::sqrt(x); }

// lgamma writes the global signgam; the reentrant form does not.
double log_gamma(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
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
    {"erfinv", scalar_formulas::erfinv, nullptr},
    {"lgamma", log_gamma, nullptr},
    {"digamma", scalar_formulas::digamma, nullptr},
    {"rsqrt", rsqrt, nullptr},
    {"pow", nullptr, [](double x, double y) { return std::pow(x, y); }},
    {"atan2", nullptr, [](double y, double x) { return std::atan2(y, x); }},
    {"fmod", nullptr, [](double x, double y) { return std::fmod(x, y); }},
    {"remainder", nullptr, scalar_formulas::remainder_of},
    {"floor_div", nullptr, scalar_formulas::floor_divide},
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
