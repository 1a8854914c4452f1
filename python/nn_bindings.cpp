// Initial values and tensors in files, for tenon.nn and tenon.save / tenon.load.
#include <nanobind/nanobind.h>

#include <functional>
#include <map>
#include <string>

#include "core/error.h"
#include "nn/init.h"
#include "nn/safetensors.h"
#include "python/caster.h"
#include "python/packages.h"

namespace nb = nanobind;

namespace tenon::python {
namespace {

double number(const nb::args& args, size_t i) { return nb::cast<double>(args[i]); }

// Functions of nn::init by name, with the arguments that follow the tensor.
using Fill = std::function<void(const Tensor&, const nb::args&)>;
const std::map<std::string, Fill>& fills() {
  using namespace nn;
  static const std::map<std::string, Fill> table{
      {"zeros", [](auto& t, const nb::args&) { init::zeros_(t); }},
      {"ones", [](auto& t, const nb::args&) { init::ones_(t); }},
      {"eye", [](auto& t, const nb::args&) { init::eye_(t); }},
      {"constant", [](auto& t, const nb::args& a) { init::constant_(t, number(a, 0)); }},
      {"uniform",
       [](auto& t, const nb::args& a) { init::uniform_(t, number(a, 0), number(a, 1)); }},
      {"normal", [](auto& t, const nb::args& a) { init::normal_(t, number(a, 0), number(a, 1)); }},
      {"trunc_normal",
       [](auto& t, const nb::args& a) {
         init::trunc_normal_(t, number(a, 0), number(a, 1), number(a, 2), number(a, 3));
       }},
      {"xavier_uniform",
       [](auto& t, const nb::args& a) { init::xavier_uniform_(t, number(a, 0)); }},
      {"xavier_normal", [](auto& t, const nb::args& a) { init::xavier_normal_(t, number(a, 0)); }},
      {"kaiming_uniform",
       [](auto& t, const nb::args& a) {
         init::kaiming_uniform_(t, number(a, 0), nb::cast<std::string>(a[1]),
                                nb::cast<std::string>(a[2]));
       }},
      {"kaiming_normal",
       [](auto& t, const nb::args& a) {
         init::kaiming_normal_(t, number(a, 0), nb::cast<std::string>(a[1]),
                               nb::cast<std::string>(a[2]));
       }},
      {"fan_in_uniform",
       [](auto& t, const nb::args& a) { init::fan_in_uniform_(t, nb::cast<Tensor>(a[0])); }},
      {"zero_row", [](auto& t, const nb::args& a) { init::zero_row_(t, nb::cast<int64_t>(a[0])); }},
  };
  return table;
}

// A name or a text of a file, as UTF-8; `key` tells which one is at fault.
std::string file_text(nb::handle text, const char* what, nb::handle key) {
  if (!nb::isinstance<nb::str>(text)) {
    raise_type_error("save: %s of %R is no str but %R", what, key.ptr(),
                     reinterpret_cast<PyObject*>(Py_TYPE(text.ptr())));
  }
  Py_ssize_t length = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &length);
  if (bytes == nullptr) {
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "save: %s of %A has a surrogate, which UTF-8 can't hold", what,
                 key.ptr());
    throw PythonError{};
  }
  return {bytes, static_cast<size_t>(length)};
}

TensorDict to_tensor_dict(const nb::dict& dict) {
  TensorDict tensors;
  for (auto [name, tensor] : dict) {
    if (!nb::isinstance<nb::str>(name) || !is_tensor(tensor.ptr())) {
      raise_type_error("expected a dict of tensors by name, found %R: %R", name.ptr(),
                       reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr())));
    }
    tensors.emplace_back(file_text(name, "the name", name), to_tensor(tensor.ptr()));
  }
  return tensors;
}

}  // namespace

void add_nn(nb::module_& m) {
  m.def("_init_fill", [](const std::string& name, const Tensor& tensor, const nb::args& args) {
    fills().at(name)(tensor, args);
  });
  m.def("_init_gain", [](const std::string& nonlinearity, double param) {
    return nn::init::calculate_gain(nonlinearity, param);
  });
  m.def("_init_fans", &nn::init::calculate_fans);
  m.def("_save_safetensors", [](const std::string& path, const nb::dict& dict,
                                const nb::dict& metadata) {
    safetensors::Metadata texts;
    for (auto [key, text] : metadata) {
      texts.emplace_back(file_text(key, "the key", key), file_text(text, "the metadata", key));
    }
    save_safetensors(path, to_tensor_dict(dict), texts);
  });
  m.def("_load_safetensors", [](const std::string& path) {
    SafetensorsFile file = load_safetensors(path);
    nb::dict tensors, metadata;
    for (auto& [name, tensor] : file.tensors) tensors[nb::cast(name)] = nb::cast(tensor);
    for (auto& [key, text] : file.metadata) metadata[nb::cast(key)] = nb::cast(text);
    return nb::make_tuple(tensors, metadata);
  });
}

}  // namespace tenon::python
