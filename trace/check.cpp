#include "trace/check.h"

#include <algorithm>

#include "core/env.h"
#include "core/error.h"
#include "trace/library.h"
#include "trace/print.h"
#include "trace/region.h"
#include "trace/rules.h"

namespace tenon {

TypeId infer_Elementwise(Op op, std::span<const TypeId> operands);

namespace {

using Ints = std::span<const int64_t>;

class Checker {
 public:
  explicit Checker(const Program& program) : program_(program) {}

  void run() {
    size_t inputs = 0;
    for (at_ = 0; at_ < program_.nodes.size(); ++at_) {
      check_node(program_.nodes[at_]);
      inputs += program_.nodes[at_].op == Op::Input;
    }
    // Buffers are bound after extraction.
    const bool bound = !program_.inputs.empty();
    tenon::check(!bound || program_.inputs.size() == inputs, ErrorKind::Internal,
                 "a program with {} input nodes and {} buffers", inputs, program_.inputs.size());
    for (uint32_t output : program_.outputs) {
      tenon::check(output < program_.nodes.size(), ErrorKind::Internal,
                   "output %{} of a program with {} nodes", output, program_.nodes.size());
    }
  }

 private:
  void expect(bool holds, const char* what) const {
    if (holds) return;
    fail(ErrorKind::Internal, "node %{} ({}): {}, in\n{}", at_, info(program_.nodes[at_].op).name,
         what, print(program_));
  }

  void check_node(const ProgramNode& node) {
    const auto operands = program_.operands_of(node);
    const int wanted = info(node.op).operands;
    expect(wanted == kVariadic ? !operands.empty() : operands.size() == static_cast<size_t>(wanted),
           "number of operands");
    types_.clear();
    for (uint32_t operand : operands) {
      expect(operand < at_, "an operand comes before its user");
      types_.push_back(program_.nodes[operand].type);
    }
    const Ints axes = program_.axes_of(node), sizes = program_.sizes_of(node);
    check_attributes(node, axes, sizes);
    check_indexing(node);
    check_type(node, axes, sizes);
  }

  const Type& operand(int k) const { return type_of(types_[k]); }

  static bool are_axes(Ints axes, int rank) {
    return std::ranges::all_of(axes, [&](int64_t a) { return a >= 0 && a < rank; });
  }
  static bool ascend(Ints axes) {
    return std::ranges::adjacent_find(axes, std::greater_equal<>()) == axes.end();
  }
  static bool is_permutation(Ints axes, int rank) {
    Dims sorted(axes);
    std::ranges::sort(sorted);
    return sorted.size() == static_cast<size_t>(rank) && are_axes(axes, rank) && ascend(sorted);
  }

  void check_attributes(const ProgramNode& node, Ints axes, Ints sizes) const {
    const Type& type = type_of(node.type);
    const size_t rank = type.rank;
    const auto have = [&](size_t axes_count, size_t sizes_count) {
      expect(axes.size() == axes_count, "number of axes");
      expect(sizes.size() == sizes_count, "number of sizes");
    };
    switch (info(node.op).group) {
      case PrimitiveClass::Source:
        check_source(node, axes, sizes);
        return;
      case PrimitiveClass::Movement:
        check_movement(node, axes, sizes);
        return;
      case PrimitiveClass::Index:
      case PrimitiveClass::Argument:
      case PrimitiveClass::Scan:
        have(1, 0);
        expect(are_axes(axes, operand(0).rank), "an axis of the operand");
        return;
      case PrimitiveClass::Sort:
        have(2, 0);
        expect(are_axes(axes.first(1), static_cast<int>(rank)), "an axis of the operand");
        return;
      case PrimitiveClass::Reduction:
        have(axes.size(), 0);
        expect(!axes.empty() && are_axes(axes, operand(0).rank) && ascend(axes),
               "axes of the operand, ascending");
        return;
      case PrimitiveClass::Contraction:
        check_contraction(axes);
        have(axes.size(), 0);
        return;
      case PrimitiveClass::Convolution:
        have(1, 1 + 4 * (rank - 2));
        expect(axes[0] >= 0 && axes[0] <= 2, "a role");
        return;
      case PrimitiveClass::Attention:
        have(node.op == Op::AttentionGradient ? 2 : 1, 0);
        expect(axes[0] == 0 || axes[0] == 1, "causal or not");
        expect(axes.size() < 2 || (axes[1] >= 0 && axes[1] <= 2), "q, k or v");
        return;
      case PrimitiveClass::Complex:
        have(node.op == Op::Part ? 1 : 0, 0);
        return;
      case PrimitiveClass::Routine:
        have(node.op == Op::TriangularSolve ? 4 : 3, node.op == Op::LuPermutation ? 1 : 0);
        return;
      case PrimitiveClass::Region:
        check_region(node, axes, sizes);
        return;
      default:
        have(0, 0);
    }
  }

  void check_source(const ProgramNode& node, Ints axes, Ints sizes) const {
    const Type& type = type_of(node.type);
    if (node.op == Op::Constant) {
      expect(type.rank == 0, "a constant has no dimensions");
      expect(!axes.empty() && axes.size() == (axes[0] ? 2u : 1u), "number of axes");
      expect(sizes.size() == (axes[0] ? 0u : 1u), "number of sizes");
    } else if (node.op == Op::Iota) {
      expect(axes.size() == 1 && are_axes(axes, type.rank), "an axis of the result");
      expect(std::ranges::equal(sizes, type.dims()), "sizes are the result's");
    } else if (node.op == Op::RandomBits) {
      expect(axes.empty() && sizes.size() == type.rank + 2u, "number of sizes");
    } else {
      expect(axes.empty() && sizes.empty(), "no attributes");
    }
  }

  void check_movement(const ProgramNode& node, Ints axes, Ints sizes) const {
    const int rank = type_of(node.type).rank, from = operand(0).rank;
    const auto have_sizes = [&](int count) {
      expect(axes.empty() && sizes.size() == static_cast<size_t>(count), "number of sizes");
    };
    switch (node.op) {
      case Op::Expand:
      case Op::Reshape:
        have_sizes(rank);
        return;
      case Op::Permute:
        expect(sizes.empty() && is_permutation(axes, from), "a permutation of the operand's axes");
        return;
      case Op::Slice:
        expect(rank == from, "ranks are equal");
        have_sizes(2 * from);
        check_box(operand(0), type_of(node.type).dims(), sizes);
        return;
      case Op::UpdateSlice:
        expect(operand(1).rank == from, "ranks are equal");
        have_sizes(2 * from);
        check_box(operand(0), operand(1).dims(), sizes);
        return;
      case Op::Pad:
        have_sizes(3 * from);
        expect(std::ranges::all_of(sizes, [](int64_t n) { return n >= 0; }), "no negative sizes");
        expect(operand(1).rank == 0, "the padding is 0-d");
        return;
      default:  // Concatenate
        expect(axes.size() == 1 && are_axes(axes, rank) && sizes.empty(), "an axis of the result");
    }
  }

  // The box of `dims` elements that starts at sizes[i] and goes by sizes[rank + i] lies inside.
  void check_box(const Type& whole, Ints dims, Ints sizes) const {
    const size_t rank = dims.size();
    const bool empty = std::ranges::find(dims, 0) != dims.end();
    for (size_t i = 0; i < rank && !empty; ++i) {
      const int64_t first = sizes[i], last = first + sizes[rank + i] * (dims[i] - 1);
      expect(first >= 0 && first < whole.dims()[i] && last >= 0 && last < whole.dims()[i],
             "the box lies inside the operand");
    }
  }

  // The operands are what the bodies take, and the outputs what they give.
  void check_region(const ProgramNode& node, Ints axes, Ints sizes) const {
    if (node.op == Op::RegionOutput) {
      const ProgramNode& owner = program_.nodes[program_.operands_of(node)[0]];
      expect(axes.size() == 1 && sizes.empty() && is_region(owner.op), "an output of a region");
      if (owner.op == Op::Call) {
        const auto results = library::decode(program_.sizes_of(owner)).results;
        expect(static_cast<size_t>(axes[0]) < results.size(), "one of the call's results");
        const library::ResultType& result = results[static_cast<size_t>(axes[0])];
        expect(type_of(node.type).dtype == result.dtype &&
                   std::ranges::equal(type_of(node.type).dims(), result.dims),
               "the type of the call's result");
        return;
      }
      const Region& body = region_of(region_ids(owner.op, program_.axes_of(owner)).back());
      const auto which = static_cast<size_t>(axes[0]);
      expect(which < body.program.outputs.size(), "one of the region's outputs");
      const bool is_stack = owner.op == Op::Scan && axes[0] >= program_.axes_of(owner)[0];
      const TypeId type = body.output_type(which);
      expect(node.type == (is_stack ? stacked(type, program_.sizes_of(owner)[0]) : type),
             "the type of the region's output");
      return;
    }
    if (node.op == Op::Call) {
      expect(axes.size() == 1 || axes.size() == 2, "number of attributes");
    }
    const size_t fixed = node.op == Op::Scan ? 4 : node.op == Op::While ? 3 : 2;
    expect(node.op == Op::Call ||
               (axes.size() == fixed && sizes.size() == (node.op == Op::Scan ? 1u : 0u)),
           "number of attributes");
    for (RegionId id : region_ids(node.op, axes)) {
      const Program& body = region_of(id).program;
      const size_t first = node.op == Op::Cond;
      expect(types_.size() >= body.inputs.size() + first, "operands of the body");
      for (size_t k = 0; k < body.inputs.size(); ++k) {
        const bool is_stack = node.op == Op::Scan && k >= static_cast<size_t>(axes[0]) &&
                              k < static_cast<size_t>(axes[0] + axes[1]);
        const TypeId whole = row_major(types_[k + first]);
        expect(body.inputs[k].type == (is_stack ? step_of(whole) : whole),
               "an operand of the body's type");
      }
    }
  }

  void check_contraction(Ints axes) const {
    const auto at = [&](size_t i) { return i < axes.size() ? static_cast<size_t>(axes[i]) : ~0u; };
    const size_t batches = at(0);
    expect(batches <= axes.size() && 1 + 2 * batches < axes.size(), "number of batch axes");
    const size_t contracted = at(1 + 2 * batches);
    expect(axes.size() == 2 + 2 * (batches + contracted), "number of contracted axes");
    for (int k = 0; k < 2; ++k) {
      Dims own(axes.subspan(1 + k * batches, batches));
      const Ints rest = axes.subspan(2 + 2 * batches + k * contracted, contracted);
      own.append(rest.begin(), rest.end());
      std::ranges::sort(own);
      expect(are_axes(own, operand(k).rank) && ascend(own), "axes of the operand, each once");
    }
  }

  void check_indexing(const ProgramNode& node) const {
    if (info(node.op).group != PrimitiveClass::Index) return;
    expect(operand(1).dtype == DType::Int64, "indices are int64");
    if (types_.size() < 3) return;
    expect(operand(2).dtype == operand(0).dtype, "updates have the base's dtype");
    const bool along = node.op == Op::PutAlongAdd || node.op == Op::PutAlongSet;
    const Op read = along ? Op::TakeAlong : Op::Gather;
    const TypeId result = infer(read, std::span(types_).first(2), program_.axes_of(node), {});
    expect(std::ranges::equal(type_of(result).dims(), operand(2).dims()),
           "updates have the sizes of what the index reads");
  }

  TypeId infer(Op op, std::span<const TypeId> types, Ints axes, Ints sizes) const {
    try {
      return info(op).elementwise ? infer_Elementwise(op, types)
                                  : infer_rule(op)(op, types, axes, sizes);
    } catch (const Error& error) {
      expect(false, error.what());
      throw;
    }
  }

  void check_type(const ProgramNode& node, Ints axes, Ints sizes) const {
    if (info(node.op).group == PrimitiveClass::Source || node.op == Op::Slice ||
        node.op == Op::RegionOutput) {
      expect(node.op != Op::Slice || type_of(node.type).dtype == operand(0).dtype, "dtype");
      return;
    }
    const TypeId inferred = infer(node.op, types_, axes, sizes);
    const Type& type = type_of(node.type);
    expect(std::ranges::equal(type.dims(), type_of(inferred).dims()), "sizes");
    const bool is_cast = info(node.op).group == PrimitiveClass::Cast;
    expect(is_cast || type.dtype == type_of(inferred).dtype, "dtype");
    expect(node.op != Op::Bitcast || size_of(type.dtype) == size_of(operand(0).dtype),
           "a size of elements");
  }

  const Program& program_;
  size_t at_ = 0;
  std::vector<TypeId> types_;
};

}  // namespace

void check_program(const Program& program) { Checker(program).run(); }

bool checks_programs() {
#ifdef NDEBUG
  static const bool on = env_flag("TENON_CHECK", false);
#else
  static const bool on = env_flag("TENON_CHECK", true);
#endif
  return on;
}

}  // namespace tenon
