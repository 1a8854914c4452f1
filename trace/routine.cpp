#include "trace/routine.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "trace/complex.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {
namespace {

using Types = std::span<const TypeId>;
using Ints = std::span<const int64_t>;

void expect(bool holds, const char* what) {
  check(holds, ErrorKind::Runtime, "{}: {}", current_operation(), what);
}

// A batch of matrices, parts of complex numbers left aside.
struct Matrices {
  Dims batch;
  int64_t rows, columns;
  const Type& type;
  bool has_parts;

  Matrices(TypeId id, bool has_parts) : type(type_of(id)), has_parts(has_parts) {
    const int rank = type.rank - (has_parts ? 1 : 0);
    expect(rank >= 2, "matrices have two dimensions");
    expect(type.dtype == DType::Float32 || type.dtype == DType::Float64,
           "matrices of float32 or float64");
    batch = Dims(type.dims().first(rank - 2));
    rows = type.dims()[rank - 2], columns = type.dims()[rank - 1];
  }
  int64_t least() const { return std::min(rows, columns); }
  TypeId result(std::initializer_list<int64_t> dims, bool with_parts) const {
    Dims all(batch);
    all.append(dims.begin(), dims.end());
    if (with_parts) all.push_back(2);
    return intern_contiguous(type.dtype, type.device, all);
  }
  TypeId result(std::initializer_list<int64_t> dims) const { return result(dims, has_parts); }
  TypeId integers(std::initializer_list<int64_t> dims) const {
    Dims all(batch);
    all.append(dims.begin(), dims.end());
    return intern_contiguous(DType::Int32, type.device, all);
  }
};

Matrices square(Types operands, Ints axes) {
  const Matrices a(operands[0], axes[0] != 0);
  expect(a.rows == a.columns, "matrices are square");
  return a;
}

Value batch_routine(const BatchContext& c) {
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operands.size(); ++k) operands.push_back(c.batch(static_cast<int>(k)));
  return ops::primitive(c.op, operands, c.axes, c.sizes);
}

}  // namespace

TypeId infer_Fft(Op, Types operands, Ints, Ints) {
  const Type& type = type_of(operands[0]);
  expect(type.rank >= 2 && type.dims()[type.rank - 1] == 2, "rows of complex numbers");
  return intern_contiguous(type.dtype, type.device, type.dims());
}

TypeId infer_TriangularSolve(Op, Types operands, Ints axes, Ints) {
  const Matrices a = square(operands, axes), b(operands[1], axes[0] != 0);
  expect(a.type.dtype == b.type.dtype, "dtypes differ");
  expect(a.batch == b.batch && a.rows == b.rows, "sizes differ");
  return b.result({b.rows, b.columns});
}

TypeId infer_Cholesky(Op, Types operands, Ints axes, Ints) {
  const Matrices a = square(operands, axes);
  return axes[2] == 0 ? a.result({a.rows, a.rows}) : a.integers({});
}

TypeId infer_Lu(Op, Types operands, Ints axes, Ints) {
  const Matrices a(operands[0], axes[0] != 0);
  switch (static_cast<ops::LuResult>(axes[2])) {
    case ops::LuResult::Packed:
      return a.result({a.rows, a.columns});
    case ops::LuResult::Pivots:
      return a.integers({a.least()});
    default:
      return a.integers({});
  }
}

TypeId infer_LuPermutation(Op, Types operands, Ints, Ints sizes) {
  const Type& pivots = type_of(operands[0]);
  expect(pivots.rank >= 1 && pivots.dtype == DType::Int32, "pivots are int32");
  Dims dims(pivots.dims());
  expect(dims.back() <= sizes[0], "more pivots than rows");
  dims.back() = sizes[0];
  return intern_contiguous(DType::Int64, pivots.device, dims);
}

TypeId infer_Qr(Op, Types operands, Ints axes, Ints) {
  const Matrices a(operands[0], axes[0] != 0);
  const int64_t k = axes[1] != 0 ? a.rows : a.least();
  switch (static_cast<ops::QrResult>(axes[2])) {
    case ops::QrResult::Q:
      return a.result({a.rows, k});
    case ops::QrResult::R:
      return a.result({k, a.columns});
    case ops::QrResult::Packed:
      return a.result({a.rows, a.columns});
    default:
      return a.result({a.least()});
  }
}

TypeId infer_Eigh(Op, Types operands, Ints axes, Ints) {
  const Matrices a = square(operands, axes);
  return axes[2] == 0 ? a.result({a.rows}, false) : a.result({a.rows, a.rows});
}

TypeId infer_Eig(Op, Types operands, Ints axes, Ints) {
  const Matrices a = square(operands, axes);
  return axes[2] == 0 ? a.result({a.rows}, true) : a.result({a.rows, a.rows}, true);
}

TypeId infer_Svd(Op, Types operands, Ints axes, Ints) {
  const Matrices a(operands[0], axes[0] != 0);
  const bool full = axes[1] == static_cast<int64_t>(ops::SvdJob::Full);
  switch (static_cast<ops::SvdResult>(axes[2])) {
    case ops::SvdResult::U:
      return a.result({a.rows, full ? a.rows : a.least()});
    case ops::SvdResult::S:
      return a.result({a.least()}, false);
    default:
      return a.result({full ? a.columns : a.least(), a.columns});
  }
}

#define TENON_BATCHES(Name) \
  Value batch_##Name(const BatchContext& c) { return batch_routine(c); }
TENON_BATCHES(Fft)
TENON_BATCHES(TriangularSolve)
TENON_BATCHES(Cholesky)
TENON_BATCHES(Lu)
TENON_BATCHES(LuPermutation)
TENON_BATCHES(Qr)
TENON_BATCHES(Eigh)
TENON_BATCHES(Eig)
TENON_BATCHES(Svd)
#undef TENON_BATCHES

namespace ops {
namespace {

Value record(Op op, Value a, int64_t option, int64_t which, bool gives_complex) {
  const bool has_parts = is_complex(dtype(a));
  const int64_t axes[] = {has_parts, option, which};
  const Value operand = has_parts ? view_as_real(a) : a;
  const Value result = primitive(op, {&operand, 1}, axes);
  return gives_complex ? view_as_complex(result) : result;
}

}  // namespace

Value fft(Value x, bool inverse) { return record(Op::Fft, x, inverse, 0, true); }

Value triangular_solve(Value a, Value b, bool lower, bool unit) {
  const bool has_parts = is_complex(dtype(a));
  const int64_t axes[] = {has_parts, lower, unit, 0};
  const Value operands[] = {has_parts ? view_as_real(a) : a, has_parts ? view_as_real(b) : b};
  const Value x = primitive(Op::TriangularSolve, operands, axes);
  return has_parts ? view_as_complex(x) : x;
}

Value cholesky(Value a, Failure failure) {
  return record(Op::Cholesky, a, static_cast<int64_t>(failure), 0, is_complex(dtype(a)));
}
Value cholesky_info(Value a, Failure failure) {
  return record(Op::Cholesky, a, static_cast<int64_t>(failure), 1, false);
}
Value lu(Value a, Failure failure, LuResult which) {
  return record(Op::Lu, a, static_cast<int64_t>(failure), static_cast<int64_t>(which),
                which == LuResult::Packed && is_complex(dtype(a)));
}
Value lu_permutation(Value pivots, int64_t rows) {
  const int64_t axes[] = {0, 0, 0};
  return primitive(Op::LuPermutation, {&pivots, 1}, axes, {&rows, 1});
}
Value qr(Value a, bool complete, QrResult which) {
  return record(Op::Qr, a, complete, static_cast<int64_t>(which), is_complex(dtype(a)));
}
Value eigh(Value a, bool with_vectors, EigResult which) {
  return record(Op::Eigh, a, with_vectors, static_cast<int64_t>(which),
                which == EigResult::Vectors && is_complex(dtype(a)));
}
Value eig(Value a, bool with_vectors, EigResult which) {
  return record(Op::Eig, a, with_vectors, static_cast<int64_t>(which), true);
}
Value svd(Value a, SvdJob job, SvdResult which) {
  return record(Op::Svd, a, static_cast<int64_t>(job), static_cast<int64_t>(which),
                which != SvdResult::S && is_complex(dtype(a)));
}

}  // namespace ops

std::string failure_of(Op op, std::span<const int64_t> axes, bool is_batched, int64_t index,
                       int32_t info, bool not_finite) {
  if (info == 0) return {};
  const std::string where = is_batched ? fmt::format("(Batch element {}): ", index) : "";
  switch (op) {
    case Op::Cholesky:
    case Op::Lu:
      switch (static_cast<ops::Failure>(axes[1])) {
        case ops::Failure::None:
          return {};
        case ops::Failure::Cholesky:
          return fmt::format(
              "linalg.cholesky: {}The factorization could not be completed because the input is "
              "not positive-definite (the leading minor of order {} is not positive-definite).",
              where, info);
        case ops::Failure::Inverse:
          return fmt::format(
              "linalg.inv: {}The diagonal element {} is zero, the inversion could not be completed "
              "because the input matrix is singular.",
              where, info);
        case ops::Failure::Solve:
          return fmt::format(
              "linalg.solve: {}The solver failed because the input matrix is singular.", where);
        case ops::Failure::LuFactor:
          return fmt::format(
              "linalg.lu_factor: {}U[{},{}] is zero and using it on lu_solve would result in a "
              "division by zero. If you still want to perform the factorization, consider calling "
              "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
              where, info, info);
      }
      return {};
    case Op::LuPermutation:
      return fmt::format("lu_unpack: {}pivot {} is out of range", where, info);
    default: {
      const char* name = op == Op::Svd ? "svd" : op == Op::Eigh ? "eigh" : "eig";
      if (not_finite) {
        return fmt::format(
            "linalg.{}: {}The algorithm failed to converge because the input matrix contained "
            "non-finite values.",
            name, where);
      }
      return fmt::format(
          "linalg.{}: {}The algorithm failed to converge because the input matrix is "
          "ill-conditioned or has too many repeated {} values (error code: {}).",
          name, where, op == Op::Svd ? "singular" : "eigen", info);
    }
  }
}

}  // namespace tenon
