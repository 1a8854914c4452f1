// Tensor: the user's handle, and OpScope, inside which public operations record.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/ref.h"
#include "core/types.h"
#include "trace/ops/types.h"
#include "trace/program.h"
#include "trace/value.h"

namespace tenon {

struct Cell;

class Tensor {
 public:
  Tensor();
  explicit Tensor(Ref<Cell> cell);
  Tensor(const Tensor&);
  Tensor(Tensor&&) noexcept;
  Tensor& operator=(const Tensor&);
  Tensor& operator=(Tensor&&) noexcept;
  ~Tensor();

  bool defined() const { return static_cast<bool>(cell_); }
  explicit operator bool() const = delete;

  const Type& type() const;
  TypeId type_id() const;
  DType dtype() const { return type().dtype; }
  Device device() const { return type().device; }
  std::span<const int64_t> dims() const { return type().dims(); }
  std::span<const int64_t> strides() const { return type().strides(); }
  int rank() const { return type().rank; }
  int64_t numel() const { return type().numel; }
  int64_t size(int64_t dim) const;  // negative counts from the end
  bool is_contiguous() const { return type().contiguous; }
  int64_t storage_offset() const;

  bool requires_grad() const;
  bool is_leaf() const;
  void set_requires_grad(bool on) const;
  void retain_grad() const;
  Tensor grad() const;  // undefined when there is none
  void set_grad(const Tensor& grad) const;
  bool is_parameter() const;
  void mark_parameter() const;
  int64_t version() const;
  bool is_view() const;
  Tensor base() const;  // the root of a view; undefined otherwise

  // Runs what is pending and returns where the value lies. A view's buffer shares its root's.
  Buffer evaluate() const;
  // As evaluate, and the storage is known outside from now on: operations that touch it are
  // complete when their call returns. The caller holds `storage->exposures` while it uses it.
  Buffer expose() const;
  // A copy of the elements on the host, in row-major order.
  std::vector<std::byte> to_bytes() const;
  template <class T>
  T item() const;  // of a one-element tensor, converted
  double item_double() const;
  int64_t item_int() const;

  // `p.data = value`: the same cell, another value; derivatives don't see it.
  void set_data(const Tensor& value) const;

  const Ref<Cell>& cell() const { return cell_; }
  bool same(const Tensor& other) const { return cell_.get() == other.cell_.get(); }

  // Generated: the methods of the public operations.
#if __has_include("generated/tensor_methods.inc")
#include "generated/tensor_methods.inc"
#endif

 private:
  Ref<Cell> cell_;
};

// Concrete tensors.
Tensor from_buffer(Buffer buffer);  // takes the buffer as the tensor's value
Tensor from_bytes(DType dtype, std::span<const int64_t> dims, std::span<const std::byte> bytes);

// A view of `base` through one movement, with PyTorch's strides. `Reshape` fails unless the
// strides allow it (see can_view); Slice wants starts and steps in sizes and `dims` for extents.
Tensor make_view(const Tensor& base, Op op, std::span<const int64_t> axes,
                 std::span<const int64_t> sizes, std::span<const int64_t> dims);
bool can_view(const Type& type, std::span<const int64_t> dims);
// The sizes of a view by Gather: element i is the base's, in row-major order, at
// first + sum i[d] steps[d], and lies in memory at that offset and those strides from the base's.
Dims strided_sizes(int64_t first, std::span<const int64_t> steps, int64_t offset,
                   std::span<const int64_t> strides);
Tensor detach(const Tensor& x);
Tensor to(const Tensor& x, Device device);  // x itself where it is there

// Takes the lock that guards all traces (see trace/recorder.h); nests.
class TraceLock {
 public:
  TraceLock();
  ~TraceLock();
  TraceLock(const TraceLock&) = delete;
};

// One public operation. Operations nest: only the outermost scope may cut the trace on exit.
class OpScope : TraceLock {
 public:
  explicit OpScope(const char* name);
  ~OpScope() noexcept(false);
  OpScope(const OpScope&) = delete;

  Value use(const Tensor& operand);
  // What the operation makes out of nothing it makes there: by default where its operands are.
  void on(std::optional<Device> device);
  Tensor result(Value value);
  // In-place: `target` (a view writes through to its base) takes this value, cast to its dtype and
  // broadcast to its extents. Returns target.
  const Tensor& write(const Tensor& target, Value value);

 private:
  const char* outer_name_;
  Device outer_device_;
  bool was_device_known_;
  bool complete_ = false;  // gave a result, so no exception is on its way
};
const char* current_operation();  // name of the innermost scope, for error messages

// Runs the calling thread's pending operations; `evaluate` of one tensor does the same.
void flush();

// Modes.
bool is_grad_enabled();
class GradMode {  // no_grad / enable_grad for a scope
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;

 private:
  uint16_t saved_;
};
bool set_grad_enabled(bool enabled);  // returns what was
// Whether each operation of this thread runs before its call returns (outside transforms), so that
// what can fail only on data raises there. Returns what was.
bool set_sync_errors(bool enabled);

// Where this thread makes tensors when nothing says where.
Device default_device();
void set_default_device(Device device);

// Random numbers: counter-based, so a draw is (seed, call number, element).
struct Generator {
  uint64_t seed = 0x853c49e6748fea9b;
  uint64_t calls = 0;
};
Generator& default_generator();
void manual_seed(uint64_t seed);
Value random_bits(std::span<const int64_t> dims);  // the default generator's next call

// Readable SSA text of what is pending on this thread.
std::string pending_trace();

}  // namespace tenon
