// dtype, device and Generator objects.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/variant.h>

#include <atomic>
#include <map>
#include <vector>

#include "core/error.h"
#include "jit/cuda/runtime.h"
#include "python/arguments.h"
#include "python/docstrings.h"
#include "python/tensor_type.h"
#include "trace/tensor.h"

namespace nb = nanobind;

namespace tenon::python {
namespace {

struct DTypeObject {
  DType dtype;
};

PyObject* dtype_objects[kDTypeCount];
PyTypeObject* dtype_type = nullptr;
PyTypeObject* device_type = nullptr;
PyTypeObject* generator_type = nullptr;

std::string dtype_repr(const DTypeObject& self) {
  return "tenon." + std::string(name_of(self.dtype));
}

double finfo_max(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return 65504.0;
    case DType::BFloat16:
      return 0x1.FEp127;
    case DType::Float32:
      return std::numeric_limits<float>::max();
    case DType::Float8_e4m3fn:
      return 448.0;
    case DType::Float8_e4m3fnuz:
      return 240.0;
    case DType::Float8_e5m2:
    case DType::Float8_e5m2fnuz:
      return 57344.0;
    case DType::Float8_e8m0fnu:
      return 0x1p127;
    default:
      return std::numeric_limits<double>::max();
  }
}

void add_dtypes(nb::module_& m) {
  auto type = nb::class_<DTypeObject>(m, "dtype", docs::kDtypeType);
  type.def("__repr__", dtype_repr)
      .def("__str__", dtype_repr)
      .def("__reduce__", [](const DTypeObject& self) { return std::string(name_of(self.dtype)); })
      .def_prop_ro("name", [](const DTypeObject& self) { return std::string(name_of(self.dtype)); })
      .def_prop_ro("itemsize", [](const DTypeObject& self) { return size_of(self.dtype); })
      .def_prop_ro("is_floating_point",
                   [](const DTypeObject& self) { return is_floating(self.dtype); })
      .def_prop_ro("is_complex", [](const DTypeObject& self) { return is_complex(self.dtype); })
      .def("to_complex",
           [](const DTypeObject& self) {
             return nb::borrow(dtype_object(complex_dtype(self.dtype)));
           })
      .def("to_real",
           [](const DTypeObject& self) { return nb::borrow(dtype_object(real_dtype(self.dtype))); })
      .def_prop_ro("is_signed", [](const DTypeObject& self) { return is_signed(self.dtype); })
      .def_prop_ro("_max", [](const DTypeObject& self) { return finfo_max(self.dtype); });
  dtype_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  const std::map<std::string_view, DType> aliases = {
      {"float", DType::Float32},    {"double", DType::Float64},    {"half", DType::Float16},
      {"long", DType::Int64},       {"int", DType::Int32},         {"short", DType::Int16},
      {"cfloat", DType::Complex64}, {"cdouble", DType::Complex128}};
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    nb::object object = nb::cast(DTypeObject{dtype});
    m.attr(std::string(name_of(dtype)).c_str()) = object;
    dtype_objects[i] = object.release().ptr();
  }
  for (const auto& [name, dtype] : aliases) {
    m.attr(std::string(name).c_str()) = nb::handle(dtype_object(dtype));
  }
}

std::atomic<int> current_cuda{0};  // what "cuda" without a number means

Device device_of(std::string_view text) {
  Device device = parse_device(text);
  if (text == "cuda") device.index = static_cast<int8_t>(current_cuda);
  return device;
}

// Defaults that `with device(...)` has replaced, innermost last.
thread_local std::vector<Device> replaced_defaults;

// Once a device was there, it stays.
void check_cuda(Device device) {
  static std::atomic<int> devices{0};
  if (device.index < devices) return;
  // tenon.cuda knows where wheels have put their libraries
  const auto reason = nb::module_::import_("tenon.cuda").attr("unavailable_reason")();
  const auto text = nb::cast<std::string>(reason);
  check(text.empty(), ErrorKind::Runtime, "no tensors on the device {}: {}. Use the cpu",
        to_string(device), text);
  devices = cuda::device_count();
  check(device.index < devices, ErrorKind::Runtime,
        "no device {}: there are {} CUDA devices, numbered from 0", to_string(device),
        cuda::device_count());
}

Device make_device(std::string_view text, std::optional<int> index) {
  Device device = device_of(text);
  if (index) device.index = static_cast<int8_t>(*index);
  return device;
}

void add_device(nb::module_& m) {
  auto type = nb::class_<Device>(m, "device", docs::kDeviceType);
  type.def(
          "__init__",
          [](Device* self, nb::object which, nb::object index) {
            if (nb::isinstance<Device>(which)) {
              new (self) Device(nb::cast<Device>(which));
              return;
            }
            std::optional<int> number;
            if (!index.is_none()) number = nb::cast<int>(index);
            new (self) Device(make_device(nb::cast<std::string>(which), number));
          },
          nb::arg("type"), nb::arg("index") = nb::none())
      .def_prop_ro("type", [](const Device& self) { return std::string(name_of(self.kind)); })
      .def_prop_ro("index",
                   [](const Device& self) -> nb::object {
                     return self.is_cuda() ? nb::object(nb::int_(int{self.index}))
                                           : nb::object(nb::none());
                   })
      .def("__str__", [](const Device& self) { return to_string(self); })
      .def("__repr__",
           [](const Device& self) {
             std::string text = "device(type='" + std::string(name_of(self.kind)) + "'";
             if (self.is_cuda()) text += ", index=" + std::to_string(int{self.index});
             return text + ")";
           })
      .def("__eq__",
           [](const Device& a, nb::object b) {
             return nb::isinstance<Device>(b) && a == nb::cast<Device>(b);
           })
      .def("__enter__",
           [](nb::handle self) {
             const Device device = to_device(self.ptr());
             replaced_defaults.push_back(default_device());
             set_default_device(device);
             return nb::borrow(self);
           })
      .def("__exit__",
           [](nb::handle, nb::args) {
             set_default_device(replaced_defaults.back());
             replaced_defaults.pop_back();
           })
      .def("__hash__",
           [](const Device& self) { return static_cast<int>(self.kind) * 256 + self.index; })
      .def("__reduce__", [](const Device& self) {
        return nb::make_tuple(nb::handle(reinterpret_cast<PyObject*>(device_type)),
                              nb::make_tuple(to_string(self)));
      });
  device_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  m.def("_cuda_current_device", [] { return current_cuda.load(); });
  m.def("_cuda_set_device", [](int index) { current_cuda = index; });
  m.def("get_default_device", &default_device, docs::kGetDefaultDevice);
  m.def(
      "set_default_device",
      [](nb::object which) { set_default_device(which.is_none() ? kCPU : to_device(which.ptr())); },
      nb::arg("device").none(), docs::kSetDefaultDevice);
  m.def("_to_device", [](nb::object which) { return to_device(which.ptr()); });
}

void add_generator(nb::module_& m) {
  auto type = nb::class_<Generator>(m, "Generator", docs::kGenerator);
  type.def(
          "__init__", [](Generator* self, nb::object) { new (self) Generator(); },
          nb::arg("device") = nb::none())
      .def("manual_seed",
           [](nb::handle self, int64_t seed) {
             nb::cast<Generator&>(self) = Generator{static_cast<uint64_t>(seed), 0};
             return nb::borrow(self);
           })
      .def("initial_seed", [](const Generator& self) { return self.seed; })
      .def("get_state", [](const Generator& self) { return nb::make_tuple(self.seed, self.calls); })
      .def("set_state",
           [](nb::handle self, std::pair<uint64_t, uint64_t> state) {
             nb::cast<Generator&>(self) = Generator{state.first, state.second};
             return nb::borrow(self);
           })
      .def_prop_ro("device", [](const Generator&) { return kCPU; });
  generator_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  m.attr("default_generator") = nb::cast(&default_generator(), nb::rv_policy::reference);
}

}  // namespace

PyObject* dtype_object(DType dtype) { return dtype_objects[static_cast<int>(dtype)]; }
PyObject* device_object(Device device) { return nb::cast(device).release().ptr(); }

bool is_dtype(PyObject* object) {
  return Py_TYPE(object) == dtype_type || object == reinterpret_cast<PyObject*>(&PyFloat_Type) ||
         object == reinterpret_cast<PyObject*>(&PyLong_Type) ||
         object == reinterpret_cast<PyObject*>(&PyBool_Type);
}
bool is_device(PyObject* object) {
  return Py_TYPE(object) == device_type || PyUnicode_Check(object);
}
bool is_generator(PyObject* object) { return Py_TYPE(object) == generator_type; }

DType to_dtype(PyObject* object) {
  if (object == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::Float64;
  if (object == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
  if (object == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
  return nb::inst_ptr<DTypeObject>(object)->dtype;
}

Device to_device(PyObject* object) {
  const Device device =
      PyUnicode_Check(object) ? device_of(to_str(object)) : *nb::inst_ptr<Device>(object);
  if (device.is_cuda()) check_cuda(device);
  return device;
}

Generator* to_generator(PyObject* object) {
  if (object == nullptr || object == Py_None) return nullptr;
  return nb::inst_ptr<Generator>(object);
}

void add_types(PyObject* module) {
  nb::module_ m = nb::borrow<nb::module_>(module);
  add_dtypes(m);
  add_device(m);
  add_generator(m);
}

}  // namespace tenon::python
