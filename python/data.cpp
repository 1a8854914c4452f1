// Between tensors and Python's data: numbers, nested lists, NumPy arrays.
#include <cstring>
#include <string>

#include "core/allocator.h"
#include "core/error.h"
#include "core/half.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "python/arguments.h"
#include "python/deferred_release.h"
#include "python/docstrings.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

// ---- out: elements as Python numbers
// ------------------------------------------------------------------

template <class T>
PyObject* number(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return PyBool_FromLong(value);
  } else if constexpr (std::is_integral_v<T>) {
    return std::is_signed_v<T> ? PyLong_FromLongLong(static_cast<int64_t>(value))
                               : PyLong_FromUnsignedLongLong(static_cast<uint64_t>(value));
  } else if constexpr (std::is_same_v<T, std::complex<float>> ||
                       std::is_same_v<T, std::complex<double>>) {
    return PyComplex_FromDoubles(value.real(), value.imag());
  } else if constexpr (std::is_floating_point_v<T>) {
    return PyFloat_FromDouble(static_cast<double>(value));
  } else {
    return PyFloat_FromDouble(static_cast<double>(static_cast<float>(value)));
  }
}

PyObject* element(const std::byte* at, DType dtype) {
  return visit_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value;
    std::memcpy(&value, at, sizeof(T));
    return checked(number(value));
  });
}

PyObject* nested(const std::byte*& at, std::span<const int64_t> dims, DType dtype) {
  if (dims.empty()) {
    PyObject* result = element(at, dtype);
    at += size_of(dtype);
    return result;
  }
  PyObject* list = checked(PyList_New(dims[0]));
  for (int64_t i = 0; i < dims[0]; ++i) {
    PyList_SET_ITEM(list, i, nested(at, dims.subspan(1), dtype));
  }
  return list;
}

// ---- in: nested sequences
// ---------------------------------------------------------------------------------

struct Shape {
  Dims dims;
  DType dtype = DType::Float32;
  bool any = false;  // whether dtype has been seen
};

void meet(Shape& shape, DType dtype) {
  shape.dtype = shape.any ? promote(shape.dtype, dtype) : dtype;
  shape.any = true;
}

bool is_list(PyObject* object) { return PyList_Check(object) || PyTuple_Check(object); }

bool is_array(PyObject* object) {
  return !is_tensor(object) && !PyType_Check(object) &&
         PyObject_HasAttrString(object, "__array_interface__");
}

// Walks the first element of each level for the extents, all leaves for the dtype.
void measure(PyObject* data, Shape& shape, size_t depth) {
  if (is_list(data)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(data);
    if (shape.dims.size() == depth) {
      shape.dims.push_back(count);
    } else {
      check(shape.dims[depth] == count, ErrorKind::Value,
            "expected sequence of length {} at dim {} (got {})", shape.dims[depth], depth, count);
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* item = PySequence_Fast_ITEMS(data)[i];
      check(!(is_list(item) && i > 0 && shape.dims.size() == depth + 1), ErrorKind::Value,
            "expected numbers at dim {}, found a sequence", depth + 1);
      check(is_list(item) || shape.dims.size() == depth + 1, ErrorKind::Value,
            "expected a sequence at dim {}, found {}", depth + 1, Py_TYPE(item)->tp_name);
      measure(item, shape, depth + 1);
    }
    return;
  }
  if (is_tensor(data)) {
    const Tensor& x = to_tensor(data);
    check(x.numel() == 1, ErrorKind::Value,
          "only one element tensors can be converted to Python scalars");
    meet(shape, x.dtype());
  } else if (is_number(data)) {
    const bool is_numpy = std::strncmp(Py_TYPE(data)->tp_name, "numpy.", 6) == 0;
    const char* name = Py_TYPE(data)->tp_name + (is_numpy ? 6 : 0);
    const auto dtype = is_numpy ? dtype_from_name(name) : std::nullopt;
    meet(shape, dtype ? *dtype : to_scalar(data).dtype());
  } else {
    raise_type_error("new(): invalid data type '%s'", Py_TYPE(data)->tp_name);
  }
}

void store(PyObject* data, std::byte*& at, DType dtype) {
  if (is_list(data)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(data);
    for (Py_ssize_t i = 0; i < count; ++i) store(PySequence_Fast_ITEMS(data)[i], at, dtype);
    return;
  }
  if (dtype == DType::UInt64 && PyLong_Check(data)) {
    const uint64_t value = PyLong_AsUnsignedLongLong(data);
    if (PyErr_Occurred()) throw PythonError{};
    std::memcpy(at, &value, sizeof value);
    at += sizeof value;
    return;
  }
  const Scalar scalar = to_scalar(data);
  visit_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value;
    if constexpr (std::is_same_v<T, bool>) {
      value = scalar.to_bool();
    } else if constexpr (std::is_integral_v<T>) {
      const int64_t whole = scalar.to_int();
      value = static_cast<T>(whole);
      check(static_cast<int64_t>(value) == whole || !scalar.is_integral(), ErrorKind::Runtime,
            "value cannot be converted to type {} without overflow", name_of(dtype));
    } else if constexpr (std::is_same_v<T, std::complex<float>> ||
                         std::is_same_v<T, std::complex<double>>) {
      value = T(scalar.to_complex());
    } else {
      value = T(static_cast<std::conditional_t<std::is_same_v<T, double>, double, float>>(
          scalar.to_double()));
    }
    std::memcpy(at, &value, sizeof(T));
  });
  at += size_of(dtype);
}

// ---- NumPy
// --------------------------------------------------------------------------------------------------

struct Attribute {  // an owned attribute of an object
  PyObject* object;
  Attribute(PyObject* of, const char* name) : object(checked(PyObject_GetAttrString(of, name))) {}
  Attribute(const Attribute&) = delete;
  ~Attribute() { Py_DECREF(object); }
  std::string text() const {
    PyObject* string = checked(PyObject_Str(object));
    std::string result(to_str(string));
    Py_DECREF(string);
    return result;
  }
};

DType dtype_of_array(PyObject* array) {
  const Attribute dtype(array, "dtype");
  const Attribute name(dtype.object, "name");
  const std::string text = name.text();
  const auto known = dtype_from_name(text);
  if (!known) {
    raise_type_error(
        "can't convert np.ndarray of type numpy.%s. The only supported types are: float64, "
        "float32, "
        "float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, "
        "and bool.",
        text.c_str());
  }
  const Attribute native(dtype.object, "isnative");
  check(native.object == Py_True, ErrorKind::Value,
        "given numpy array has byte order different from the native byte order. Conversion between "
        "byte orders is currently not supported.");
  return *known;
}

// Shares the array's memory.
Tensor share_array(PyObject* array) {
  release_deferred();
  const DType dtype = dtype_of_array(array);
  auto* view = new Py_buffer;
  const Attribute flags(array, "flags");
  const Attribute writeable(flags.object, "writeable");
  const bool read_only = writeable.object != Py_True;
  if (PyObject_GetBuffer(array, view, PyBUF_STRIDES | (read_only ? 0 : PyBUF_WRITABLE)) != 0) {
    delete view;
    throw PythonError{};
  }
  const auto release = [view] { release_later(view); };
  Ref<Storage> storage;
  Dims dims, strides;
  const auto width = static_cast<int64_t>(size_of(dtype));
  int64_t last = 0;
  try {
    for (int i = 0; i < view->ndim; ++i) {
      dims.push_back(view->shape[i]);
      check(view->strides[i] >= 0, ErrorKind::Value,
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array with array.copy().)");
      check(
          view->strides[i] % width == 0, ErrorKind::Value,
          "given numpy array strides not a multiple of the element byte size. Copy the numpy array "
          "to reallocate the memory.");
      strides.push_back(view->strides[i] / width);
      last += (view->shape[i] - 1) * strides.back();
    }
    const size_t bytes = view->len == 0 ? 0 : static_cast<size_t>(last + 1) * width;
    storage = Storage::wrap(view->buf, bytes, kCPU, release, read_only);
  } catch (...) {
    release();
    throw;
  }
  storage->exposures.fetch_add(1, std::memory_order_release);  // NumPy may write at any time
  return from_buffer(Buffer{std::move(storage), 0, intern(dtype, kCPU, dims, strides)});
}

Tensor copy_array(PyObject* array, std::optional<DType> dtype) {
  // NumPy makes the elements row-major and native; the bytes are then taken as they are.
  PyObject* numpy = checked(PyImport_ImportModule("numpy"));
  const DType from = [&] {
    try {
      return dtype_of_array(array);
    } catch (const Error&) {  // another byte order: converted below
      const Attribute type(array, "dtype");
      const Attribute name(type.object, "name");
      return dtype_from_name(name.text()).value_or(DType::Float64);
    }
  }();
  PyObject* plain = PyObject_CallMethod(numpy, "ascontiguousarray", "Os", array,
                                        std::string(name_of(from)).c_str());
  Py_DECREF(numpy);
  checked(plain);
  Py_buffer view;
  if (PyObject_GetBuffer(plain, &view, PyBUF_C_CONTIGUOUS) != 0) {
    Py_DECREF(plain);
    throw PythonError{};
  }
  const Attribute shape(array, "shape");  // ascontiguousarray makes 0-d arrays 1-d
  const IntList dims = to_ints(shape.object);
  Tensor x = from_bytes(from, dims,
                        {static_cast<const std::byte*>(view.buf), static_cast<size_t>(view.len)});
  PyBuffer_Release(&view);
  Py_DECREF(plain);
  if (!dtype || *dtype == from) return x;
  OpScope scope("tensor");
  return scope.result(ops::cast(scope.use(x), *dtype));
}

// ---- the exposed storage as a buffer
// ------------------------------------------------------------------------

struct StorageView {
  PyObject_HEAD Storage* storage;  // one reference
};

int storage_view_buffer(PyObject* self, Py_buffer* view, int flags) {
  auto* storage = reinterpret_cast<StorageView*>(self)->storage;
  return PyBuffer_FillInfo(view, self, storage->data(), static_cast<Py_ssize_t>(storage->bytes()),
                           storage->read_only(), flags);
}

void storage_view_dealloc(PyObject* self) {
  auto* view = reinterpret_cast<StorageView*>(self);
  PyTypeObject* type = Py_TYPE(self);
  view->storage->exposures.fetch_sub(1, std::memory_order_release);
  Ref<Storage>::adopt(view->storage);
  type->tp_free(self);
  Py_DECREF(type);
}

PyTypeObject* storage_view_type() {
  static PyType_Slot slots[] = {
      {Py_tp_dealloc, reinterpret_cast<void*>(storage_view_dealloc)},
      {Py_bf_getbuffer, reinterpret_cast<void*>(storage_view_buffer)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"tenon._StorageView", sizeof(StorageView), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  static auto* type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  return type;
}

// (buffer, dtype name, shape, strides in bytes, offset in bytes): what numpy.ndarray wants.
PyObject* expose(PyObject*, PyObject* object) {
  return guarded([&]() -> PyObject* {
    if (!is_tensor(object)) raise_type_error("expected a Tensor");
    const Tensor& x = to_tensor(object);
    check(x.dtype() != DType::BFloat16 && !is_float8(x.dtype()), ErrorKind::Type,
          "Got unsupported ScalarType {}", name_of(x.dtype()));
    check(x.device().is_cpu(), ErrorKind::Type,
          "can't convert {} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
          "host memory first.",
          to_string(x.device()));
    const Buffer buffer = x.expose();
    const Type& type = type_of(buffer.type);
    const auto width = static_cast<int64_t>(size_of(type.dtype));
    auto* view = reinterpret_cast<StorageView*>(
        checked(storage_view_type()->tp_alloc(storage_view_type(), 0)));
    view->storage = Ref<Storage>(buffer.storage).detach();
    view->storage->exposures.fetch_add(1, std::memory_order_release);
    PyObject* shape = PyTuple_New(type.rank);
    PyObject* strides = PyTuple_New(type.rank);
    for (int i = 0; i < type.rank; ++i) {
      PyTuple_SET_ITEM(shape, i, PyLong_FromLongLong(type.dims()[i]));
      PyTuple_SET_ITEM(strides, i, PyLong_FromLongLong(type.strides()[i] * width));
    }
    return Py_BuildValue("NsNNL", reinterpret_cast<PyObject*>(view),
                         std::string(name_of(type.dtype)).c_str(), shape, strides,
                         static_cast<long long>(buffer.offset * width));
  });
}

PyObject* from_numpy(PyObject*, PyObject* array) {
  return guarded([&]() -> PyObject* {
    if (!is_array(array)) {
      raise_type_error("expected np.ndarray (got %s)", Py_TYPE(array)->tp_name);
    }
    return wrap(share_array(array));
  });
}

PyObject* make_tensor(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guarded([&]() -> PyObject* {
    static const Overloads overloads{
        {{"tensor",
          "tensor(data, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = "
          "False, pin_memory = False) -> Tensor",
          {{"data", "", Kind::Ignored, kRequired},
           {"dtype", "", Kind::DType, kOptional},
           {"device", "", Kind::Device, kOptional},
           {"requires_grad", "", Kind::Bool, 0},
           {"pin_memory", "", Kind::Ignored, 0}}}}};
    PyObject* slots[kMostParameters];
    Holder holder;
    overloads.bind(nullptr, args, nargs, names, slots, holder);
    const Device device = optional(slots[2], to_device).value_or(default_device());
    const Tensor x = to(tensor_from_data(slots[0], optional(slots[1], to_dtype)), device);
    if (slots[3] != nullptr && to_bool(slots[3])) x.set_requires_grad(true);
    return wrap(x);
  });
}

// as_tensor: shares what can be shared.
PyObject* as_tensor(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guarded([&]() -> PyObject* {
    static const Overloads overloads{
        {{"as_tensor",
          "as_tensor(data, dtype: dtype? = None, device: device? = None) -> Tensor",
          {{"data", "", Kind::Ignored, kRequired},
           {"dtype", "", Kind::DType, kOptional},
           {"device", "", Kind::Device, kOptional}}}}};
    PyObject* slots[kMostParameters];
    Holder holder;
    overloads.bind(nullptr, args, nargs, names, slots, holder);
    const auto device = optional(slots[2], to_device);
    const auto dtype = optional(slots[1], to_dtype);
    if (is_tensor(slots[0])) {
      const Tensor& x = to_tensor(slots[0]);
      const Device target = device.value_or(x.device());
      if (dtype.value_or(x.dtype()) == x.dtype() && target == x.device()) {
        return Py_NewRef(slots[0]);
      }
      OpScope scope("as_tensor");
      const Value value = ops::cast(scope.use(x), dtype.value_or(x.dtype()));
      return wrap(scope.result(ops::to_device(value, target)));
    }
    const Device target = device.value_or(default_device());
    if (is_array(slots[0]) && (!dtype || *dtype == dtype_of_array(slots[0]))) {
      return wrap(to(share_array(slots[0]), target));
    }
    return wrap(to(tensor_from_data(slots[0], dtype), target));
  });
}

template <class Function>
PyCFunction as_function(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

PyObject* to_list(const Tensor& tensor) {
  const std::vector<std::byte> bytes = tensor.to_bytes();
  const std::byte* at = bytes.data();
  return nested(at, tensor.dims(), tensor.dtype());
}

PyObject* to_python_number(const Tensor& tensor) {
  check(tensor.numel() == 1, ErrorKind::Runtime,
        "a Tensor with {} elements cannot be converted to Scalar", tensor.numel());
  return element(tensor.to_bytes().data(), tensor.dtype());
}

Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype) {
  if (is_tensor(data)) {
    GradMode no_grad(false);
    OpScope scope("tensor");
    const Tensor& x = to_tensor(data);
    const Value value = ops::cast(scope.use(x), dtype.value_or(x.dtype()));
    return scope.result(ops::stop_gradient(value));
  }
  if (is_array(data) && !is_list(data)) return copy_array(data, dtype);
  Shape shape;
  measure(data, shape, 0);
  if (!shape.any) shape.dtype = default_dtype();
  const DType type = dtype.value_or(shape.dtype);
  const int64_t numel = checked_numel(shape.dims);
  std::vector<std::byte> bytes(static_cast<size_t>(numel) * size_of(type));
  std::byte* at = bytes.data();
  store(data, at, type);
  return from_bytes(type, shape.dims, bytes);
}

Tensor tensor_from_operand(PyObject* data, const Tensor& like) {
  if (is_tensor(data)) return to_tensor(data);
  if (is_number(data)) return full(IntList{}, to_scalar(data), like.dtype());
  return to(tensor_from_data(data, like.dtype()), like.device());
}

PyMethodDef conversion_functions[] = {
    {"tensor", as_function(make_tensor), METH_FASTCALL | METH_KEYWORDS, docs::kTensor},
    {"as_tensor", as_function(as_tensor), METH_FASTCALL | METH_KEYWORDS, docs::kAsTensor},
    {"from_numpy", from_numpy, METH_O, docs::kFromNumpy},
    {"_expose", expose, METH_O, "What numpy.ndarray needs to share a tensor's memory."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace tenon::python
