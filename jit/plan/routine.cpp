// Routines: steps that call a library on dense operands for all results that are asked for.
#include "trace/routine.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "jit/plan/bind.h"
#include "jit/plan/plan.h"
#include "jit/plan/running.h"
#include "kernels/fft.h"
#include "kernels/lapack.h"
#include "trace/executor.h"
#include "trace/origin.h"

namespace tenon::jit {
namespace {

// A routine's operands and results at hand.
struct Call {
  Op op;
  std::span<const int64_t> axes, sizes;
  std::vector<const Type*> types;  // of the operands
  std::vector<const void*> operands;
  std::array<void*, RoutineStep::kMostResults> results{};

  bool has_parts() const { return axes[0] != 0; }

  kernels::MatrixBatch matrices(size_t k) const {
    const Type& type = *types[k];
    const int rank = type.rank - (has_parts() ? 1 : 0);
    kernels::MatrixBatch batch;
    batch.dtype = has_parts() ? complex_dtype(type.dtype) : type.dtype;
    batch.rows = type.dims()[rank - 2], batch.columns = type.dims()[rank - 1];
    batch.count = 1;
    for (int64_t extent : type.dims().first(rank - 2)) batch.count *= extent;
    return batch;
  }

  void run(std::vector<int32_t>& info) const {
    if (op == Op::Fft) {
      const Type& type = *types[0];
      const int64_t n = type.dims()[type.rank - 2];
      return kernels::fft(type.dtype, operands[0], results[0],
                          type.numel / std::max<int64_t>(2 * n, 1), n, axes[1] != 0);
    }
    if (op == Op::TriangularSolve) {
      return kernels::triangular_solve(matrices(1), operands[0], operands[1], axes[1] != 0,
                                       axes[2] != 0, results[0]);
    }
    if (op == Op::LuPermutation) {
      const Type& pivots = *types[0];
      const int64_t each = pivots.dims()[pivots.rank - 1];
      int64_t count = 1;
      for (int64_t extent : pivots.dims().first(pivots.rank - 1)) count *= extent;
      info.assign(static_cast<size_t>(count), 0);
      return kernels::lu_permutation(count, sizes[0], each,
                                     static_cast<const int32_t*>(operands[0]),
                                     static_cast<int64_t*>(results[0]), info.data());
    }
    const kernels::MatrixBatch batch = matrices(0);
    const void* a = operands[0];
    info.assign(static_cast<size_t>(batch.count), 0);
    const bool option = axes[1] != 0;
    switch (op) {
      case Op::Cholesky:
        kernels::cholesky(batch, a, results[0], info.data());
        return keep_info(1, info);
      case Op::Lu:
        kernels::lu(batch, a, results[0], static_cast<int32_t*>(results[1]), info.data());
        return keep_info(2, info);
      case Op::Qr:
        return kernels::qr(batch, a, option, results[0], results[1], results[2], results[3]);
      case Op::Eigh:
        return kernels::eigh(batch, a, option, results[0], results[1], info.data());
      case Op::Eig:
        return kernels::eig(batch, a, option, results[0], results[1], info.data());
      case Op::Svd:
        return kernels::svd(batch, a, static_cast<kernels::SvdJob>(axes[1]), results[0], results[1],
                            results[2], info.data());
      default:
        fail(ErrorKind::Internal, "{} is no routine", tenon::name_of(op));
    }
  }

  void keep_info(size_t which, const std::vector<int32_t>& info) const {
    if (results[which]) std::ranges::copy(info, static_cast<int32_t*>(results[which]));
  }
};

}  // namespace

// Nodes that read the same and differ in `which` alone are one step.
void Plan::add_routine(uint32_t group, std::vector<uint8_t>& is_done) {
  const NodeIndex n = grouping_.groups[group].stores[0];
  const GraphNode& node = graph_[n];
  RoutineStep step;
  step.op = node.op;
  step.source = node.source;
  for (NodeIndex operand : node.operands) step.operands.push_back(buffer_of(operand, false));
  step.results.fill(kNone);
  Step entry{std::move(step), tenon::name_of(node.op), {}, group};
  entry.can_fail = is_fallible(node.op);
  auto& results = std::get<RoutineStep>(entry.what).results;
  take_siblings(entry, results, is_done, [&](const GraphNode& sibling) -> std::optional<size_t> {
    const bool reads_same =
        sibling.op == node.op && sibling.operands == node.operands &&
        std::equal(node.axes.begin(), node.axes.end() - 1, sibling.axes.begin());
    if (!reads_same) return std::nullopt;
    return static_cast<size_t>(sibling.axes.back());
  });
  steps_.push_back(std::move(entry));
  loads_.emplace_back();
  stores_.emplace_back();
}

void Plan::run_routine(const RoutineStep& step, Running& running) {
  const Program& program = running.program;
  const ProgramNode& node = program.nodes[step.source];
  Call call{step.op, program.axes_of(node), program.sizes_of(node), {}, {}, {}};
  const auto operands = program.operands_of(node);
  for (size_t k = 0; k < step.operands.size(); ++k) {
    call.types.push_back(&type_of(program.nodes[operands[k]].type));
    call.operands.push_back(running.pointers[step.operands[k]]);
  }
  for (size_t k = 0; k < step.results.size(); ++k) {
    if (step.results[k] != kNone) call.results[k] = running.pointers[step.results[k]];
  }
  std::vector<int32_t> info;
  call.run(info);
  for (size_t i = 0; i < info.size(); ++i) {
    const int own = step.op == Op::LuPermutation ? 1 : call.has_parts() ? 3 : 2;
    const bool is_batched = call.types[0]->rank > own;
    std::string message = failure_of(step.op, call.axes, is_batched, static_cast<int64_t>(i),
                                     info[i], info[i] == kernels::kNotFinite);
    if (message.empty()) continue;
    if (const std::string where = describe_origin(node.origin); !where.empty()) {
      message += " (recorded at " + where + ")";
    }
    throw DataError(ErrorKind::LinAlg, std::move(message), node.origin);
  }
}

}  // namespace tenon::jit
