// Orthogonal polynomials by their recurrences (NIST Digital Library of Mathematical
// Functions, 18.9).
#include "core/error.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/operands.h"
#include "trace/tensor.h"

namespace tenon {
namespace {

// p(0) = 1, p(1) = first, p(k + 1) = ((a k + b) x' p(k) - (c k + d) p(k - 1)) / (e k + f) and so
// on: each family gives its first and its step.
struct Family {
  Value (*first)(Value x);
  Value (*next)(Value x, Value p, Value before, double k);
};

Value chebyshev_next(Value x, Value p, Value before, double) { return x * 2.0 * p - before; }

constexpr Family kChebyshevT{[](Value x) { return x; }, chebyshev_next};
constexpr Family kChebyshevU{[](Value x) { return x * 2.0; }, chebyshev_next};
constexpr Family kChebyshevV{[](Value x) { return x * 2.0 - 1.0; }, chebyshev_next};
constexpr Family kChebyshevW{[](Value x) { return x * 2.0 + 1.0; }, chebyshev_next};
constexpr Family kHermiteH{
    [](Value x) { return x * 2.0; },
    [](Value x, Value p, Value before, double k) { return (x * p - before * k) * 2.0; }};
constexpr Family kHermiteHe{[](Value x) { return x; }, [](Value x, Value p, Value before,
                                                          double k) { return x * p - before * k; }};
constexpr Family kLaguerre{[](Value x) { return 1.0 - x; },
                           [](Value x, Value p, Value before, double k) {
                             return (((2 * k + 1) - x) * p - before * k) / (k + 1);
                           }};
constexpr Family kLegendre{[](Value x) { return x; },
                           [](Value x, Value p, Value before, double k) {
                             return (x * p * (2 * k + 1) - before * k) / (k + 1);
                           }};

// Of degree n, 0 for negative ones. Degrees of a tensor are read for the largest of them.
Tensor polynomial(const char* name, const Family& family, const Tensor& input, const Operand& n,
                  bool shifted) {
  int64_t most = 0;
  if (n.scalar) {
    most = static_cast<int64_t>(n.scalar->to_double());
  } else if (n.tensor->numel() > 0) {
    most = static_cast<int64_t>(max(*n.tensor).item_double());
  }
  OpScope scope(name);
  Value x = values::as_floating(scope.use(input));
  const Value degree = n.tensor ? scope.use(*n.tensor) : Value{};
  if (degree) x = ops::expand(x, values::common_dims(x, degree));
  const DType own = dtype(x);
  if (is_half(own)) x = ops::cast(x, DType::Float32);
  if (shifted) x = x * 2.0 - 1.0;
  Value result = ops::zeros_like(x), before, p = ops::ones_like(x);
  for (int64_t k = 0; k <= most; ++k) {
    if (k > 0) {
      const Value next =
          k == 1 ? family.first(x) : family.next(x, p, before, static_cast<double>(k - 1));
      before = p, p = next;
    }
    if (!degree) {
      result = p;
    } else {
      const Value is_this = ops::binary(Op::Eq, ops::cast(degree, DType::Int64),
                                        ops::literal(static_cast<double>(k), DType::Int64));
      result = ops::select(is_this, p, result);
    }
  }
  return scope.result(ops::cast(result, own));
}

}  // namespace

#define TENON_POLYNOMIAL(name, family, shifted)              \
  Tensor special_##name(const Tensor& x, const Operand& n) { \
    return polynomial(#name, family, x, n, shifted);         \
  }
TENON_POLYNOMIAL(chebyshev_polynomial_t, kChebyshevT, false)
TENON_POLYNOMIAL(chebyshev_polynomial_u, kChebyshevU, false)
TENON_POLYNOMIAL(chebyshev_polynomial_v, kChebyshevV, false)
TENON_POLYNOMIAL(chebyshev_polynomial_w, kChebyshevW, false)
TENON_POLYNOMIAL(shifted_chebyshev_polynomial_t, kChebyshevT, true)
TENON_POLYNOMIAL(shifted_chebyshev_polynomial_u, kChebyshevU, true)
TENON_POLYNOMIAL(shifted_chebyshev_polynomial_v, kChebyshevV, true)
TENON_POLYNOMIAL(shifted_chebyshev_polynomial_w, kChebyshevW, true)
TENON_POLYNOMIAL(hermite_polynomial_h, kHermiteH, false)
TENON_POLYNOMIAL(hermite_polynomial_he, kHermiteHe, false)
TENON_POLYNOMIAL(laguerre_polynomial_l, kLaguerre, false)
TENON_POLYNOMIAL(legendre_polynomial_p, kLegendre, false)
#undef TENON_POLYNOMIAL

}  // namespace tenon
