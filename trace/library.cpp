#include "trace/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "core/error.h"
#include "core/shape.h"
#include "trace/batch.h"
#include "trace/recorder.h"
#include "trace/region.h"
#include "trace/rules.h"

namespace tenon {
namespace library {
namespace {

// Never dropped: their numbers stand in programs and plans.
struct Table {
  std::shared_mutex mutex;
  std::vector<std::unique_ptr<const Operation>> operations;
  std::unordered_map<std::string, OperationId> ids;
};
Table& table() {
  static auto* const instance = new Table;
  return *instance;
}

TypeId type_id(const ResultType& type, Device device) {
  return intern_contiguous(type.dtype, device, type.dims);
}

std::vector<ResultType> infer(const Operation& operation, std::span<const Type* const> given,
                              std::span<const Attribute> attributes) {
  std::vector<tenon_buffer> inputs;
  for (const Type* type : given) {
    inputs.push_back(
        as_c(type ? as_c(type->dtype, type->dims()) : tenon_type{TENON_NO_DTYPE, 0, {}}, nullptr));
  }
  const std::vector<tenon_attribute> others = as_c(attributes);
  const tenon_arguments arguments{inputs.size(), inputs.data(), others.size(), others.data()};
  std::vector<tenon_type> types(operation.result_count);
  const char* const failure = operation.infer(&arguments, types.data());
  check(failure == nullptr, ErrorKind::Runtime, "{}: {}", operation.name, failure);
  std::vector<ResultType> results;
  for (const tenon_type& type : types) {
    check(type.dtype >= 0 && type.dtype <= TENON_FLOAT64 && type.rank >= 0 &&
              type.rank <= TENON_MOST_DIMS,
          ErrorKind::Runtime, "{}: the types it infers have dtype {} and rank {}", operation.name,
          type.dtype, type.rank);
    results.push_back({static_cast<DType>(type.dtype),
                       Dims(std::span(type.dims, static_cast<size_t>(type.rank)))});
  }
  return results;
}

}  // namespace

OperationId add(Operation operation) {
  check(operation.name.find("::") != std::string::npos, ErrorKind::Value,
        "an operation's name is \"space::name\", got \"{}\"", operation.name);
  Table& t = table();
  std::unique_lock lock(t.mutex);
  const auto id = static_cast<OperationId>(t.operations.size());
  t.ids[operation.name] = id;
  t.operations.push_back(std::make_unique<const Operation>(std::move(operation)));
  return id;
}

const Operation& operation_of(OperationId id) {
  Table& t = table();
  std::shared_lock lock(t.mutex);
  check(id >= 0 && static_cast<size_t>(id) < t.operations.size(), ErrorKind::Internal,
        "there is no operation {}", id);
  return *t.operations[static_cast<size_t>(id)];
}

std::optional<OperationId> find(std::string_view name) {
  Table& t = table();
  std::shared_lock lock(t.mutex);
  const auto found = t.ids.find(std::string(name));
  return found == t.ids.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Value> append_call(std::span<const int64_t> axes, std::span<const Value> operands,
                               const CallSizes& sizes) {
  const Device device = operands.empty() ? Device{} : type_of(operands[0]).device;
  std::vector<Value> read(operands.begin(), operands.end());
  // A call of nothing still has a node's operand count: its attributes are all it knows.
  if (read.empty()) read.push_back(ops::literal(0, DType::Float32));
  const Value token = append(Op::Call, token_type(), read, axes, encode(sizes));
  std::vector<Value> results;
  for (size_t k = 0; k < sizes.results.size(); ++k) {
    const auto which = static_cast<int64_t>(k);
    results.push_back(
        append(Op::RegionOutput, type_id(sizes.results[k], device), {&token, 1}, {&which, 1}, {}));
  }
  return results;
}

std::vector<Value> record_call(OperationId id, const RegionRecording& body,
                               std::span<const Value> parameters, std::span<const Value> operands,
                               const CallSizes& sizes) {
  std::vector<Value> read(operands.begin(), operands.end());
  for (NodeId constant : body.constants()) read.push_back({constant});
  const int64_t axes[] = {id, intern_region(body.build(parameters, body.constants()))};
  return append_call(axes, read, sizes);
}

std::vector<Tensor> call(OperationId id, const Arguments& arguments,
                         std::optional<std::vector<ResultType>> types) {
  const Operation& operation = operation_of(id);
  OpScope scope(operation.name.c_str());
  CallSizes sizes;
  std::vector<Value> operands;
  std::vector<const Type*> given;
  for (const Tensor& tensor : arguments.tensors) {
    sizes.is_given.push_back(tensor.defined());
    given.push_back(tensor.defined() ? &tensor.type() : nullptr);
    if (!tensor.defined()) continue;
    check(!operation.kernel || !tensor.device().is_cuda(), ErrorKind::NotImplemented,
          "{}: its kernel is for the CPU, and a tensor is on {}. Move it there: x.cpu()",
          operation.name, to_string(tensor.device()));
    operands.push_back(scope.use(tensor));
  }
  check(operands.size() < 256, ErrorKind::Runtime, "{}: at most 255 tensors", operation.name);
  sizes.attributes = arguments.attributes;
  if (types) {
    sizes.results = std::move(*types);
  } else {
    check(operation.infer != nullptr, ErrorKind::Runtime,
          "{}: nothing says which types its results have", operation.name);
    sizes.results = infer(operation, given, sizes.attributes);
  }
  std::vector<Tensor> results;
  for (Value value : append_call({&id, 1}, operands, sizes)) results.push_back(scope.result(value));
  return results;
}

namespace {

bool depends_on_open(const Tensor& x, bool region) {
  TraceLock lock;
  const Recorder& r = recorder();
  const uint32_t level = r.segment->nodes[resolve(*x.cell()).id].level;
  return std::ranges::any_of(r.vmaps, [&](const OpenVmap& open) {
    return open.instance == level && (open.region != nullptr) == region;
  });
}

}  // namespace

bool is_example(const Tensor& x) { return depends_on_open(x, false); }
bool is_inside_region(const Tensor& x) {
  return recorder().floor != 0 || depends_on_open(x, true);  // in a branch everything is
}

// ---- shared libraries

std::vector<const tenon_operation*> open(const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    fail(ErrorKind::OS, "load_library: {}", reason ? reason : path);
  }
  void* const symbol = dlsym(handle, "tenon_operations");
  check(symbol != nullptr, ErrorKind::OS,
        "load_library: {} does not export tenon_operations (see tenon_operation.h)", path);
  size_t count = 0;
  const tenon_operation* const entries =
      reinterpret_cast<tenon_operations_function>(symbol)(&count);
  std::vector<const tenon_operation*> operations;
  for (size_t k = 0; k < count; ++k) {
    check(entries[k].abi == TENON_ABI, ErrorKind::OS,
          "load_library: {} was built for version {} of tenon_operation.h, this is version {}",
          path, entries[k].abi, TENON_ABI);
    check(entries[k].schema && entries[k].kernel && entries[k].infer, ErrorKind::Value,
          "load_library: operation {} of {} lacks its schema, infer or kernel", k, path);
    operations.push_back(entries + k);
  }
  return operations;
}

Operation from_c(const tenon_operation& entry) {
  const std::string_view schema = entry.schema;
  const size_t opens = schema.find('('), arrow = schema.rfind("->");
  check(opens != schema.npos && arrow != schema.npos && opens < arrow, ErrorKind::Value,
        "load_library: expected \"space::name(Tensor x) -> Tensor\", got \"{}\"", schema);
  Operation operation;
  operation.name = schema.substr(0, opens);
  operation.infer = entry.infer;
  operation.kernel = entry.kernel;
  operation.batches_leading = (entry.flags & TENON_BATCHES_LEADING) != 0;
  operation.result_count = 0;
  constexpr std::string_view kTensor = "Tensor";
  for (size_t at = arrow; (at = schema.find(kTensor, at)) != schema.npos; at += kTensor.size()) {
    ++operation.result_count;
  }
  return operation;
}

std::vector<OperationId> load(const std::string& path) {
  std::vector<OperationId> ids;
  for (const tenon_operation* entry : open(path)) ids.push_back(add(from_c(*entry)));
  return ids;
}

// ---- what is no tensor, as words

Dims encode(const CallSizes& sizes) {
  Dims words;
  const auto write_all = [&](auto span) {
    words.push_back(static_cast<int64_t>(span.size()));
    for (auto word : span) words.push_back(static_cast<int64_t>(word));
  };
  words.push_back(static_cast<int64_t>(sizes.results.size()));
  for (const ResultType& type : sizes.results) {
    words.push_back(static_cast<int64_t>(type.dtype));
    write_all(type.dims.span());
  }
  words.push_back(static_cast<int64_t>(sizes.is_given.size()));
  for (bool given : sizes.is_given) words.push_back(given);
  words.push_back(static_cast<int64_t>(sizes.attributes.size()));
  for (const Attribute& attribute : sizes.attributes) {
    words.push_back(static_cast<int64_t>(attribute.index()));
    if (const auto* integer = std::get_if<int64_t>(&attribute)) words.push_back(*integer);
    if (const auto* number = std::get_if<double>(&attribute))
      words.push_back(std::bit_cast<int64_t>(*number));
    if (const auto* flag = std::get_if<bool>(&attribute)) words.push_back(*flag);
    if (const auto* text = std::get_if<std::string>(&attribute)) {
      words.push_back(static_cast<int64_t>(text->size()));
      for (size_t at = 0; at < text->size(); at += sizeof(int64_t)) {
        int64_t word = 0;
        std::memcpy(&word, text->data() + at, std::min(sizeof(word), text->size() - at));
        words.push_back(word);
      }
    }
    if (const auto* list = std::get_if<std::vector<int64_t>>(&attribute)) {
      write_all(std::span(*list));
    }
    if (const auto* list = std::get_if<std::vector<double>>(&attribute)) {
      words.push_back(static_cast<int64_t>(list->size()));
      for (double number : *list) words.push_back(std::bit_cast<int64_t>(number));
    }
  }
  return words;
}

CallSizes decode(std::span<const int64_t> words) {
  size_t at = 0;
  const auto next = [&] { return words[at++]; };
  const auto next_size = [&] { return static_cast<size_t>(words[at++]); };
  CallSizes sizes;
  sizes.results.resize(next_size());
  for (ResultType& type : sizes.results) {
    type.dtype = static_cast<DType>(next());
    const size_t rank = next_size();
    type.dims = Dims(words.subspan(at, rank));
    at += rank;
  }
  sizes.is_given.resize(next_size());
  for (size_t k = 0; k < sizes.is_given.size(); ++k) sizes.is_given[k] = next() != 0;
  sizes.attributes.resize(next_size());
  for (Attribute& attribute : sizes.attributes) {
    switch (next()) {
      case TENON_INTEGER:
        attribute = next();
        break;
      case TENON_NUMBER:
        attribute = std::bit_cast<double>(next());
        break;
      case TENON_FLAG:
        attribute = next() != 0;
        break;
      case TENON_TEXT: {
        const size_t length = next_size();
        std::string text(length, '\0');
        if (length > 0) std::memcpy(text.data(), words.data() + at, length);
        at += (length + sizeof(int64_t) - 1) / sizeof(int64_t);
        attribute = std::move(text);
        break;
      }
      case TENON_INTEGERS: {
        std::vector<int64_t> list(next_size());
        for (int64_t& number : list) number = next();
        attribute = std::move(list);
        break;
      }
      case TENON_NUMBERS: {
        std::vector<double> list(next_size());
        for (double& number : list) number = std::bit_cast<double>(next());
        attribute = std::move(list);
        break;
      }
      default:
        break;
    }
  }
  return sizes;
}

std::vector<tenon_attribute> as_c(std::span<const Attribute> attributes) {
  std::vector<tenon_attribute> all;
  for (const Attribute& attribute : attributes) {
    tenon_attribute c{};
    c.kind = static_cast<int32_t>(attribute.index());
    if (const auto* integer = std::get_if<int64_t>(&attribute)) c.integer = *integer;
    if (const auto* number = std::get_if<double>(&attribute)) c.number = *number;
    if (const auto* flag = std::get_if<bool>(&attribute)) c.integer = *flag;
    if (const auto* text = std::get_if<std::string>(&attribute)) {
      c.text = text->c_str();
      c.count = static_cast<int64_t>(text->size());
    }
    if (const auto* list = std::get_if<std::vector<int64_t>>(&attribute)) {
      c.integers = list->data();
      c.count = static_cast<int64_t>(list->size());
    }
    if (const auto* list = std::get_if<std::vector<double>>(&attribute)) {
      c.numbers = list->data();
      c.count = static_cast<int64_t>(list->size());
    }
    all.push_back(c);
  }
  return all;
}

tenon_type as_c(DType dtype, std::span<const int64_t> dims) {
  tenon_type type{static_cast<int32_t>(dtype), static_cast<int32_t>(dims.size()), {}};
  std::ranges::copy(dims, type.dims);
  return type;
}

tenon_buffer as_c(const tenon_type& type, void* data) {
  tenon_buffer buffer{type, {}, data};
  int64_t stride = 1;
  for (int32_t d = type.rank; d-- > 0;) {
    buffer.strides[d] = stride;
    stride *= std::max<int64_t>(type.dims[d], 1);
  }
  return buffer;
}

Value pack(std::span<const Value> results) {
  const Value token = ops::alias(ops::literal(0, DType::Float32));
  for (Value value : results) ops::alias(value);
  return token;
}

}  // namespace library

TypeId infer_Call(Op, std::span<const TypeId>, std::span<const int64_t>, std::span<const int64_t>) {
  return token_type();
}

Value batch_Call(const BatchContext& c) {
  using namespace library;
  const OperationId id = c.axes[0];
  const Operation& operation = operation_of(id);
  CallSizes sizes = decode(c.sizes);
  std::vector<Value> results;
  if (operation.batches_leading) {
    std::vector<Value> operands;
    for (size_t k = 0; k < c.operands.size(); ++k) operands.push_back(c.batch(static_cast<int>(k)));
    for (ResultType& type : sizes.results) type.dims = batched_dims(c.extent, type.dims);
    return library::pack(append_call(c.axes, operands, sizes));
  }
  check(static_cast<bool>(operation.batching), ErrorKind::NotImplemented,
        "vmap: {} has no batching rule. Declare one with tenon.library.register_vmap, or in the "
        "flags of its library entry",
        operation.name);
  Arguments arguments{{}, sizes.attributes};
  Batch batch{{}, c.extent};
  size_t next = 0;
  for (bool given : sizes.is_given) {
    arguments.tensors.push_back(given ? Tensor(make_cell(c.operands[next])) : Tensor());
    batch.is_batched.push_back(given && c.batched[next]);
    next += given;
  }
  BatchedResults given;
  {
    TraceUnlock unlock;
    given = operation.batching(arguments, batch);
  }
  check(given.tensors.size() == sizes.results.size(), ErrorKind::Runtime,
        "vmap: the batching rule of {} gives {} results, where {} are expected", operation.name,
        given.tensors.size(), sizes.results.size());
  for (size_t k = 0; k < given.tensors.size(); ++k) {
    Value value = resolve(*given.tensors[k].cell());
    const ResultType& type = sizes.results[k];
    if (given.dims[k]) {
      const int64_t dim = *given.dims[k] < 0 ? *given.dims[k] + rank(value) : *given.dims[k];
      check(dim >= 0 && dim < rank(value), ErrorKind::Runtime,
            "vmap: the batching rule of {} puts the batch of result {} at dimension {} of {}",
            operation.name, k, *given.dims[k], rank(value));
      value = ops::move_axis(value, dim, 0);
    } else {
      value = ops::expand(value, batched_dims(c.extent, dims(value)));
    }
    check(std::ranges::equal(dims(value), batched_dims(c.extent, type.dims)) &&
              dtype(value) == type.dtype,
          ErrorKind::Runtime,
          "vmap: the batching rule of {} gives {}{} for result {}, a batch of {} of {}{}",
          operation.name, name_of(dtype(value)), shown(dims(value)), k, c.extent,
          name_of(type.dtype), shown(type.dims));
    results.push_back(value);
  }
  return library::pack(results);
}

}  // namespace tenon
