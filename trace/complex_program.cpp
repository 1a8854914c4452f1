#include "trace/complex_program.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "trace/complex.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

constexpr uint32_t kNoPlace = ~uint32_t{0};

// A complex type as the reals it consists of.
TypeId interleaved(const Type& type) {
  Dims dims(type.dims()), strides;
  for (int64_t stride : type.strides()) strides.push_back(2 * stride);
  dims.push_back(2);
  strides.push_back(1);
  return intern(real_dtype(type.dtype), type.device, dims, strides);
}

TypeId part_type(const Type& type) {
  return is_dense(type) ? intern(real_dtype(type.dtype), type.device, type.dims(), type.strides())
                        : intern_contiguous(real_dtype(type.dtype), type.device, type.dims());
}

class Rewriter {
 public:
  explicit Rewriter(const Program& program) : from_(program) {
    to_.attributes = program.attributes;  // nodes that stay keep their places in it
  }

  Program run() {
    places_.resize(from_.nodes.size());
    for (uint32_t id = 0; id < from_.nodes.size(); ++id) add(id);
    for (uint32_t output : from_.outputs) to_.outputs.push_back(as_output(output));
    return std::move(to_);
  }

 private:
  // Where a value is: one node of a real value or of interleaved reals, or one a part.
  struct Placed {
    uint32_t whole = kNoPlace;
    std::array<uint32_t, 2> parts{kNoPlace, kNoPlace};
  };

  const Type& type_in(uint32_t id) const { return type_of(from_.nodes[id].type); }
  const Type& type_out(uint32_t id) const { return type_of(to_.nodes[id].type); }

  uint32_t append(ProgramNode node, std::initializer_list<uint32_t> operands) {
    node.operand_count = static_cast<uint8_t>(operands.size());
    node.operands = static_cast<uint32_t>(to_.operands.size());
    to_.operands.insert(to_.operands.end(), operands);
    to_.nodes.push_back(node);
    return static_cast<uint32_t>(to_.nodes.size() - 1);
  }

  uint32_t append_new(Op op, TypeId type, uint32_t origin, std::initializer_list<uint32_t> operands,
                      std::span<const int64_t> axes, std::span<const int64_t> sizes) {
    ProgramNode node{};
    node.op = op;
    node.type = type;
    node.origin = origin;
    node.axes = static_cast<uint32_t>(to_.attributes.size());
    node.axes_count = static_cast<uint32_t>(axes.size());
    to_.attributes.insert(to_.attributes.end(), axes.begin(), axes.end());
    node.sizes = static_cast<uint32_t>(to_.attributes.size());
    node.sizes_count = static_cast<uint32_t>(sizes.size());
    to_.attributes.insert(to_.attributes.end(), sizes.begin(), sizes.end());
    return append(node, operands);
  }

  uint32_t reshape(uint32_t x, const Dims& dims, uint32_t origin) {
    const Type& type = type_out(x);
    return append_new(Op::Reshape, intern_contiguous(type.dtype, type.device, dims), origin, {x},
                      {}, dims);
  }

  uint32_t part(uint32_t id, int which) {
    Placed& placed = places_[id];
    if (placed.parts[which] != kNoPlace) return placed.parts[which];
    const Type& type = type_in(id);
    const Type& whole = type_out(placed.whole);
    const uint32_t origin = from_.nodes[id].origin;
    Dims dims(whole.dims()), sizes(2 * static_cast<size_t>(whole.rank), 0);
    dims[type.rank] = 1;
    sizes[type.rank] = which;
    std::fill(sizes.begin() + whole.rank, sizes.end(), 1);
    const uint32_t slice = append_new(Op::Slice, intern_contiguous(whole.dtype, whole.device, dims),
                                      origin, {placed.whole}, {}, sizes);
    return placed.parts[which] = reshape(slice, Dims(type.dims()), origin);
  }

  uint32_t whole(uint32_t id) {
    Placed& placed = places_[id];
    if (placed.whole != kNoPlace) return placed.whole;
    const Type& type = type_in(id);
    const uint32_t origin = from_.nodes[id].origin;
    Dims dims(type.dims());
    dims.push_back(1);
    const uint32_t re = reshape(placed.parts[0], dims, origin);
    const uint32_t im = reshape(placed.parts[1], dims, origin);
    dims[type.rank] = 2;
    const int64_t axis = type.rank;
    return placed.whole = append_new(Op::Concatenate,
                                     intern_contiguous(real_dtype(type.dtype), type.device, dims),
                                     origin, {re, im}, {&axis, 1}, {});
  }

  // The operation of a node that stays, on its real operands and that part of its complex ones.
  uint32_t copy(uint32_t id, int which, TypeId type) {
    ProgramNode node = from_.nodes[id];
    node.type = type;
    std::vector<uint32_t> operands;
    for (uint32_t operand : from_.operands_of(from_.nodes[id])) {
      operands.push_back(is_complex(type_in(operand).dtype) ? part(operand, which)
                                                            : places_[operand].whole);
    }
    node.operands = static_cast<uint32_t>(to_.operands.size());
    to_.operands.insert(to_.operands.end(), operands.begin(), operands.end());
    to_.nodes.push_back(node);
    return static_cast<uint32_t>(to_.nodes.size() - 1);
  }

  void add(uint32_t id) {
    const ProgramNode& node = from_.nodes[id];
    const auto operands = from_.operands_of(node);
    const bool gives_complex = is_complex(type_in(id).dtype);
    Placed& placed = places_[id];
    switch (node.op) {
      case Op::Part:
        placed.whole = part(operands[0], static_cast<int>(from_.axes_of(node)[0]));
        return;
      case Op::Complex:
        placed.parts = {places_[operands[0]].whole, places_[operands[1]].whole};
        return;
      case Op::ViewAsReal:
        placed.whole = whole(operands[0]);
        return;
      case Op::ViewAsComplex:
        placed.whole = places_[operands[0]].whole;
        return;
      case Op::Alias:
        placed = gives_complex ? places_[operands[0]] : Placed{};
        if (gives_complex) return;
        break;
      case Op::Input:
        if (!gives_complex) break;
        placed.whole = append(node, {});
        to_.nodes.back().type = interleaved(type_in(id));
        return;
      default:
        break;
    }
    const bool takes_complex = std::ranges::any_of(
        operands, [&](uint32_t operand) { return is_complex(type_in(operand).dtype); });
    if (!gives_complex && !takes_complex) {
      placed.whole = copy(id, 0, node.type);
      return;
    }
    check(gives_complex && (ops::acts_on_parts(node.op) || node.op == Op::Cast),
          ErrorKind::NotImplemented,
          "{}: not implemented for complex numbers; give it their real and imaginary parts "
          "(view_as_real)",
          name_of(node.op));
    for (int which = 0; which < 2; ++which) {
      placed.parts[which] = copy(id, which, part_type(type_in(id)));
    }
  }

  // In the layout that the output has.
  uint32_t as_output(uint32_t id) {
    const Type& type = type_in(id);
    const TypeId wanted = is_complex(type.dtype) ? interleaved(type) : from_.nodes[id].type;
    const uint32_t found = is_complex(type.dtype) ? whole(id) : places_[id].whole;
    if (to_.nodes[found].type == wanted) return found;
    return append_new(Op::Alias, wanted, from_.nodes[id].origin, {found}, {}, {});
  }

  const Program& from_;
  Program to_;
  std::vector<Placed> places_;
};

}  // namespace

bool has_complex(const Program& program) {
  return std::ranges::any_of(
      program.nodes, [](const ProgramNode& node) { return is_complex(type_of(node.type).dtype); });
}

Program& on_reals(Program& program) {
  if (!program.on_reals) program.on_reals = std::make_shared<Program>(Rewriter(program).run());
  Program& reals = *program.on_reals;
  std::ranges::copy(program.attributes, reals.attributes.begin());
  reals.donatable = program.donatable;
  reals.inputs = program.inputs;
  for (Buffer& input : reals.inputs) {
    const Type& type = type_of(input.type);
    if (!is_complex(type.dtype)) continue;
    input.offset *= 2;
    input.type = interleaved(type);
  }
  return reals;
}

std::vector<Buffer> from_reals(const Program& program, std::vector<Buffer> outputs) {
  program.on_reals->inputs.clear();
  for (size_t k = 0; k < outputs.size(); ++k) {
    outputs[k].type = program.nodes[program.outputs[k]].type;
    if (is_complex(type_of(outputs[k].type).dtype)) outputs[k].offset /= 2;
  }
  return outputs;
}

}  // namespace tenon
