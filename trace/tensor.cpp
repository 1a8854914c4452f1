#include "trace/tensor.h"

#include <bit>
#include <cstring>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"
#include "core/half.h"
#include "core/shape.h"
#include "trace/origin.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {

// Cells, and what makes some of them views, come and go with every operation: a thread keeps those
// it freed for the next.
namespace {
template <class T>
struct Pool {
  static constexpr size_t kKept = 1024;
  std::vector<void*> free;
  ~Pool() {
    for (void* memory : free) ::operator delete(memory);
    free.clear();
    is_alive = false;
  }
  void* take() {
    if (!is_alive || free.empty()) return ::operator new(sizeof(T));
    void* memory = free.back();
    free.pop_back();
    return memory;
  }
  void give(void* memory) {
    if (is_alive && free.size() < kKept) {
      free.push_back(memory);
    } else {
      ::operator delete(memory);
    }
  }
  static inline constinit thread_local bool is_alive = true;
};
// In the thread's static block, as the recorder.
thread_local Pool<Cell> cells __attribute__((tls_model("initial-exec")));
thread_local Pool<View> views __attribute__((tls_model("initial-exec")));
}  // namespace

void* Cell::operator new(size_t) { return cells.take(); }
void Cell::operator delete(void* memory) { cells.give(memory); }
void* View::operator new(size_t) { return views.take(); }
void View::operator delete(void* memory) { views.give(memory); }

Cell::~Cell() {
  TraceLock lock;
  Segment::unbind(*this);
  derivative.reset();
  if (anchor) anchor->cell = nullptr;
  // A chain of views of views is released in a loop.
  std::unique_ptr<View> link = std::move(view);
  while (link && link->base && link->base->is_unique()) {
    Ref<Cell> base = std::move(link->base);
    link = std::move(base->view);
  }
}

Tensor::Tensor() = default;
Tensor::Tensor(Ref<Cell> cell) : cell_(std::move(cell)) {}
Tensor::Tensor(const Tensor&) = default;
Tensor::Tensor(Tensor&&) noexcept = default;
Tensor& Tensor::operator=(const Tensor&) = default;
Tensor& Tensor::operator=(Tensor&&) noexcept = default;
Tensor::~Tensor() = default;

namespace {

Cell& defined_cell(const Ref<Cell>& cell) {
  check(static_cast<bool>(cell), ErrorKind::Runtime, "{}: an undefined tensor",
        current_operation());
  return *cell;
}

}  // namespace

TypeId Tensor::type_id() const { return defined_cell(cell_).type; }
const Type& Tensor::type() const { return type_of(type_id()); }

int64_t Tensor::size(int64_t dim) const {
  const int64_t n = rank();
  check(dim >= -n && dim < n, ErrorKind::Index,
        "Dimension out of range (expected to be in range of [{}, {}], but got {})", -n, n - 1, dim);
  return dims()[dim < 0 ? dim + n : dim];
}

int64_t Tensor::storage_offset() const {
  const Cell& cell = defined_cell(cell_);
  return cell.view ? cell.view->offset : 0;
}

bool Tensor::requires_grad() const {
  TraceLock lock;
  Cell& cell = defined_cell(cell_);
  if (!is_differentiable(type_of(cell.type).dtype)) return false;
  if (cell.requires_grad) return true;
  // A view that was not used yet is not emitted for this question: where views are emitted decides
  // the order in which gradients are summed, and printing a tensor must not change their bits.
  const Segment& open = *recorder().segment;
  const Cell* at = &cell;
  for (; at->view; at = at->view->base.get()) {
    if (at->cached_version == at->view->root->version) {
      if (at->cached_sequence == open.sequence)
        return open.nodes[at->cached_node].active & reverse_bit(0);
      if (at->derivative) return true;
    }
    if (at->view->detached || (at->view->blocked & reverse_bit(0))) return false;
  }
  if (at->requires_grad) return true;
  if (at->segment) return at->segment->nodes[at->node].active & reverse_bit(0);
  return static_cast<bool>(at->derivative);
}

bool Tensor::is_leaf() const { return cell_->requires_grad || !requires_grad(); }

void Tensor::set_requires_grad(bool on) const {
  TraceLock lock;
  Cell& cell = defined_cell(cell_);
  check(!on || is_differentiable(dtype()), ErrorKind::Runtime,
        "only Tensors of floating point and complex dtype can require gradients, not {}",
        name_of(dtype()));
  check(on || is_leaf(), ErrorKind::Runtime,
        "you can only change requires_grad flags of leaf variables. If you want to use a computed "
        "variable in a subgraph that doesn't require differentiation use var_no_grad = "
        "var.detach()");
  if (on && !cell.requires_grad && requires_grad()) return;    // already part of a graph
  if (!on && !cell.requires_grad && !requires_grad()) return;  // a view stays one
  if (cell.view) {                                             // a leaf of its own: a view no more
    const Value value = resolve(cell);
    auto own = make_cell(ops::alias(value));
    cell.view = nullptr;
    cell.type = own->type;
    const NodeId node = own->node;
    Segment::unbind(*own);
    Segment::unbind(cell);
    cell.derivative.reset();
    recorder().segment->bind(cell, node);
  }
  cell.requires_grad = on;
}

void Tensor::retain_grad() const {
  TraceLock lock;
  check(requires_grad(), ErrorKind::Runtime,
        "can't retain_grad on Tensor that has requires_grad=False");
  Cell& cell = *cell_;
  if (cell.requires_grad || std::exchange(cell.retains_grad, true)) return;
  cell.anchor = make_ref<LeafAnchor>();
  cell.anchor->cell = &cell;
  retaining_cells().push_back(cell.anchor);
}

std::vector<Ref<LeafAnchor>>& retaining_cells() {
  static auto* const anchors = new std::vector<Ref<LeafAnchor>>;  // threads may outlive statics
  return *anchors;
}

Tensor Tensor::grad() const { return Tensor(defined_cell(cell_).grad); }

void Tensor::set_grad(const Tensor& grad) const {
  Cell& cell = defined_cell(cell_);
  if (grad.defined()) {
    check(std::ranges::equal(grad.dims(), dims()), ErrorKind::Runtime,
          "assigned grad has data of a different size: {} for a tensor of {}", shown(grad.dims()),
          shown(dims()));
    check(grad.dtype() == dtype(), ErrorKind::Runtime,
          "assigned grad has data of a different type: {} for {}", name_of(grad.dtype()),
          name_of(dtype()));
  }
  cell.grad = grad.cell();
}

bool Tensor::is_parameter() const { return defined_cell(cell_).is_parameter; }
void Tensor::mark_parameter() const { defined_cell(cell_).is_parameter = true; }
int64_t Tensor::version() const { return defined_cell(cell_).root().version; }
bool Tensor::is_view() const { return static_cast<bool>(defined_cell(cell_).view); }
Tensor Tensor::base() const { return is_view() ? Tensor(cell_->view->root) : Tensor(); }

Buffer Tensor::evaluate() const {
  TraceLock lock;
  return tenon::evaluate(defined_cell(cell_));
}

Buffer Tensor::expose() const {
  TraceLock lock;
  Cell& cell = defined_cell(cell_);
  check(!requires_grad(), ErrorKind::Runtime,
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
  Cell& root = cell.root();
  tenon::evaluate(root);
  if (root.segment) {  // inside a transform: the value is the trace's, so a copy goes out
    return copy_storage(tenon::evaluate(cell));
  }
  // Whoever else holds this storage (a residual, a pending operation) must not see it change.
  if (!root.buffer.storage->is_exposed() && !root.buffer.storage->is_unique()) {
    root.buffer = copy_storage(root.buffer);
    root.cached_sequence = 0;
  }
  return tenon::evaluate(cell);
}

namespace {

// Calls visit(element offset) in row-major order.
template <class Visit>
void for_each_offset(const Type& type, int64_t offset, Visit&& visit) {
  if (type.numel == 0) return;
  Dims index(type.rank, 0);
  for (int64_t i = 0; i < type.numel; ++i) {
    visit(offset);
    for (int d = type.rank - 1; d >= 0; --d) {
      offset += type.strides()[d];
      if (++index[d] < type.dims()[d]) break;
      offset -= index[d] * type.strides()[d];
      index[d] = 0;
    }
  }
}

}  // namespace

// Element by element, each in its own layout.
void copy_buffer(const Buffer& from, const Buffer& into) {
  const size_t width = size_of(type_of(from.type).dtype);
  const Type &type = type_of(from.type), &other = type_of(into.type);
  if (!type.device.is_cpu()) {  // only memory of Tenon's own is known outside
    check(is_dense(type) && std::ranges::equal(type.strides(), other.strides()),
          ErrorKind::Internal, "a write to device memory that has another layout");
    copy_bytes(*into.storage, into.offset * width, *from.storage, from.offset * width,
               type.numel * width);
    return;
  }
  const auto* source = static_cast<const std::byte*>(from.storage->data());
  auto* target = static_cast<std::byte*>(into.storage->data());
  std::vector<int64_t> offsets;
  offsets.reserve(type_of(into.type).numel);
  for_each_offset(type_of(into.type), into.offset, [&](int64_t at) { offsets.push_back(at); });
  size_t i = 0;
  for_each_offset(type_of(from.type), from.offset, [&](int64_t at) {
    std::memcpy(target + offsets[i++] * width, source + at * width, width);
  });
}

Buffer copy_storage(const Buffer& from) {
  const Storage& storage = *from.storage;
  Buffer copy{allocate_on(storage.device(), storage.bytes()), from.offset, from.type};
  copy_bytes(*copy.storage, 0, storage, 0, storage.bytes());
  return copy;
}

Buffer make_private(Buffer buffer) {
  return buffer.storage && buffer.storage->is_exposed() ? copy_storage(buffer) : buffer;
}

std::vector<std::byte> Tensor::to_bytes() const {
  if (!device().is_cpu()) return to(detach(*this), kCPU).to_bytes();
  const Buffer buffer = evaluate();
  const Type& type = type_of(buffer.type);
  const size_t width = size_of(type.dtype);
  std::vector<std::byte> bytes(type.numel * width);
  const auto* data = static_cast<const std::byte*>(buffer.storage->data());
  if (type.canonical) {
    if (!bytes.empty()) std::memcpy(bytes.data(), data + buffer.offset * width, bytes.size());
    return bytes;
  }
  size_t next = 0;
  for_each_offset(type, buffer.offset, [&](int64_t at) {
    std::memcpy(bytes.data() + next, data + at * width, width);
    next += width;
  });
  return bytes;
}

namespace {

template <class To>
To read_scalar(const Tensor& x) {
  check(x.numel() == 1, ErrorKind::Runtime,
        "a Tensor with {} elements cannot be converted to Scalar", x.numel());
  const auto bytes = x.to_bytes();
  return visit_dtype(x.dtype(), [&](auto tag) -> To {
    using T = typename decltype(tag)::type;
    T element;
    std::memcpy(&element, bytes.data(), sizeof(T));
    if constexpr (std::is_same_v<T, std::complex<float>> ||
                  std::is_same_v<T, std::complex<double>>) {
      if constexpr (std::is_same_v<To, bool>) return element != T(0);
      return static_cast<To>(element.real());
    } else if constexpr (std::is_same_v<To, bool>) {
      return static_cast<double>(element) != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<To>(element);
    } else {
      return static_cast<To>(static_cast<float>(element));
    }
  });
}

}  // namespace

double Tensor::item_double() const { return read_scalar<double>(*this); }
int64_t Tensor::item_int() const { return read_scalar<int64_t>(*this); }
template <>
double Tensor::item<double>() const {
  return item_double();
}
template <>
float Tensor::item<float>() const {
  return static_cast<float>(item_double());
}
template <>
int64_t Tensor::item<int64_t>() const {
  return item_int();
}
template <>
bool Tensor::item<bool>() const {
  return read_scalar<bool>(*this);
}

void Tensor::set_data(const Tensor& value) const {
  OpScope scope("data");
  Cell& cell = defined_cell(cell_);
  check(!cell.view, ErrorKind::Runtime, "data: assigning the data of a view is not possible");
  const Value v = ops::stop_gradient(scope.use(value));
  cell.type = type_id_of(v);
  const auto version = cell.version;
  rebind(cell, v);
  cell.version = version;
}

Tensor from_buffer(Buffer buffer) {
  auto cell = make_ref<Cell>();
  cell->type = buffer.type;
  cell->buffer = std::move(buffer);
  return Tensor(std::move(cell));
}

Tensor from_bytes(DType dtype, std::span<const int64_t> dims, std::span<const std::byte> bytes) {
  const TypeId type = intern_contiguous(dtype, Device{}, dims);
  check(bytes.size() == static_cast<size_t>(dense_bytes(type_of(type))), ErrorKind::Value,
        "{} bytes for a tensor of {} {}", bytes.size(), name_of(dtype), shown(dims));
  Buffer buffer{allocate(bytes.size()), 0, type};
  if (!bytes.empty()) std::memcpy(buffer.storage->data(), bytes.data(), bytes.size());
  return from_buffer(std::move(buffer));
}

CustomDerivative::CustomDerivative() = default;
CustomDerivative::~CustomDerivative() = default;

void GradientHooks::add(int64_t number, Function function) {
  functions.emplace_back(number, std::move(function));
}
void GradientHooks::remove(int64_t number) {
  std::erase_if(functions, [&](const auto& entry) { return entry.first == number; });
}

// Scopes -----------------------------------------------------------------------------------------

Device default_device() { return recorder().default_device; }
void set_default_device(Device device) {
  note_device(device);
  recorder().default_device = device;
}

const char* current_operation() { return recorder().operation; }

OpScope::OpScope(const char* name) {
  Recorder& r = recorder();
  outer_name_ = std::exchange(r.operation, name);
  outer_device_ = r.device;
  was_device_known_ = r.is_device_known;
  if (r.scopes++ == 0) {
    r.origin = current_origin();
    r.touched_exposed = r.sync_errors && r.transforms == 0;
    r.device = r.default_device;
    r.is_device_known = false;
  }
}

OpScope::~OpScope() noexcept(false) {
  Recorder& r = recorder();
  r.operation = outer_name_;
  r.device = outer_device_;
  r.is_device_known = was_device_known_;
  if (--r.scopes > 0) return;
  if (!complete_ && std::uncaught_exceptions() > 0) {
    r.homes.clear();
    return;
  }
  if (r.touched_exposed) {
    r.touched_exposed = false;
    try {
      seal_and_run(r);
      bring_home(r);
    } catch (...) {  // the memory is as it was, and so is what names it
      for (auto& [root, home] : std::exchange(r.homes, {})) {
        if (root->segment) Segment::unbind(*root);
        root->buffer = home;
        root->cached_sequence = 0;
      }
      throw;
    }
  } else {
    cut_if_large(r);
  }
}

Value OpScope::use(const Tensor& operand) {
  Cell& cell = defined_cell(operand.cell());
  if (uses_devices()) [[unlikely]] {  // what the operation makes is made where its operands are
    const Type& type = type_of(cell.type);
    if (type.rank > 0 || !type.device.is_cpu() || !recorder().is_device_known) {
      DeviceScope::move_to(type.device);
    }
  }
  return resolve(cell);
}
void OpScope::on(std::optional<Device> device) {
  if (device) DeviceScope::move_to(*device);
}
Tensor OpScope::result(Value value) {
  Tensor tensor(make_cell(value));
  complete_ = true;
  return tensor;
}

void flush() {
  TraceLock lock;
  seal_and_run(recorder());
}

// Modes ------------------------------------------------------------------------------------------

bool is_grad_enabled() {
  const Recorder& r = recorder();
  return !(r.blocked & reverse_bit(r.depth));
}

bool set_sync_errors(bool enabled) { return std::exchange(recorder().sync_errors, enabled); }

bool set_grad_enabled(bool enabled) {
  Recorder& r = recorder();
  const bool was = is_grad_enabled();
  const auto up_to_here = static_cast<uint16_t>((2u << r.depth) - 1);
  r.blocked = enabled ? r.blocked & ~up_to_here : r.blocked | up_to_here;
  return was;
}

GradMode::GradMode(bool enabled) : saved_(recorder().blocked) { set_grad_enabled(enabled); }
GradMode::~GradMode() { recorder().blocked = saved_; }

Generator& default_generator() {
  static Generator generator;
  return generator;
}
void manual_seed(uint64_t seed) {
  TraceLock lock;
  default_generator() = {seed, 0};
}
Value random_bits(std::span<const int64_t> dims) {
  Generator& generator = default_generator();
  return ops::random_bits(dims, static_cast<int64_t>(generator.seed),
                          static_cast<int64_t>(generator.calls++));
}

}  // namespace tenon
