// Orthogonal polynomials by their recurrences (NIST Digital Library of Mathematical
// Functions, 18.9).
#include "core/error.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/loops.h"
#include "trace/ops/operands.h"
#include "trace/recorder.h"
#include "trace/tensor.h"

namespace tenon {
namespace {

// p(0) = 1, p(1) = first, p(k + 1) = ((a k + b) x' p(k) - (c k + d) p(k - 1)) / (e k + f) and so
// on: each family gives its first and its step.
struct Family {
  Value (*first)(Value x);
  Value (*next)(Value x, Value p, Value before, Value k);
};

Value chebyshev_next(Value x, Value p, Value before, Value) { return x * 2.0 * p - before; }

constexpr Family kChebyshevT{[](Value x) { return x; }, chebyshev_next};
constexpr Family kChebyshevU{[](Value x) { return x * 2.0; }, chebyshev_next};
constexpr Family kChebyshevV{[](Value x) { return x * 2.0 - 1.0; }, chebyshev_next};
constexpr Family kChebyshevW{[](Value x) { return x * 2.0 + 1.0; }, chebyshev_next};
constexpr Family kHermiteH{
    [](Value x) { return x * 2.0; },
    [](Value x, Value p, Value before, Value k) { return (x * p - before * k) * 2.0; }};
constexpr Family kHermiteHe{[](Value x) { return x; }, [](Value x, Value p, Value before,
                                                          Value k) { return x * p - before * k; }};
constexpr Family kLaguerre{[](Value x) { return 1.0 - x; },
                           [](Value x, Value p, Value before, Value k) {
                             return ((k * 2.0 + 1.0 - x) * p - before * k) / (k + 1.0);
                           }};
constexpr Family kLegendre{[](Value x) { return x; },
                           [](Value x, Value p, Value before, Value k) {
                             return (x * p * (k * 2.0 + 1.0) - before * k) / (k + 1.0);
                           }};

// The polynomial of each degree up to `most` goes to `take`.
template <class Take>
void each_degree(const Family& family, Value x, int64_t most, Take take) {
  Value before, p = ops::ones_like(x);
  for (int64_t k = 0; k <= most; ++k) {
    if (k > 0) {
      const Value at = ops::literal_like(x, static_cast<double>(k - 1));
      const Value next = k == 1 ? family.first(x) : family.next(x, p, before, at);
      before = p, p = next;
    }
    take(k, p);
  }
}

Value of_degree(const Family& family, Value x, int64_t n) {
  Value result = ops::zeros_like(x);
  each_degree(family, x, n, [&](int64_t, Value p) { result = p; });
  return result;
}

// Of a degree for each element, none of them larger than `most`.
Value of_degrees_up_to(const Family& family, Value x, Value degree, int64_t most) {
  Value result = ops::zeros_like(x);
  const Value n = ops::cast(degree, DType::Int64);
  each_degree(family, x, most, [&](int64_t k, Value p) {
    const Value number = ops::literal(static_cast<double>(k), DType::Int64);
    result = ops::select(ops::binary(Op::Eq, n, number), p, result);
  });
  return result;
}

// The same where the largest degree is not known: a loop, which has no reverse derivative.
Value of_degrees(const Family& family, Value x, Value degree) {
  const Value n = ops::unary(Op::Trunc, ops::expand(ops::cast(degree, dtype(x)), dims(x)));
  const Value one = ops::ones_like(x), first = family.first(x);
  const Value low = ops::select(n < 0.0, ops::zeros_like(x), ops::select(n < 1.0, one, first));
  const std::vector<Value> last = values::repeat_while(
      {ops::literal(1, dtype(x)), low, first, one},
      [&](const std::vector<Value>& c) { return n > c[0]; },
      [&](const std::vector<Value>& c) {
        const Value next = family.next(x, c[2], c[3], c[0]), k = c[0] + 1.0;
        return std::vector<Value>{k, ops::select(ops::binary(Op::Eq, n, k), next, c[1]), next,
                                  c[2]};
      });
  return last[1];
}

// 0 for negative degrees.
bool is_batched(const Tensor& x) {
  OpScope scope("polynomial");
  return recorder().segment->nodes[scope.use(x).id].level != 0;
}

// The largest degree of a tensor is read, unless vmap is at work.
Tensor polynomial(const char* name, const Family& family, const Tensor& input, const Operand& n,
                  bool shifted) {
  std::optional<int64_t> most;
  if (n.scalar) {
    most = static_cast<int64_t>(n.scalar->to_double());
  } else if (!is_batched(*n.tensor)) {
    most = n.tensor->numel() > 0 ? static_cast<int64_t>(max(*n.tensor).item_double()) : 0;
  }
  OpScope scope(name);
  Value x = values::as_floating(scope.use(input));
  const Value degree = n.tensor != nullptr ? scope.use(*n.tensor) : Value{};
  const DType own = dtype(x);
  if (is_half(own)) x = ops::cast(x, DType::Float32);
  if (degree) x = ops::expand(x, values::common_dims(x, degree));
  if (shifted) x = x * 2.0 - 1.0;
  const Value result = !degree ? of_degree(family, x, *most)
                       : most  ? of_degrees_up_to(family, x, degree, *most)
                               : of_degrees(family, x, degree);
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
