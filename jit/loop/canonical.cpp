#include <cstring>

#include "jit/loop/ir.h"

namespace tenon::loop {

namespace {

struct Writer {
  std::vector<std::byte> bytes;
  template <class T>
  void put(T value) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof(T));
    std::memcpy(bytes.data() + at, &value, sizeof(T));
  }
};

}  // namespace

// Values are numbered by position, so the bytes of nodes and operands in order are canonical. Each
// list is preceded by its length, so that no two kernels give one sequence.
std::vector<std::byte> canonical_form(const Kernel& kernel) {
  Writer writer;
  writer.bytes.reserve(64 + kernel.nodes.size() * 24 + kernel.operands.size() * 4);
  writer.put(static_cast<uint32_t>(kernel.buffers.size()));
  for (const BufferParam& buffer : kernel.buffers) {
    writer.put(static_cast<uint8_t>(buffer.type));
    writer.put(static_cast<uint8_t>(buffer.access));
  }
  writer.put(kernel.ints);
  writer.put(kernel.vector_bits);
  writer.put(static_cast<uint32_t>(kernel.scalars.size()));
  for (Scalar scalar : kernel.scalars) writer.put(static_cast<uint8_t>(scalar));
  writer.put(kernel.scratch.constant);
  writer.put(static_cast<uint32_t>(kernel.scratch.terms.size()));
  for (const auto& term : kernel.scratch.terms) {
    writer.put(term.factor);
    writer.put(term.param);
  }
  for (const Node& node : kernel.nodes) {
    writer.put(static_cast<uint8_t>(node.op));
    writer.put(node.detail);
    writer.put(static_cast<uint8_t>(node.type));
    writer.put(node.lanes);
    writer.put(node.operand_count);
    writer.put(node.index);
    writer.put(node.payload);
    for (Value operand : kernel.operands_of(node)) writer.put(operand);
  }
  return std::move(writer.bytes);
}

}  // namespace tenon::loop
