#include "python/arguments.h"

#include <cstdarg>
#include <cstring>
#include <string>

#include "core/error.h"
#include "python/errors.h"
#include "python/symbolic_number.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

bool is_sequence(PyObject* object) { return PyTuple_Check(object) || PyList_Check(object); }

// Whether `object` may stand for a number: `lenient` takes one-element tensors too.
bool is_int(PyObject* object, bool lenient) {
  object = plain(object);
  if (PyBool_Check(object)) return lenient;
  if (PyLong_Check(object)) return true;
  if (is_tensor(object)) return lenient && to_tensor(object).numel() == 1;
  return PyIndex_Check(object) && is_number(object);
}

bool all_ints(PyObject* sequence, bool lenient) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
  PyObject** items = PySequence_Fast_ITEMS(sequence);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!is_int(items[i], lenient)) return false;
  }
  return true;
}

bool all_extents(PyObject* sequence, bool lenient) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
  PyObject** items = PySequence_Fast_ITEMS(sequence);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (items[i] != Py_None && !is_int(items[i], lenient)) return false;
  }
  return true;
}

bool all_tensors(PyObject* sequence) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
  PyObject** items = PySequence_Fast_ITEMS(sequence);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!is_tensor(items[i])) return false;
  }
  return true;
}

bool accepts(Kind kind, PyObject* object, bool lenient) {
  switch (kind) {
    case Kind::Tensor:
      return is_tensor(object);
    case Kind::Operand:
      return is_tensor(object) || is_number(object);
    case Kind::Scalar:
    case Kind::Float:
      object = plain(object);
      if (is_tensor(object)) return lenient && to_tensor(object).numel() == 1;
      return is_number(object) && !(kind == Kind::Float && PyComplex_Check(object));
    case Kind::Int:
      return is_int(object, lenient);
    case Kind::Bool:
      return PyBool_Check(object) || (lenient && is_number(object));
    case Kind::Str:
      return PyUnicode_Check(object);
    case Kind::DType:
      return is_dtype(object);
    case Kind::Device:
      return is_device(object);
    case Kind::Generator:
      return is_generator(object);
    case Kind::Ignored:
      return true;
    case Kind::Ints:
      return is_sequence(object) ? all_ints(object, lenient) : is_int(object, lenient);
    case Kind::Extents:
      return is_sequence(object) ? all_extents(object, lenient) : is_int(object, lenient);
    case Kind::Floats:
      return is_sequence(object) || is_number(object);
    case Kind::Tensors:
      return is_sequence(object) && all_tensors(object);
  }
  return false;
}

const char* name_of(Kind kind) {
  static constexpr const char* kNames[] = {"Tensor",
                                           "Tensor or Number",
                                           "Number",
                                           "float",
                                           "int",
                                           "bool",
                                           "str",
                                           "tenon.dtype",
                                           "device",
                                           "Generator",
                                           "object",
                                           "tuple of ints",
                                           "tuple of ints",
                                           "tuple of floats",
                                           "tuple of Tensors"};
  return kNames[static_cast<int>(kind)];
}

// A keyword's parameter; -1 where the signature has none of that name.
int find_parameter(const SignatureInfo& signature, PyObject* name) {
  const auto& parameters = signature.parameters;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].interned == name || parameters[i].interned_synonym == name) {
      return static_cast<int>(i);
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (PyUnicode_Compare(parameters[i].interned, name) == 0 ||
        PyUnicode_Compare(parameters[i].interned_synonym, name) == 0) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

// What is wrong, written only when somebody will read it.
struct Complaint {
  bool wanted;
  std::string text;
};

template <class Make>
bool complain(Complaint* complaint, Make&& make) {
  if (complaint != nullptr) complaint->text = make();
  return false;
}

bool bind_one(const SignatureInfo& signature, PyObject* self, PyObject* const* args,
              Py_ssize_t nargs, PyObject* names, PyObject** slots, Holder& holder, bool lenient,
              Complaint* complaint) {
  const auto& parameters = signature.parameters;
  const size_t count = parameters.size();
  std::memset(slots, 0, count * sizeof(PyObject*));
  size_t next = 0;
  if (self != nullptr) slots[next++] = self;
  for (Py_ssize_t i = 0; i < nargs; ++i) {
    if (next >= count || (parameters[next].flags & kKeywordOnly)) {
      return complain(complaint, [&] {
        return fmt::format("{}() takes {} positional arguments but {} were given", signature.name,
                           next, nargs + (self != nullptr));
      });
    }
    if ((parameters[next].flags & kVariadic) && !is_sequence(args[i])) {
      PyObject* many = checked(PyTuple_New(nargs - i));
      for (Py_ssize_t j = i; j < nargs; ++j) PyTuple_SET_ITEM(many, j - i, Py_NewRef(args[j]));
      Py_XDECREF(holder.made);
      holder.made = many;
      slots[next++] = many;
      break;
    }
    slots[next++] = args[i];
  }
  const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < keywords; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    const int at = find_parameter(signature, name);
    if (at < 0) {
      return complain(complaint, [&] {
        return fmt::format("{}() got an unexpected keyword argument '{}'", signature.name,
                           PyUnicode_AsUTF8(name));
      });
    }
    if (slots[at] != nullptr) {
      return complain(complaint, [&] {
        return fmt::format("{}() got multiple values for argument '{}'", signature.name,
                           PyUnicode_AsUTF8(name));
      });
    }
    slots[at] = args[nargs + i];
  }
  for (size_t i = 0; i < count; ++i) {
    const ParameterInfo& p = parameters[i];
    PyObject* value = slots[i];
    if (value == nullptr) {
      if (!(p.flags & kRequired)) continue;
      return complain(complaint, [&] {
        return fmt::format("{}() missing 1 required positional arguments: \"{}\"", signature.name,
                           p.name);
      });
    }
    if (value == Py_None && (p.flags & kOptional)) continue;
    if (accepts(p.kind, value, lenient)) continue;
    return complain(complaint, [&] {
      return fmt::format("{}(): argument '{}' (position {}) must be {}, not {}", signature.name,
                         p.name, i + 1, name_of(p.kind), Py_TYPE(value)->tp_name);
    });
  }
  return true;
}

std::string describe_arguments(PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                               PyObject* names) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (self != nullptr) add(Py_TYPE(self)->tp_name);
  for (Py_ssize_t i = 0; i < nargs; ++i) add(Py_TYPE(args[i])->tp_name);
  const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < keywords; ++i) {
    add(fmt::format("{}={}", PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i)),
                    Py_TYPE(args[nargs + i])->tp_name));
  }
  return text;
}

}  // namespace

Overloads::Overloads(std::vector<SignatureInfo> signatures) : signatures_(std::move(signatures)) {
  for (SignatureInfo& signature : signatures_) {
    for (ParameterInfo& p : signature.parameters) {
      p.interned = PyUnicode_InternFromString(p.name);
      p.interned_synonym = PyUnicode_InternFromString(*p.synonym ? p.synonym : p.name);
    }
  }
}

int Overloads::bind(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                    PyObject** slots, Holder& holder) const {
  const int count = static_cast<int>(signatures_.size());
  for (const bool lenient : {false, true}) {
    for (int i = 0; i < count; ++i) {
      if (bind_one(signatures_[i], self, args, nargs, names, slots, holder, lenient, nullptr)) {
        return i;
      }
    }
  }
  Complaint complaint{true, {}};
  if (count == 1) {
    bind_one(signatures_[0], self, args, nargs, names, slots, holder, true, &complaint);
  } else {
    complaint.text = fmt::format(
        "{}() received an invalid combination of arguments - got ({}), but expected one of:",
        signatures_[0].name, describe_arguments(self, args, nargs, names));
    for (const SignatureInfo& signature : signatures_) {
      complaint.text += std::string("\n * ") + signature.text;
    }
  }
  PyErr_SetString(PyExc_TypeError, complaint.text.c_str());
  throw PythonError{};
}

// ---- readers ------------------------------------------------------------------------------------

bool is_tensor(PyObject* object) {
  return Py_TYPE(object) == tensor_type || PyType_IsSubtype(Py_TYPE(object), tensor_type);
}

bool is_number(PyObject* object) {
  object = plain(object);
  if (PyFloat_Check(object) || PyLong_Check(object) || PyComplex_Check(object)) return true;
  if (is_tensor(object)) return false;
  const PyTypeObject* type = Py_TYPE(object);
  if (std::strncmp(type->tp_name, "numpy.", 6) != 0 && !PyIndex_Check(object)) {
    return type->tp_as_number != nullptr && type->tp_as_number->nb_float != nullptr;
  }
  return std::strcmp(type->tp_name, "numpy.ndarray") != 0;
}

const Tensor& to_tensor(PyObject* object) {
  return reinterpret_cast<TensorObject*>(object)->tensor;
}

Operand to_operand(PyObject* object) {
  if (is_tensor(object)) return Operand(to_tensor(object));
  return Operand(to_scalar(object));
}

Scalar to_scalar(PyObject* object) {
  if (PyBool_Check(object)) return Scalar(object == Py_True);
  if (PyFloat_Check(object)) return Scalar(PyFloat_AS_DOUBLE(object));
  if (PyLong_Check(object)) {
    int overflow = 0;
    const int64_t number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) return Scalar(number);
    fail(ErrorKind::Runtime, "Overflow when unpacking long: the number doesn't fit 64 bits");
  }
  if (PyComplex_Check(object)) {
    const Py_complex number = PyComplex_AsCComplex(object);
    return Scalar(std::complex<double>(number.real, number.imag));
  }
  if (is_symbolic_number(object)) {
    return to_scalar(plain(object)).with_symbol(symbol_of(object));
  }
  if (is_tensor(object)) {
    const Tensor& tensor = to_tensor(object);
    if (tensor.dtype() == DType::Bool) return Scalar(tensor.item_int() != 0);
    return is_floating(tensor.dtype()) ? Scalar(tensor.item_double()) : Scalar(tensor.item_int());
  }
  const std::string_view type = Py_TYPE(object)->tp_name;
  if (type == "numpy.bool" || type == "numpy.bool_") return Scalar(PyObject_IsTrue(object) == 1);
  PyObject* number = PyIndex_Check(object) ? PyNumber_Index(object) : PyNumber_Float(object);
  checked(number);
  const Scalar scalar = to_scalar(number);
  Py_DECREF(number);
  return scalar;
}

double to_float(PyObject* object) {
  if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);
  return to_scalar(object).to_double();
}

int64_t to_int(PyObject* object) {
  if (PyLong_CheckExact(object)) {
    int overflow = 0;
    const int64_t number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) return number;
  }
  return to_scalar(object).to_int();
}
bool to_bool(PyObject* object) {
  if (object == Py_True) return true;
  if (object == Py_False) return false;
  return to_scalar(object).to_bool();
}

std::string_view to_str(PyObject* object) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == nullptr) throw PythonError{};
  return {text, static_cast<size_t>(size)};
}

IntList to_ints(PyObject* object) {
  IntList list;
  if (object == nullptr) return list;
  if (!is_sequence(object)) return IntList(to_int(object));
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  PyObject** items = PySequence_Fast_ITEMS(object);
  for (Py_ssize_t i = 0; i < count; ++i) list.push_back(to_int(items[i]));
  return list;
}

IntList to_extents(PyObject* object) {
  const auto extent = [](PyObject* item) { return item == Py_None ? kUnchanged : to_int(item); };
  if (!is_sequence(object)) return IntList(extent(object));
  IntList list;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  PyObject** items = PySequence_Fast_ITEMS(object);
  for (Py_ssize_t i = 0; i < count; ++i) list.push_back(extent(items[i]));
  return list;
}

FloatList to_floats(PyObject* object) {
  FloatList list;
  if (!is_sequence(object)) return {to_float(object)};
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  for (Py_ssize_t i = 0; i < count; ++i) list.push_back(to_float(PySequence_Fast_ITEMS(object)[i]));
  return list;
}

TensorList to_tensors(PyObject* object) {
  TensorList list;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  list.reserve(count);
  for (Py_ssize_t i = 0; i < count; ++i) {
    list.push_back(to_tensor(PySequence_Fast_ITEMS(object)[i]));
  }
  return list;
}

// ---- results ------------------------------------------------------------------------------------

PyObject* wrap(Tensor&& tensor) { return wrap_as(tensor_type, std::move(tensor)); }

PyObject* wrap(TensorList tensors) {
  PyObject* tuple = checked(PyTuple_New(static_cast<Py_ssize_t>(tensors.size())));
  for (size_t i = 0; i < tensors.size(); ++i) {
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), wrap(std::move(tensors[i])));
  }
  return tuple;
}

PyObject* wrap(const Scalar& scalar) {
  switch (scalar.kind()) {
    case Scalar::Kind::Bool:
      return PyBool_FromLong(scalar.to_bool());
    case Scalar::Kind::Int:
      return PyLong_FromLongLong(scalar.to_int());
    case Scalar::Kind::Float:
      return PyFloat_FromDouble(scalar.to_double());
    case Scalar::Kind::Complex:
      return PyComplex_FromDoubles(scalar.to_complex().real(), scalar.to_complex().imag());
  }
  return nullptr;
}

PyObject* wrap_or_same(Tensor&& tensor, PyObject* argument) {
  if (tensor.same(to_tensor(argument))) return Py_NewRef(argument);
  return wrap(std::move(tensor));
}

PyObject* make_return_type(const char* name, std::initializer_list<const char*> fields) {
  // A namedtuple, as PyTorch's return types are in effect.
  PyObject* collections = checked(PyImport_ImportModule("collections"));
  PyObject* list = checked(PyList_New(0));
  for (const char* field : fields) {
    PyObject* text = checked(PyUnicode_FromString(field));
    PyList_Append(list, text);
    Py_DECREF(text);
  }
  PyObject* type = checked(PyObject_CallMethod(collections, "namedtuple", "sO", name, list));
  Py_DECREF(list);
  Py_DECREF(collections);
  PyObject* module = PyUnicode_FromString("tenon.return_types");
  PyObject_SetAttrString(type, "__module__", module);
  Py_DECREF(module);
  return type;
}

PyObject* wrap_named(std::span<Tensor> tensors, PyObject* type) {
  PyObject* members[4] = {};
  for (size_t i = 0; i < tensors.size(); ++i) members[i] = wrap(std::move(tensors[i]));
  PyObject* result = PyObject_Vectorcall(type, members, tensors.size(), nullptr);
  for (size_t i = 0; i < tensors.size(); ++i) Py_DECREF(members[i]);
  return checked(result);
}

void raise_type_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  PyErr_FormatV(PyExc_TypeError, format, arguments);
  va_end(arguments);
  throw PythonError{};
}

}  // namespace tenon::python
