// Elementwise functions of complex numbers on their parts. Branch cuts are C99's (Annex G); inverse
// functions follow W. Kahan, Branch cuts for complex elementary functions, 1987.
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "trace/complex.h"
#include "trace/recorder.h"

namespace tenon::ops {
namespace {

Value fn(Op op, Value x) { return unary(op, x); }
Value fn(Op op, Value x, Value y) { return binary(op, x, y); }
Value square(Value x) { return x * x; }
Value larger(Value x, Value y) { return fn(Op::Maximum, x, y); }
Value equals(Value x, double number) { return fn(Op::Eq, x, literal_like(x, number)); }
Value choose(Value condition, double a, Value b) {
  return select(condition, literal_like(b, a), b);
}
Value choose(Value condition, Value a, double b) {
  return select(condition, a, literal_like(a, b));
}
Parts choose(Value condition, const Parts& a, const Parts& b) {
  return {select(condition, a.re, b.re), select(condition, a.im, b.im)};
}
Parts scaled(const Parts& z, double factor) { return {z.re * factor, z.im * factor}; }
Parts times_i(const Parts& z) { return {-z.im, z.re}; }
Parts over_i(const Parts& z) { return {z.im, -z.re}; }
Parts plus(const Parts& z, double number) { return {z.re + number, z.im}; }
Parts minus_from(double number, const Parts& z) { return {number - z.re, -z.im}; }

// A number to divide by before squaring, so that nothing overflows: constant to derivatives, since
// results don't depend on it.
Value scale_of(Value x, Value y) {
  const Value most = larger(fn(Op::Abs, x), fn(Op::Abs, y));
  const Value bad = equals(most, 0) | equals(most, HUGE_VAL) | fn(Op::IsNan, most);
  return stop_gradient(choose(bad, 1, most));
}

Value length(const Parts& z) {
  const Value scale = scale_of(z.re, z.im);
  const Value sum = square(z.re / scale) + square(z.im / scale);
  const Value zero = equals(sum, 0);
  return choose(zero, 0, scale * fn(Op::Sqrt, choose(zero, 1, sum)));
}

Parts exponential(const Parts& z) {
  const Value e = fn(Op::Exp, z.re);
  return {e * fn(Op::Cos, z.im), e * fn(Op::Sin, z.im)};
}

// log|z| loses what is near 1 unless it is worked out from |z|^2 - 1.
Parts logarithm(const Parts& z) {
  const Value most = larger(fn(Op::Abs, z.re), fn(Op::Abs, z.im));
  const Value near_one = (most > 0.5) & (most < 1.5);
  const Value x = fn(Op::Abs, choose(near_one, z.re, 1)), y = choose(near_one, z.im, 1);
  const Value close = fn(Op::Log1p, (x - 1.0) * (x + 1.0) + square(y)) * 0.5;
  return {select(near_one, close, fn(Op::Log, length(z))), fn(Op::Atan2, z.im, z.re)};
}

// The sign of the imaginary part, -0.0 included, decides the side of the cut.
Parts square_root(const Parts& z) {
  const Value root = fn(Op::Sqrt, (length(z) + fn(Op::Abs, z.re)) * 0.5);
  const Value other = z.im / (root * 2.0);
  const Value side = stop_gradient(fn(Op::Copysign, ones_like(z.im), z.im));
  const Value zero = equals(root, 0), positive = z.re >= 0.0;
  return {select(zero, root, select(positive, root, other * side)),
          select(zero, z.im, select(positive, other, root * side))};
}

Parts reciprocal(const Parts& z) { return Parts{ones_like(z.re), zeros_like(z.re)} / z; }

Parts hyperbolic_sine(const Parts& z) {
  return {fn(Op::Sinh, z.re) * fn(Op::Cos, z.im), fn(Op::Cosh, z.re) * fn(Op::Sin, z.im)};
}
Parts hyperbolic_cosine(const Parts& z) {
  return {fn(Op::Cosh, z.re) * fn(Op::Cos, z.im), fn(Op::Sinh, z.re) * fn(Op::Sin, z.im)};
}
// Kahan's: beyond 20 in magnitude the real part is 1 to any precision here.
Parts hyperbolic_tangent(const Parts& z) {
  const Value far = fn(Op::Abs, z.re) > 20.0;
  const Value x = choose(far, 0, z.re);
  const Value tangent = fn(Op::Tan, z.im), beta = 1.0 + square(tangent), s = fn(Op::Sinh, x);
  const Value below = 1.0 + beta * square(s);
  const Value decay = fn(Op::Exp, fn(Op::Abs, z.re) * -2.0) * 4.0;
  const Value one = fn(Op::Copysign, ones_like(z.re), z.re);
  return choose(far, {one, fn(Op::Sin, z.im) * fn(Op::Cos, z.im) * decay},
                {beta * fn(Op::Sqrt, 1.0 + square(s)) * s / below, tangent / below});
}

Parts inverse_sine(const Parts& z) {
  const Parts a = square_root(minus_from(1, z)), b = square_root(plus(z, 1));
  return {fn(Op::Atan2, z.re, (a * b).re), fn(Op::Asinh, a.re * b.im - a.im * b.re)};
}
Parts inverse_cosine(const Parts& z) {
  const Parts a = square_root(minus_from(1, z)), b = square_root(plus(z, 1));
  return {fn(Op::Atan2, a.re, b.re) * 2.0, fn(Op::Asinh, b.re * a.im - b.im * a.re)};
}
Parts inverse_hyperbolic_cosine(const Parts& z) {
  const Parts a = square_root(plus(z, -1)), b = square_root(plus(z, 1));
  return {fn(Op::Asinh, a.re * b.re + a.im * b.im), fn(Op::Atan2, a.im, b.re) * 2.0};
}
Parts inverse_hyperbolic_tangent(const Parts& z) {
  const Value from_one = square(1.0 - z.re) + square(z.im);
  return {fn(Op::Log1p, z.re * 4.0 / from_one) * 0.25,
          fn(Op::Atan2, z.im * 2.0, (1.0 - z.re) * (1.0 + z.re) - square(z.im)) * 0.5};
}

Parts log_one_plus(const Parts& z) {
  const Value small = larger(fn(Op::Abs, z.re), fn(Op::Abs, z.im)) < 0.5;
  const Value x = choose(small, z.re, 0), y = choose(small, z.im, 0);
  const Value close = fn(Op::Log1p, x * (x + 2.0) + square(y)) * 0.5;
  const Parts far = logarithm(plus(z, 1));
  return {select(small, close, far.re), far.im};
}

Parts exp_minus_one(const Parts& z) {
  const Value half = fn(Op::Sin, z.im * 0.5);
  return {fn(Op::Expm1, z.re) * fn(Op::Cos, z.im) - square(half) * 2.0,
          fn(Op::Exp, z.re) * fn(Op::Sin, z.im)};
}

// By the logarithm of the base; 0 to the power 0 is 1, to others 0.
Parts power(const Parts& a, const Parts& b) {
  const Value zero = equals(a.re, 0) & equals(a.im, 0);
  const Value to_zero = equals(b.re, 0) & equals(b.im, 0);
  const Parts base{choose(zero, 1, a.re), choose(zero, 0, a.im)};
  const Parts result = exponential(b * logarithm(base));
  const Value at_zero = cast(to_zero, dtype(a.re));
  return choose(zero, {at_zero, zeros_like(a.im)}, result);
}

Parts complex_of(Op op, const Parts& z) {
  switch (op) {
    case Op::Exp:
      return exponential(z);
    case Op::Exp2:
      return exponential(scaled(z, std::numbers::ln2));
    case Op::Expm1:
      return exp_minus_one(z);
    case Op::Log:
      return logarithm(z);
    case Op::Log2:
      return scaled(logarithm(z), 1 / std::numbers::ln2);
    case Op::Log10:
      return scaled(logarithm(z), 1 / std::numbers::ln10);
    case Op::Log1p:
      return log_one_plus(z);
    case Op::Sqrt:
      return square_root(z);
    case Op::Rsqrt:
      return reciprocal(square_root(z));
    case Op::Sinh:
      return hyperbolic_sine(z);
    case Op::Cosh:
      return hyperbolic_cosine(z);
    case Op::Tanh:
      return hyperbolic_tangent(z);
    case Op::Sin:
      return over_i(hyperbolic_sine(times_i(z)));
    case Op::Cos:
      return hyperbolic_cosine(times_i(z));
    case Op::Tan:
      return over_i(hyperbolic_tangent(times_i(z)));
    case Op::Asin:
      return inverse_sine(z);
    case Op::Acos:
      return inverse_cosine(z);
    case Op::Atan:
      return over_i(inverse_hyperbolic_tangent(times_i(z)));
    case Op::Asinh:
      return over_i(inverse_sine(times_i(z)));
    case Op::Acosh:
      return inverse_hyperbolic_cosine(z);
    case Op::Atanh:
      return inverse_hyperbolic_tangent(z);
    default:
      fail(ErrorKind::NotImplemented, "{}: not implemented for {}", current_operation(),
           name_of(complex_dtype(dtype(z.re))));
  }
}

}  // namespace

Parts operator+(const Parts& a, const Parts& b) { return {a.re + b.re, a.im + b.im}; }
Parts operator-(const Parts& a, const Parts& b) { return {a.re - b.re, a.im - b.im}; }
Parts operator*(const Parts& a, const Parts& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
Parts operator/(const Parts& a, const Parts& b) {
  const Value scale = scale_of(b.re, b.im), x = b.re / scale, y = b.im / scale;
  const Value below = b.re * x + b.im * y;
  return {(a.re * x + a.im * y) / below, (a.im * x - a.re * y) / below};
}

Value magnitude(Value x) { return is_complex(dtype(x)) ? length(parts(x)) : unary(Op::Abs, x); }

Value angle(Value x) {
  const Parts z = parts(x);
  return fn(Op::Atan2, z.im, z.re);
}

Value direction(Value x) {
  const Parts z = parts(x);
  const Value scale = scale_of(z.re, z.im), re = z.re / scale, im = z.im / scale;
  const Value sum = square(re) + square(im), zero = equals(sum, 0);
  const Value size = fn(Op::Sqrt, choose(zero, 1, sum));
  return complex(re / size, im / size);
}

Value complex_unary(Op op, const Parts& z) {
  switch (op) {
    case Op::Abs:
      return length(z);
    case Op::IsNan:
    case Op::IsInf:
      return fn(op, z.re) | fn(op, z.im);
    case Op::LogicalNot:
      return fn(op, z.re) & fn(op, z.im);
    default:
      return complex(complex_of(op, z));
  }
}

Value complex_binary(Op op, const Parts& a, const Parts& b) {
  switch (op) {
    case Op::Mul:
      return complex(a * b);
    case Op::Div:
      return complex(a / b);
    case Op::Pow:
      return complex(power(a, b));
    case Op::Eq:
      return fn(op, a.re, b.re) & fn(op, a.im, b.im);
    case Op::Ne:
      return fn(op, a.re, b.re) | fn(op, a.im, b.im);
    default:
      fail(ErrorKind::NotImplemented, "{}: not implemented for {}", current_operation(),
           name_of(complex_dtype(dtype(a.re))));
  }
}

}  // namespace tenon::ops
