// How the generated bindings read their arguments: CPython's vector call, PyTorch's keyword rules
// (dim or axis, keepdim or keepdims, sizes as one sequence or as several numbers), overloads by
// type.
//
// In: the borrowed arguments of a call. Out: one slot a parameter, borrowed, null where the default
// holds; checked for their types, so that the readers below fail only on values.
#pragma once

#include <Python.h>

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "trace/ops/types.h"
#include "trace/tensor.h"

namespace tenon::python {

enum class Kind : uint8_t {
  Tensor,
  Operand,
  Scalar,
  Float,
  Int,
  Bool,
  Str,
  DType,
  Device,
  Generator,
  Ignored,
  Ints,
  Extents,
  Floats,
  Tensors,
};

inline constexpr int kRequired = 1, kKeywordOnly = 2, kVariadic = 4, kOptional = 8;
inline constexpr int kMostParameters = 14;

struct ParameterInfo {
  const char* name;
  const char* synonym;  // NumPy's name for it, or ""
  Kind kind;
  int flags;
  PyObject* interned = nullptr;
  PyObject* interned_synonym = nullptr;
};

struct SignatureInfo {
  const char* name;
  const char* text;
  std::vector<ParameterInfo> parameters;
};

// Keeps alive a tuple made of separate arguments, for the length of a call.
struct Holder {
  PyObject* made = nullptr;
  Holder() = default;
  Holder(const Holder&) = delete;
  ~Holder() { Py_XDECREF(made); }
};

class Overloads {
 public:
  explicit Overloads(std::vector<SignatureInfo> signatures);
  // The overload that takes these arguments; TypeError where none does. `self` is the first
  // argument of a method, null for a function.
  int bind(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
           PyObject** slots, Holder& holder) const;

 private:
  std::vector<SignatureInfo> signatures_;
};

// One entry of a table of bindings.
struct Binding {
  const char* name;  // "special.expit": in the submodule
  PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
  const char* doc;
  bool is_function, is_method, is_functional;
};

// ---- readers: the slot's type has been checked
// ----------------------------------------------------

const Tensor& to_tensor(PyObject* object);
inline const Tensor& to_tensor_or_none(PyObject* object) {
  static const Tensor none;
  return object == nullptr || object == Py_None ? none : to_tensor(object);
}
Operand to_operand(PyObject* object);
inline Operand to_operand_or_none(PyObject* object) {
  return object == nullptr || object == Py_None ? Operand() : to_operand(object);
}
Scalar to_scalar(PyObject* object);
double to_float(PyObject* object);
int64_t to_int(PyObject* object);
bool to_bool(PyObject* object);
std::string_view to_str(PyObject* object);
DType to_dtype(PyObject* object);
Device to_device(PyObject* object);
Generator* to_generator(PyObject* object);  // null for none
IntList to_ints(PyObject* object);          // empty for null
IntList to_extents(PyObject* object);       // kUnchanged for None
FloatList to_floats(PyObject* object);
TensorList to_tensors(PyObject* object);

template <class Reader>
auto optional(PyObject* object, Reader&& reader) -> std::optional<decltype(reader(object))> {
  if (object == nullptr || object == Py_None) return std::nullopt;
  return reader(object);
}
template <class Reader>
auto optional_or(PyObject* object, Reader&& reader, decltype(reader(object)) absent)
    -> std::optional<decltype(reader(object))> {
  if (object == nullptr) return absent;
  return optional(object, reader);
}

bool is_tensor(PyObject* object);
bool is_number(PyObject* object);

// ---- results
// --------------------------------------------------------------------------------------

PyObject* wrap(Tensor&& tensor);
inline PyObject* wrap(const Tensor& tensor) { return wrap(Tensor(tensor)); }
PyObject* wrap(TensorList tensors);  // a tuple
inline PyObject* wrap(bool flag) { return PyBool_FromLong(flag); }
inline PyObject* wrap(int64_t number) { return PyLong_FromLongLong(number); }
PyObject* wrap(const Scalar& scalar);
// The argument itself where the operation returned it.
PyObject* wrap_or_same(Tensor&& tensor, PyObject* argument);
// A named tuple of `type`.
PyObject* wrap_named(std::span<Tensor> tensors, PyObject* type);
template <size_t N>
PyObject* wrap_named(std::array<Tensor, N> tensors, PyObject* type) {
  return wrap_named(std::span<Tensor>(tensors), type);
}
PyObject* make_return_type(const char* name, std::initializer_list<const char*> fields);

// ---- out=
// ------------------------------------------------------------------------------------------

// Whether a call of a function (not of a method) has the keyword `out`, and it is not None.
bool has_out_keyword(PyObject* names);
inline bool has_out(PyObject* self, PyObject* names) {
  return names != nullptr && self == nullptr && has_out_keyword(names);
}
// Which memory a receiver may share with an operand: any; all that the operand shows, or none;
// none.
enum class Sharing : uint8_t { Any, Whole, None };
// The call without `out`, whose results are then stored in it. `casts`: a result may have another
// dtype that can be cast to the receiver's. A receiver of another size becomes the result.
PyObject* call_with_out(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*),
                        bool casts, Sharing sharing, PyObject* const* args, Py_ssize_t nargs,
                        PyObject* names);
// The Python object names another tensor from now on, as PyTorch's unsqueeze_ has it.
PyObject* become(PyObject* self, const Tensor& tensor);

// ---- errors
// ---------------------------------------------------------------------------------------

// The Python error indicator is set; the exception only carries control back to guarded().
struct PythonError {};
[[noreturn]] void raise_type_error(const char* format, ...);
// Turns the exception being handled into Python's error indicator.
void translate_exception() noexcept;

template <class Body>
PyObject* guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}
inline PyObject* checked(PyObject* object) {
  if (object == nullptr) throw PythonError{};
  return object;
}

}  // namespace tenon::python
