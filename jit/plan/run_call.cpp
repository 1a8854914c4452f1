// Calls of users' operations: their kernels on buffers in row-major order.
#include "core/allocator.h"
#include "jit/plan/running.h"
#include "trace/executor.h"
#include "trace/library.h"
#include "trace/origin.h"

namespace tenon::jit {

void Plan::run_call(const RegionStep& step, Running& running) {
  const Program& program = running.program;
  const ProgramNode& node = program.nodes[step.source];
  const library::Operation& operation = library::operation_of(program.axes_of(node)[0]);
  const library::CallSizes sizes = library::decode(program.sizes_of(node));
  const auto operands = program.operands_of(node);
  check(operation.kernel != nullptr, ErrorKind::Internal, "{} has no kernel", operation.name);

  std::vector<tenon_buffer> inputs;
  size_t next = 0;
  for (bool given : sizes.is_given) {
    if (!given) {
      inputs.push_back(library::as_c(tenon_type{TENON_NO_DTYPE, 0, {}}, nullptr));
      continue;
    }
    const Type& type = type_of(program.nodes[operands[next]].type);
    void* const data = running.pointers[step.operands[next]];
    inputs.push_back(library::as_c(library::as_c(type.dtype, type.dims()), data));
    ++next;
  }
  std::vector<Ref<Storage>> unread;  // what nobody reads is written somewhere all the same
  std::vector<tenon_buffer> results;
  for (size_t k = 0; k < sizes.results.size(); ++k) {
    const tenon_type type = library::as_c(sizes.results[k].dtype, sizes.results[k].dims);
    void* data = step.results[k] == kNone ? nullptr : running.pointers[step.results[k]];
    if (data == nullptr) {
      unread.push_back(
          allocate(tenon_elements(&type) * static_cast<int64_t>(size_of(sizes.results[k].dtype))));
      data = unread.back()->data();
    }
    results.push_back(library::as_c(type, data));
  }
  const std::vector<tenon_attribute> attributes = library::as_c(sizes.attributes);
  const tenon_arguments arguments{inputs.size(), inputs.data(), attributes.size(),
                                  attributes.data()};
  const char* const failure = operation.kernel(&arguments, results.data());
  if (failure == nullptr) return;
  std::string message = operation.name + ": " + failure;
  if (const std::string where = describe_origin(node.origin); !where.empty()) {
    message += " (recorded at " + where + ")";
  }
  throw DataError(ErrorKind::Runtime, std::move(message), node.origin);
}

}  // namespace tenon::jit
