// Derivatives of matrix decompositions. Reverse rules are of one result each: cotangents of several
// add up. Sources: M. Giles, An extended collection of matrix derivative results for forward and
// reverse mode algorithmic differentiation, 2008; S. Walter and L. Lehmann, Algorithmic
// differentiation of linear algebra functions with application in optimum experimental design, 2010
// (QR, eigenvectors); Z. Wan and S. Zhang, Automatic differentiation for complex valued SVD, 2019.
//
// A rule works on complex values; routines read and give the reals that these consist of.
#include "autograd/reverse.h"
#include "core/error.h"
#include "trace/attention.h"
#include "trace/complex.h"
#include "trace/routine.h"

namespace tenon {
namespace {

using Needs = std::span<const bool>;
using Cotangents = std::span<Value>;
using Tangents = std::span<const Value>;

// ---- matrices: batches of them, real or complex
// ----------------------------------------------------

Value swapped(Value x) { return ops::move_axis(x, rank(x) - 1, rank(x) - 2); }
Value adjoint(Value x) { return ops::conj(swapped(x)); }
Value product(Value x, Value y) { return ops::batched_product(x, y); }
int64_t rows(Value x) { return dims(x)[rank(x) - 2]; }
int64_t columns(Value x) { return dims(x)[rank(x) - 1]; }

enum class Triangle { Lower, StrictLower, Upper, StrictUpper };

// Zero outside the triangle.
Value triangle(Value x, Triangle which) {
  const Dims extents{rows(x), columns(x)};
  const Value row = ops::iota(extents, 0), column = ops::iota(extents, 1);
  const Op op = which == Triangle::Lower         ? Op::Ge
                : which == Triangle::StrictLower ? Op::Gt
                : which == Triangle::Upper       ? Op::Le
                                                 : Op::Lt;
  return ops::select(ops::binary(op, row, column), x, ops::literal_like(x, 0));
}

// `on` where row and column are equal, `off` elsewhere.
Value on_diagonal(Value on, Value off) {
  const Dims extents{rows(off), columns(off)};
  return ops::select(ops::binary(Op::Eq, ops::iota(extents, 0), ops::iota(extents, 1)), on, off);
}

// The diagonal of square matrices, and matrices from one.
Value diagonal(Value x) {
  const int64_t last = rank(x) - 1;
  return ops::reduce(Op::ReduceSum, on_diagonal(x, ops::zeros_like(x)), {&last, 1});
}
Value as_rows(Value d) { return ops::unsqueeze(d, rank(d)); }         // [..., n, 1]
Value as_columns(Value d) { return ops::unsqueeze(d, rank(d) - 1); }  // [..., 1, n]
Value diagonal_matrix(Value d) {
  Dims extents(dims(d));
  extents.push_back(extents.back());
  const Value spread = ops::expand(as_columns(d), extents);
  return on_diagonal(spread, ops::zeros_like(spread));
}

// A real value times a complex or real one.
Value scaled(Value x, Value real) {
  if (!is_complex(dtype(x))) return x * real;
  const ops::Parts z = ops::parts(x);
  return ops::complex(z.re * real, z.im * real);
}
Value over(Value x, Value real) {
  if (!is_complex(dtype(x))) return x / real;
  const ops::Parts z = ops::parts(x);
  return ops::complex(z.re / real, z.im / real);
}
Value halved(Value x) { return scaled(x, ops::literal(0.5, real_dtype(dtype(x)))); }
Value hermitian(Value x) { return x + adjoint(x); }
Value skew(Value x) { return x - adjoint(x); }
// The triangle with its diagonal halved.
Value half_triangle(Value x, Triangle which) {
  const Value inside = triangle(x, which);
  return on_diagonal(halved(inside), inside);
}
Value lower_solve(Value a, Value b) { return ops::triangular_solve(a, b, true, false); }
Value upper_solve(Value a, Value b) { return ops::triangular_solve(a, b, false, false); }
// x with x a = b.
Value solve_right(Value a, Value b, bool lower, bool unit) {
  return swapped(ops::triangular_solve(swapped(a), swapped(b), !lower, unit));
}

// 1 / (x_j - x_i) in row i and column j, zero on the diagonal.
Value inverse_differences(Value x) {
  const Value differences = as_columns(x) - as_rows(x);
  const Value one = ops::literal_like(x, 1);
  const Value inverse = one / on_diagonal(one, differences);
  return on_diagonal(ops::literal_like(inverse, 0), inverse);
}

// ---- values for routines
// ---------------------------------------------------------------------------

bool has_parts(const RuleContext& c) { return c.axes[0] != 0; }
Value as_value(const RuleContext& c, Value x) { return has_parts(c) ? ops::view_as_complex(x) : x; }
Value operand(RuleContext& c, int k) { return as_value(c, c.operand(k)); }
// What stands for a complex value where the routine has reals.
Value as_reals(const RuleContext& c, Value x) { return has_parts(c) ? ops::view_as_real(x) : x; }

}  // namespace

// ---- Fourier transforms: linear, and symmetric
// -----------------------------------------------------

void vjp_Fft(RuleContext& c, Value g, Needs, Cotangents out) {
  // The adjoint of the transform is the inverse one.
  const int64_t axes[] = {1, c.axes[1] == 0, 0};
  out[0] = ops::primitive(Op::Fft, {&g, 1}, axes);
}

// ---- triangular systems
// ----------------------------------------------------------------------------

namespace {

Value masked_triangle(const RuleContext& c, Value x) {
  const bool lower = c.axes[1] != 0, unit = c.axes[2] != 0;
  return triangle(x, lower ? (unit ? Triangle::StrictLower : Triangle::Lower)
                           : (unit ? Triangle::StrictUpper : Triangle::Upper));
}

}  // namespace

void vjp_TriangularSolve(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const bool lower = c.axes[1] != 0, unit = c.axes[2] != 0;
  const Value a = operand(c, 0);
  const Value of_b = ops::triangular_solve(adjoint(a), as_value(c, g), !lower, unit);
  if (needs[1]) out[1] = as_reals(c, of_b);
  if (!needs[0]) return;
  const Value x = as_value(c, c.result());
  out[0] = as_reals(c, masked_triangle(c, -product(of_b, adjoint(x))));
}

Value jvp_TriangularSolve(RuleContext& c, Tangents t) {
  const bool lower = c.axes[1] != 0, unit = c.axes[2] != 0;
  Value right = t[1] ? as_value(c, t[1]) : Value{};
  const Value a = operand(c, 0);
  if (t[0]) {
    const Value moved = -product(masked_triangle(c, as_value(c, t[0])), as_value(c, c.result()));
    right = right ? right + moved : moved;
  }
  return as_reals(c, ops::triangular_solve(a, right, lower, unit));
}

// ---- Cholesky (Giles, 2.2.4)
// -------------------------------------------------------------------------

namespace {

Value cholesky_of(RuleContext& c, Value a) {
  return ops::cholesky(a, static_cast<ops::Failure>(c.axes[1]));
}

}  // namespace

void vjp_Cholesky(RuleContext& c, Value g, Needs, Cotangents out) {
  if (c.axes[2] != 0) return;
  const Value l = cholesky_of(c, operand(c, 0)), lh = adjoint(l);
  const Value inner = hermitian(half_triangle(product(lh, as_value(c, g)), Triangle::Lower));
  const Value left = upper_solve(lh, halved(inner));
  out[0] = as_reals(c, solve_right(l, left, true, false));
}

Value jvp_Cholesky(RuleContext& c, Tangents t) {
  if (c.axes[2] != 0) return {};
  const Value l = cholesky_of(c, operand(c, 0));
  const Value inner = solve_right(adjoint(l), lower_solve(l, as_value(c, t[0])), false, false);
  return as_reals(c, product(l, half_triangle(inner, Triangle::Lower)));
}

// ---- LU: square by padding L and U with identities
// ---------------------------------------------------

namespace {

struct LuFactors {
  Value lower, upper;  // [m, m] and [n, n]
  Value permutation;
};

// The first `n` rows and columns of a square matrix from x, the identity elsewhere.
Value padded_to_square(Value x, int64_t n) {
  Dims low(rank(x), 0), high(rank(x), 0), none(rank(x), 0);
  high[rank(x) - 2] = n - rows(x), high[rank(x) - 1] = n - columns(x);
  return ops::pad(x, ops::literal_like(x, 0), low, high, none);
}

// A singular matrix has no derivative here, but what is made of its factors may: a determinant. A
// pivot of zero counts as one so small that it doesn't show there.
Value without_zeros(Value u) {
  const Value zero = ops::binary(Op::Eq, u, ops::literal_like(u, 0));
  const double least = real_dtype(dtype(u)) == DType::Float32 ? 0x1p-23 : 0x1p-52;
  return ops::select(zero, on_diagonal(ops::literal_like(u, least), u), u);
}

LuFactors factors_of(RuleContext& c, Value a) {
  const auto failure = static_cast<ops::Failure>(c.axes[1]);
  const Value packed = ops::lu(a, failure, ops::LuResult::Packed);
  const int64_t m = rows(a), n = columns(a), k = std::min(m, n);
  const Value l = triangle(ops::slice_axis(packed, rank(a) - 1, 0, k), Triangle::StrictLower);
  const Value u = triangle(ops::slice_axis(packed, rank(a) - 2, 0, k), Triangle::Upper);
  const Value square_u = padded_to_square(u, n);
  // Ones on the diagonal of U from row k on.
  const Dims extents{n, n};
  const Value row = ops::iota(extents, 0), column = ops::iota(extents, 1);
  const Value free = ops::binary(Op::Eq, row, column) &
                     ops::binary(Op::Ge, row, ops::literal(static_cast<double>(k), DType::Int64));
  return {on_diagonal(ops::literal_like(a, 1), padded_to_square(l, m)),
          ops::select(free, ops::literal_like(a, 1), without_zeros(square_u)),
          ops::lu_permutation(ops::lu(a, failure, ops::LuResult::Pivots), m)};
}

// Rows in another order: take[i] says which row comes to i.
Value permuted_rows(Value x, Value take) {
  const Value index = ops::expand(ops::unsqueeze(take, rank(take)), dims(x));
  return ops::take_along(x, index, rank(x) - 2);
}

}  // namespace

void vjp_Lu(RuleContext& c, Value g, Needs, Cotangents out) {
  if (c.axes[2] != 0) return;
  const Value cotangent = as_value(c, g);
  const LuFactors f = factors_of(c, operand(c, 0));
  const Value lh = adjoint(f.lower), uh = adjoint(f.upper);
  const Value inner =
      triangle(product(lh, triangle(cotangent, Triangle::StrictLower)), Triangle::StrictLower) +
      triangle(product(triangle(cotangent, Triangle::Upper), uh), Triangle::Upper);
  const Value left = ops::triangular_solve(lh, inner, false, true);
  const Value permuted = solve_right(uh, left, true, false);
  const Value inverse = ops::argsort(f.permutation, rank(f.permutation) - 1, false);
  out[0] = as_reals(c, permuted_rows(permuted, inverse));
}

Value jvp_Lu(RuleContext& c, Tangents t) {
  if (c.axes[2] != 0) return {};
  const LuFactors f = factors_of(c, operand(c, 0));
  const Value moved = permuted_rows(as_value(c, t[0]), f.permutation);
  const Value left = ops::triangular_solve(f.lower, moved, true, true);
  const Value inner = solve_right(f.upper, left, false, false);
  return as_reals(c, product(f.lower, triangle(inner, Triangle::StrictLower)) +
                         product(triangle(inner, Triangle::Upper), f.upper));
}

// ---- QR (Walter and Lehmann)
// -------------------------------------------------------------------------

namespace {

void check_qr(const RuleContext& c) {
  const Type& a = c.operand_type(0);
  const int first = a.rank - (has_parts(c) ? 3 : 2);
  const int64_t m = a.dims()[first], n = a.dims()[first + 1];
  check(c.axes[2] < 2, ErrorKind::NotImplemented,
        "geqrf: its reflectors have no derivative here; use linalg.qr");
  check(m >= n && (c.axes[1] == 0 || m == n), ErrorKind::Runtime,
        "The QR decomposition is not differentiable when mode='complete' and nrows > ncols.");
}

struct QrFactors {
  Value q, r;
};
QrFactors qr_of(RuleContext& c) {
  check_qr(c);
  const Value a = operand(c, 0);
  const bool complete = c.axes[1] != 0;
  return {ops::qr(a, complete, ops::QrResult::Q), ops::qr(a, complete, ops::QrResult::R)};
}

}  // namespace

void vjp_Qr(RuleContext& c, Value g, Needs, Cotangents out) {
  const auto [q, r] = qr_of(c);
  const Value cotangent = as_value(c, g);
  const bool of_q = c.axes[2] == 0;
  const Value inner = of_q ? -product(adjoint(q), cotangent) : product(cotangent, adjoint(r));
  const Value both = hermitian(half_triangle(inner, Triangle::Upper));
  Value left = product(q, both);
  if (of_q) left = left + cotangent;
  out[0] = as_reals(c, solve_right(adjoint(r), left, true, false));
}

Value jvp_Qr(RuleContext& c, Tangents t) {
  const auto [q, r] = qr_of(c);
  const Value x = solve_right(r, as_value(c, t[0]), false, false);
  const Value inner = half_triangle(hermitian(product(adjoint(q), x)), Triangle::Upper);
  return as_reals(c, c.axes[2] == 0 ? x - product(q, inner) : product(inner, r));
}

// ---- Hermitian eigenvalues (Giles, 3.1)
// --------------------------------------------------------------

namespace {

struct EighFactors {
  Value w, v;
};
EighFactors eigh_of(RuleContext& c) {
  const Value a = operand(c, 0);
  return {ops::eigh(a, true, ops::EigResult::Values), ops::eigh(a, true, ops::EigResult::Vectors)};
}

}  // namespace

void vjp_Eigh(RuleContext& c, Value g, Needs, Cotangents out) {
  const auto [w, v] = eigh_of(c);
  Value inner;
  if (c.axes[2] == 0) {
    inner = scaled(adjoint(v), as_rows(g));
  } else {
    const Value turned = product(adjoint(v), as_value(c, g));
    inner = product(scaled(turned, inverse_differences(w)), adjoint(v));
  }
  out[0] = as_reals(c, product(v, inner));
}

Value jvp_Eigh(RuleContext& c, Tangents t) {
  const auto [w, v] = eigh_of(c);
  const Value turned = product(adjoint(v), product(as_value(c, t[0]), v));
  if (c.axes[2] == 0) return ops::part(diagonal(turned), 0);
  return as_reals(c, product(v, scaled(turned, inverse_differences(w))));
}

// ---- eigenvalues of any matrix, vectors of norm 1
// ----------------------------------------------------

namespace {

struct EigFactors {
  Value w, v;
};
EigFactors eig_of(RuleContext& c) {
  const Value a = operand(c, 0);
  return {ops::eig(a, true, ops::EigResult::Values), ops::eig(a, true, ops::EigResult::Vectors)};
}

// a x = b for any matrix.
Value solve(Value a, Value b) {
  const Value packed = ops::lu(a, ops::Failure::None, ops::LuResult::Packed);
  const Value pivots = ops::lu(a, ops::Failure::None, ops::LuResult::Pivots);
  const Value order = ops::lu_permutation(pivots, rows(a));
  const Value y = ops::triangular_solve(packed, permuted_rows(b, order), true, true);
  return ops::triangular_solve(packed, y, false, false);
}

// x with its columns shifted along those of v so that norms of v stay: x - v diag(re(v^H x)).
Value real_diagonal(Value x) { return ops::part(diagonal(x), 0); }

}  // namespace

void vjp_Eig(RuleContext& c, Value g, Needs, Cotangents out) {
  const auto [w, v] = eig_of(c);
  const Value cotangent = ops::view_as_complex(g), vh = adjoint(v);
  Value inner;
  if (c.axes[2] == 0) {
    inner = diagonal_matrix(cotangent);
  } else {
    const Value turned = product(vh, cotangent);
    const Value normal = turned - scaled(product(vh, v), as_columns(real_diagonal(turned)));
    inner = normal * ops::conj(inverse_differences(w));
  }
  const Value result = solve(vh, product(inner, vh));
  out[0] = has_parts(c) ? ops::view_as_real(result) : ops::part(result, 0);
}

Value jvp_Eig(RuleContext& c, Tangents t) {
  const auto [w, v] = eig_of(c);
  const Value tangent = ops::cast(as_value(c, t[0]), dtype(v));
  const Value turned = solve(v, product(tangent, v));
  if (c.axes[2] == 0) return ops::view_as_real(diagonal(turned));
  const Value x = product(v, turned * inverse_differences(w));
  const Value along = as_columns(real_diagonal(product(adjoint(v), x)));
  return ops::view_as_real(x - scaled(v, along));
}

// ---- singular values (Wan and Zhang)
// ----------------------------------------------------------------- Of the phases that complex
// singular vectors leave open, U takes all: what depends on them alone has no derivative.

namespace {

struct SvdFactors {
  Value u, s, v;  // reduced
  int64_t least;
};

SvdFactors svd_of(RuleContext& c) {
  const Value a = operand(c, 0);
  check(c.axes[1] != static_cast<int64_t>(ops::SvdJob::Full) || c.axes[2] == 1 ||
            rows(a) == columns(a),
        ErrorKind::Runtime,
        "svd: the singular vectors in the case full_matrices=True have no derivative, as the last "
        "of them are not determined; use full_matrices=False");
  const auto of = [&](ops::SvdResult which) { return ops::svd(a, ops::SvdJob::Reduced, which); };
  return {of(ops::SvdResult::U), of(ops::SvdResult::S), adjoint(of(ops::SvdResult::Vh)),
          std::min(rows(a), columns(a))};
}

Value complement(Value u, Value x) { return x - product(u, product(adjoint(u), x)); }

}  // namespace

void vjp_Svd(RuleContext& c, Value g, Needs, Cotangents out) {
  const auto [u, s, v, least] = svd_of(c);
  const Value vh = adjoint(v);
  Value result;
  switch (static_cast<ops::SvdResult>(c.axes[2])) {
    case ops::SvdResult::S:
      result = product(scaled(u, as_columns(g)), vh);
      break;
    case ops::SvdResult::U: {
      const Value cotangent = as_value(c, g), turned = skew(product(adjoint(u), cotangent));
      Value inner = scaled(scaled(turned, inverse_differences(s * s)), as_columns(s));
      if (has_parts(c)) inner = inner + diagonal_matrix(over(diagonal(turned), s + s));
      result = product(product(u, inner), vh);
      if (rows(u) > least) {
        result = result + product(over(complement(u, cotangent), as_columns(s)), vh);
      }
      break;
    }
    default: {
      const Value cotangent = adjoint(as_value(c, g)), turned = skew(product(vh, cotangent));
      const Value inner = scaled(scaled(turned, inverse_differences(s * s)), as_rows(s));
      result = product(product(u, inner), vh);
      if (rows(v) > least) {
        result = result + product(u, over(adjoint(complement(v, cotangent)), as_rows(s)));
      }
      break;
    }
  }
  out[0] = as_reals(c, result);
}

Value jvp_Svd(RuleContext& c, Tangents t) {
  const auto [u, s, v, least] = svd_of(c);
  const Value tangent = as_value(c, t[0]);
  const Value turned = product(adjoint(u), product(tangent, v));
  const Value inverse = inverse_differences(s * s);
  switch (static_cast<ops::SvdResult>(c.axes[2])) {
    case ops::SvdResult::S:
      return ops::part(diagonal(turned), 0);
    case ops::SvdResult::U: {
      Value inner = scaled(hermitian(scaled(turned, as_columns(s))), inverse);
      if (has_parts(c)) {
        inner = inner + halved(diagonal_matrix(over(diagonal(skew(turned)), s)));
      }
      Value result = product(u, inner);
      if (rows(u) > least) {
        result = result + over(complement(u, product(tangent, v)), as_columns(s));
      }
      return as_reals(c, result);
    }
    default: {
      const Value inner = scaled(hermitian(scaled(turned, as_rows(s))), inverse);
      Value result = product(v, inner);
      if (rows(v) > least) {
        result = result + over(complement(v, product(adjoint(tangent), u)), as_columns(s));
      }
      return as_reals(c, adjoint(result));
    }
  }
}

}  // namespace tenon
