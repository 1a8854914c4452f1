// What crosses from the trace to the JIT: a closed, topologically ordered list of live nodes with
// concrete inputs. The JIT sees no tensors, no derivatives and no batching.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/ref.h"
#include "core/storage.h"
#include "core/types.h"
#include "generated/primitives.h"

namespace tenon {

// A materialised value: `type` holds dtype, extents and the strides (in elements) into `storage`,
// counted from `offset` (in elements).
struct Buffer {
  Ref<Storage> storage;
  int64_t offset = 0;
  TypeId type = 0;

  explicit operator bool() const { return static_cast<bool>(storage); }
};

class EarlyRun;  // executor.h

struct ProgramNode {
  Op op;
  uint8_t operand_count;
  TypeId type;
  uint32_t operands;  // offset into Program::operands
  uint32_t axes;      // offset into Program::attributes: structural, part of a plan's key
  uint32_t axes_count;
  uint32_t sizes;  // offset into Program::attributes: arguments of a plan, never in its key
  uint32_t sizes_count;
  uint32_t origin;  // where the user's program recorded it (see trace/origin.h)
};

struct Program {
  std::vector<ProgramNode> nodes;
  std::vector<uint32_t> operands;
  std::vector<int64_t> attributes;
  std::vector<Buffer> inputs;      // of the `input` nodes, in order
  std::vector<uint8_t> donatable;  // per input: nobody else will read this buffer again
  std::vector<uint32_t> outputs;   // node ids
  // The executor's own: what it worked out for this program. The trace hands the same program in
  // again, with `prepared` as it was left, when the same nodes were recorded once more: then all
  // types and wiring are equal, and only buffers, `sizes` attributes and donatable may differ.
  std::shared_ptr<void> prepared;
  // What of this very program has run already; taken by the executor.
  std::shared_ptr<EarlyRun> early;
  // This program without complex numbers, once it was asked for (see trace/complex_program.h).
  std::shared_ptr<Program> on_reals;

  std::span<const uint32_t> operands_of(const ProgramNode& node) const {
    return {operands.data() + node.operands, node.operand_count};
  }
  std::span<const int64_t> axes_of(const ProgramNode& node) const {
    return {attributes.data() + node.axes, node.axes_count};
  }
  std::span<const int64_t> sizes_of(const ProgramNode& node) const {
    return {attributes.data() + node.sizes, node.sizes_count};
  }
};

}  // namespace tenon
