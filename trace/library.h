// Operations that users declare: a name, the types of what they give, a kernel over buffers, and
// rules for derivatives and batching, which the transforms call as they call a primitive's own.
//
// A call is a node `call` of the trace, with a token for its result, as a region's; its results are
// the `region_output` nodes that read it. Its axes hold the operation's number; its sizes, the
// types of the results and everything that is no tensor, so that other numbers compile nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tenon_operation.h"
#include "trace/region.h"
#include "trace/tensor.h"

namespace tenon::library {

using OperationId = int64_t;
using Attribute = std::variant<std::monostate, int64_t, double, bool, std::string,
                               std::vector<int64_t>, std::vector<double>>;

// A call's arguments; a tensor that was not given is undefined.
struct Arguments {
  std::vector<Tensor> tensors;
  std::vector<Attribute> attributes;
};
struct ResultType {
  DType dtype;
  Dims dims;
};
struct Batch {
  std::vector<bool> is_batched;  // by tensor of the arguments: along dimension 0
  int64_t extent;
};
struct BatchedResults {
  std::vector<Tensor> tensors;
  std::vector<std::optional<int64_t>> dims;  // where the batch is; nothing: the same for all
};

struct Operation {
  std::string name;  // "space::name"
  tenon_infer infer = nullptr;
  tenon_kernel kernel = nullptr;  // none: a call has to be gone, by its batching rule, when it runs
  size_t result_count = 1;
  bool batches_leading = false;  // see TENON_BATCHES_LEADING

  // From what was given, the results, and their gradients (undefined: none arrived), to the
  // gradients of the tensors (undefined: zero).
  using Backward = std::function<std::vector<Tensor>(const Arguments&, const std::vector<Tensor>&,
                                                     const std::vector<Tensor>&)>;
  // From the tensors' tangents (undefined: zero) to the results' (undefined: zero).
  using Forward = Backward;
  using Batching = std::function<BatchedResults(const Arguments&, const Batch&)>;
  Backward backward;
  Forward forward;
  Batching batching;
};

// Operations live as long as the process; one of the same name takes the name, and calls recorded
// before keep theirs.
OperationId add(Operation operation);
const Operation& operation_of(OperationId id);  // callable from any thread
std::optional<OperationId> find(std::string_view name);

// What the sizes of a `call` node say.
struct CallSizes {
  std::vector<ResultType> results;
  std::vector<bool> is_given;  // by tensor of the arguments: whether it is an operand
  std::vector<Attribute> attributes;
};

// Records a call. The types of the results are `types`, or what the operation infers.
std::vector<Tensor> call(OperationId id, const Arguments& arguments,
                         std::optional<std::vector<ResultType>> types = {});
// The same of an operation whose body was recorded on parameters, one a tensor that is given: a
// plan runs the body. Other values that it reads are operands, through which no derivative passes.
std::vector<Value> record_call(OperationId id, const RegionRecording& body,
                               std::span<const Value> parameters, std::span<const Value> operands,
                               const CallSizes& sizes);
// Appends a call's node and its results; `axes` as the node has them.
std::vector<Value> append_call(std::span<const int64_t> axes, std::span<const Value> operands,
                               const CallSizes& sizes);

// What a tensor depends on: the example of a vmap, or the parameters of a region being recorded.
bool is_example(const Tensor& x);
bool is_inside_region(const Tensor& x);

// The operations of a shared library (see tenon_operation.h), which stays loaded; and what the
// entry of one says, without rules. load() adds them all.
std::vector<const tenon_operation*> open(const std::string& path);
Operation from_c(const tenon_operation& entry);
std::vector<OperationId> load(const std::string& path);

Dims encode(const CallSizes& sizes);
CallSizes decode(std::span<const int64_t> words);

// A call's attributes as C sees them; they point into what was given.
std::vector<tenon_attribute> as_c(std::span<const Attribute> attributes);
tenon_type as_c(DType dtype, std::span<const int64_t> dims);
tenon_buffer as_c(const tenon_type& type, void* data);

// Values in a row after a token, which stand for a call's results: what the rules of `call` give.
Value pack(std::span<const Value> results);

}  // namespace tenon::library
