// Tensors that share memory with other libraries: DLPack, both ways.
//
// The structures are those of DLPack 1.0 (https://dmlc.github.io/dlpack/latest/c_api.html). A
// capsule named "dltensor" or "dltensor_versioned" owns what it names; whoever takes it over
// renames it to "used_...", so that it can't be taken twice.
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/shape.h"
#include "python/arguments.h"
#include "python/deferred_release.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  struct {
    uint32_t major, minor;
  } version;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};

enum DeviceType : int32_t { kCpu = 1, kCudaHost = 3 };
enum TypeCode : uint8_t {
  kInt = 0,
  kUInt = 1,
  kFloat = 2,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6,
  kFloat8_e4m3fn = 10,  // since DLPack 1.1
  kFloat8_e4m3fnuz = 11,
  kFloat8_e5m2 = 12,
  kFloat8_e5m2fnuz = 13,
  kFloat8_e8m0fnu = 14,
};
constexpr uint64_t kReadOnly = 1, kIsCopied = 2;

[[noreturn]] void raise_buffer_error(const std::string& text) {
  PyErr_SetString(PyExc_BufferError, text.c_str());
  throw PythonError{};
}

TypeCode code_of(DType dtype) {
  switch (dtype) {
    case DType::Bool:
      return kBool;
    case DType::BFloat16:
      return kBfloat;
    case DType::Float8_e4m3fn:
      return kFloat8_e4m3fn;
    case DType::Float8_e5m2:
      return kFloat8_e5m2;
    case DType::Float8_e4m3fnuz:
      return kFloat8_e4m3fnuz;
    case DType::Float8_e5m2fnuz:
      return kFloat8_e5m2fnuz;
    case DType::Float8_e8m0fnu:
      return kFloat8_e8m0fnu;
    default:
      return is_complex(dtype)    ? kComplex
             : is_floating(dtype) ? kFloat
             : is_signed(dtype)   ? kInt
                                  : kUInt;
  }
}

DLDataType type_to_dlpack(DType dtype) {
  return {code_of(dtype), static_cast<uint8_t>(8 * size_of(dtype)), 1};
}

DType type_from_dlpack(DLDataType type) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const DLDataType known = type_to_dlpack(dtype);
    if (known.code == type.code && known.bits == type.bits && type.lanes == 1) return dtype;
  }
  raise_buffer_error(
      fmt::format("from_dlpack(): no dtype for DLPack's type code {} with {} bits and {} lanes",
                  type.code, type.bits, type.lanes));
}

// ---- out ----------------------------------------------------------------------------------------

template <class Managed>
constexpr const char* kName = "dltensor";
template <>
constexpr const char* kName<DLManagedTensorVersioned> = "dltensor_versioned";
template <class Managed>
constexpr const char* kUsedName = "used_dltensor";
template <>
constexpr const char* kUsedName<DLManagedTensorVersioned> = "used_dltensor_versioned";

// What a capsule of ours owns.
template <class Managed>
struct Export {
  Managed managed{};
  Ref<Storage> storage;
  std::vector<int64_t> shape, strides;
};

template <class Managed>
void destroy_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, kName<Managed>) == 0) return;  // somebody took it over
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, kName<Managed>));
  if (managed->deleter != nullptr) managed->deleter(managed);
}

template <class Managed>
PyObject* make_capsule(const Buffer& buffer, bool is_copied) {
  const Type& type = type_of(buffer.type);
  auto owned = std::make_unique<Export<Managed>>();
  owned->storage = buffer.storage;
  owned->shape.assign(type.dims().begin(), type.dims().end());
  owned->strides.assign(type.strides().begin(), type.strides().end());
  Managed& managed = owned->managed;
  DLTensor& tensor = managed.tensor;
  tensor.data =
      buffer.storage->as<std::byte>() + buffer.offset * static_cast<int64_t>(size_of(type.dtype));
  tensor.device = {kCpu, 0};
  tensor.ndim = type.rank;
  tensor.dtype = type_to_dlpack(type.dtype);
  tensor.shape = owned->shape.data();
  tensor.strides = owned->strides.data();
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    managed.version = {1, 0};
    managed.flags = (buffer.storage->read_only() ? kReadOnly : 0) | (is_copied ? kIsCopied : 0);
  }
  managed.context = owned.get();
  managed.deleter = [](Managed* self) {  // on any thread
    auto* lent = static_cast<Export<Managed>*>(self->context);
    lent->storage->exposures.fetch_sub(1, std::memory_order_release);
    delete lent;
  };
  PyObject* capsule = checked(PyCapsule_New(&managed, kName<Managed>, destroy_capsule<Managed>));
  owned->storage->exposures.fetch_add(1, std::memory_order_release);
  (void)owned.release();
  return capsule;
}

// _to_dlpack(tensor, versioned, copied)
PyObject* to_dlpack(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* object = nullptr;
    int is_versioned = 0, is_copied = 0;
    if (PyArg_ParseTuple(args, "Opp", &object, &is_versioned, &is_copied) == 0) {
      throw PythonError{};
    }
    if (!is_tensor(object)) raise_type_error("expected a Tensor");
    const Buffer buffer = to_tensor(object).expose();
    if (is_versioned != 0) return make_capsule<DLManagedTensorVersioned>(buffer, is_copied != 0);
    if (buffer.storage->read_only()) {
      raise_buffer_error(
          "Can't export read-only memory by a DLPack capsule without a version, which cannot say "
          "so; pass max_version=(1, 0), or clone the tensor");
    }
    return make_capsule<DLManagedTensor>(buffer, is_copied != 0);
  });
}

// ---- in -----------------------------------------------------------------------------------------

template <class Managed>
void give_back(void* managed) {
  auto* lent = static_cast<Managed*>(managed);
  if (lent->deleter != nullptr) lent->deleter(lent);
}

// The memory that a tensor names, as a type and bytes. BufferError for what can't be shared.
struct Shared {
  TypeId type;
  std::byte* data;
  size_t bytes;
};

Shared shared(const DLTensor& from) {
  if (from.device.type != kCpu && from.device.type != kCudaHost) {
    raise_buffer_error(
        fmt::format("from_dlpack(): the tensor lies on a device of DLPack's type {} (number {}); "
                    "copy it to the CPU first",
                    from.device.type, from.device.id));
  }
  const DType dtype = type_from_dlpack(from.dtype);
  auto* data = static_cast<std::byte*>(from.data) + from.byte_offset;
  const size_t alignment = is_complex(dtype) ? size_of(dtype) / 2 : size_of(dtype);
  if (reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    raise_buffer_error(fmt::format("from_dlpack(): memory is not aligned for {}", name_of(dtype)));
  }
  if (from.ndim < 0 || from.ndim > kMaxRank) {
    raise_buffer_error(fmt::format("from_dlpack(): {} dimensions", from.ndim));
  }
  Dims dims, strides(from.ndim, 1);
  for (int i = 0; i < from.ndim; ++i) dims.push_back(from.shape[i]);
  int64_t last = 0, dense = 1;
  for (int i = from.ndim; i-- > 0;) {
    strides[i] = from.strides != nullptr ? from.strides[i] : dense;
    if (dims[i] < 0 || strides[i] < 0) {
      raise_buffer_error("from_dlpack(): negative sizes and strides are not supported");
    }
    dense *= std::max<int64_t>(dims[i], 1);
    last += (dims[i] - 1) * strides[i];
  }
  const auto width = static_cast<int64_t>(size_of(dtype));
  const size_t bytes = checked_numel(dims) == 0 ? 0 : static_cast<size_t>((last + 1) * width);
  return {intern(dtype, kCPU, dims, strides), data, bytes};
}

template <class Managed>
PyObject* take_over(PyObject* capsule) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, kName<Managed>));
  if (managed == nullptr) throw PythonError{};
  bool read_only = false;
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    if (managed->version.major > 1) {
      raise_buffer_error(fmt::format("from_dlpack(): DLPack {}.{} is newer than 1, which is known",
                                     managed->version.major, managed->version.minor));
    }
    read_only = (managed->flags & kReadOnly) != 0;
  }
  const Shared memory = shared(managed->tensor);
  release_deferred();
  // From here on the storage gives it back, and the capsule doesn't.
  const Lent lent{give_back<Managed>, managed};
  Ref<Storage> storage =
      Storage::wrap(memory.data, memory.bytes, kCPU, [lent] { release_later(lent); }, read_only);
  PyCapsule_SetName(capsule, kUsedName<Managed>);
  PyCapsule_SetDestructor(capsule, nullptr);
  storage->exposures.fetch_add(1, std::memory_order_release);  // its owner may write at any time
  return wrap(from_buffer(Buffer{std::move(storage), 0, memory.type}));
}

PyObject* from_dlpack(PyObject*, PyObject* capsule) {
  return guarded([&]() -> PyObject* {
    if (PyCapsule_IsValid(capsule, kName<DLManagedTensorVersioned>) != 0) {
      return take_over<DLManagedTensorVersioned>(capsule);
    }
    if (PyCapsule_IsValid(capsule, kName<DLManagedTensor>) != 0) {
      return take_over<DLManagedTensor>(capsule);
    }
    if (PyCapsule_CheckExact(capsule) == 0) {
      raise_type_error("from_dlpack(): expected an object with __dlpack__, got %s",
                       Py_TYPE(capsule)->tp_name);
    }
    const char* name = PyCapsule_GetName(capsule);
    raise_buffer_error(fmt::format(
        "from_dlpack(): the capsule is named '{}', not 'dltensor' or 'dltensor_versioned': a "
        "capsule can be taken over only once",
        name != nullptr ? name : ""));
  });
}

}  // namespace

PyMethodDef dlpack_functions[] = {
    {"_to_dlpack", to_dlpack, METH_VARARGS, "A DLPack capsule that shares the tensor's memory."},
    {"_from_dlpack", from_dlpack, METH_O, "A tensor that shares what a DLPack capsule names."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace tenon::python
