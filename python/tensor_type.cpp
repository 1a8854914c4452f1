// The type object: creation and destruction, operators, truth and numbers, length and items.
#include "python/tensor_type.h"

#include <structmember.h>

#include <cmath>
#include <new>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "python/arguments.h"
#include "python/deferred_release.h"
#include "python/docstrings.h"
#include "python/errors.h"
#include "trace/capture.h"

namespace tenon::python {

bool truth_of(const Tensor& x) {
  check(x.numel() != 0, ErrorKind::Runtime, "Boolean value of Tensor with no values is ambiguous");
  check(x.numel() == 1, ErrorKind::Runtime,
        "Boolean value of Tensor with more than one value is ambiguous");
  EffectScope scope(Effect::Read, x);
  bool answer;
  if (is_complex(x.dtype())) {
    answer = x.item<bool>();
  } else {
    answer = is_integral(x.dtype(), true) ? x.item_int() != 0 : x.item_double() != 0;
  }
  scope.note_answer(answer);
  return answer;
}

PyTypeObject* tensor_type = nullptr;
PyTypeObject* parameter_type = nullptr;

PyObject* wrap_as(PyTypeObject* type, Tensor&& tensor) {
  if (!tensor.defined()) Py_RETURN_NONE;
  auto* object = reinterpret_cast<TensorObject*>(type->tp_alloc(type, 0));
  if (object == nullptr) throw PythonError{};
  new (&object->tensor) Tensor(std::move(tensor));
  return reinterpret_cast<PyObject*>(object);
}

namespace {

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    PyObject* data = nullptr;
    static const char* names[] = {"data", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O", const_cast<char**>(names), &data)) {
      PyErr_Clear();  // Tensor(2, 3): a tensor of that size
      return wrap_as(type, zeros(to_ints(args)));
    }
    if (data == nullptr) return wrap_as(type, zeros(IntList{0}));
    if (is_tensor(data)) return wrap_as(type, detach(to_tensor(data)));
    if (PyLong_Check(data)) return wrap_as(type, zeros(IntList{to_int(data)}));
    return wrap_as(type, tensor_from_data(data, default_dtype()));
  });
}

void tensor_dealloc(PyObject* self) {
  auto* object = reinterpret_cast<TensorObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  if (PyType_IS_GC(type)) PyObject_GC_UnTrack(self);
  if (object->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  object->tensor.~Tensor();
  release_deferred();
  Py_CLEAR(object->dict);
  type->tp_free(self);
  Py_DECREF(type);
}

// ---- operators
// --------------------------------------------------------------------------------------

using BinaryFunction = Tensor (*)(const Operand&, const Operand&);

// Anything else than a tensor and a tensor or number is left to the other operand.
template <BinaryFunction function>
PyObject* binary(PyObject* a, PyObject* b) {
  const bool a_is_tensor = is_tensor(a), b_is_tensor = is_tensor(b);
  if ((!a_is_tensor && !is_number(a)) || (!b_is_tensor && !is_number(b))) {
    Py_RETURN_NOTIMPLEMENTED;
  }
  return guarded([&] {
    return wrap(function(a_is_tensor ? Operand(to_tensor(a)) : Operand(to_scalar(a)),
                         b_is_tensor ? Operand(to_tensor(b)) : Operand(to_scalar(b))));
  });
}

Tensor operator_add(const Operand& a, const Operand& b) { return add(a, b); }
Tensor operator_sub(const Operand& a, const Operand& b) { return sub(a, b); }
Tensor operator_div(const Operand& a, const Operand& b) { return true_divide(a, b); }
Tensor operator_pow(const Operand& a, const Operand& b) {
  if (b.scalar) return tenon::pow(*a.tensor, *b.scalar);
  return tenon::pow(a, *b.tensor);
}

PyObject* power(PyObject* a, PyObject* b, PyObject*) { return binary<operator_pow>(a, b); }

PyObject* matrix_multiply(PyObject* a, PyObject* b) {
  if (!is_tensor(a) || !is_tensor(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] { return wrap(matmul(to_tensor(a), to_tensor(b))); });
}

template <Tensor (*function)(const Tensor&)>
PyObject* unary(PyObject* self) {
  return guarded([&] { return wrap(function(to_tensor(self))); });
}

using InplaceFunction = const Tensor& (*)(const Tensor&, const Operand&);

template <InplaceFunction function>
PyObject* inplace(PyObject* self, PyObject* other) {
  if (!is_tensor(other) && !is_number(other)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] {
    function(to_tensor(self), to_operand(other));
    return Py_NewRef(self);
  });
}

const Tensor& inplace_add(const Tensor& a, const Operand& b) { return add_(a, b); }
const Tensor& inplace_sub(const Tensor& a, const Operand& b) { return sub_(a, b); }
const Tensor& inplace_div(const Tensor& a, const Operand& b) { return true_divide_(a, b); }
PyObject* inplace_power(PyObject* self, PyObject* other, PyObject*) {
  if (is_tensor(other)) {
    return guarded([&] {
      pow_(to_tensor(self), to_tensor(other));
      return Py_NewRef(self);
    });
  }
  if (!is_number(other)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] {
    pow_(to_tensor(self), to_scalar(other));
    return Py_NewRef(self);
  });
}

PyObject* compare(PyObject* a, PyObject* b, int operation) {
  if (!is_tensor(a) || (!is_tensor(b) && !is_number(b))) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    const Tensor& left = to_tensor(a);
    const Operand right = to_operand(b);
    switch (operation) {
      case Py_EQ:
        return wrap(eq(left, right));
      case Py_NE:
        return wrap(ne(left, right));
      case Py_LT:
        return wrap(lt(left, right));
      case Py_LE:
        return wrap(le(left, right));
      case Py_GT:
        return wrap(gt(left, right));
      default:
        return wrap(ge(left, right));
    }
  });
}

// ---- numbers and truth
// ------------------------------------------------------------------------------

int truth(PyObject* self) {
  try {
    return truth_of(to_tensor(self));
  } catch (...) {
    translate_exception();
    return -1;
  }
}

PyObject* as_float(PyObject* self) {
  return guarded([&] { return PyFloat_FromDouble(to_tensor(self).item_double()); });
}

PyObject* as_int(PyObject* self) {
  return guarded([&] {
    const Tensor& x = to_tensor(self);
    if (is_integral(x.dtype(), true)) return PyLong_FromLongLong(x.item_int());
    return checked(PyLong_FromDouble(x.item_double()));
  });
}

PyObject* as_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = to_tensor(self);
    if (!is_integral(x.dtype(), true) || x.numel() != 1) {
      raise_type_error("only integer tensors of a single element can be converted to an index");
    }
    return PyLong_FromLongLong(x.item_int());
  });
}

Py_hash_t hash(PyObject* self) {
  const auto bits = reinterpret_cast<uintptr_t>(self);
  return static_cast<Py_hash_t>(bits >> 4 | bits << (8 * sizeof(bits) - 4));
}

// ---- container
// --------------------------------------------------------------------------------------

Py_ssize_t length(PyObject* self) {
  const Tensor& x = to_tensor(self);
  if (x.rank() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
  }
  return static_cast<Py_ssize_t>(x.dims()[0]);
}

PyObject* iterate(PyObject* self) {
  return guarded([&]() -> PyObject* {
    if (to_tensor(self).rank() == 0) raise_type_error("iteration over a 0-d tensor");
    PyObject* parts = wrap(unbind(to_tensor(self)));
    PyObject* iterator = PyObject_GetIter(parts);
    Py_DECREF(parts);
    return iterator;
  });
}

int contains(PyObject* self, PyObject* element) {
  try {
    if (!is_tensor(element) && !is_number(element)) {
      raise_type_error(
          "Tensor.__contains__ only supports Tensor or scalar, but you passed in a %s.",
          Py_TYPE(element)->tp_name);
    }
    return any(eq(to_tensor(self), to_operand(element))).item_int() != 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

PyTypeObject* make_tensor_type(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>(docs::kTensorType)},
      {Py_tp_new, slot(tensor_new)},
      {Py_tp_dealloc, slot(tensor_dealloc)},
      {Py_tp_members, members},
      {Py_tp_methods, tensor_methods},
      {Py_tp_getset, tensor_attributes},
      {Py_tp_hash, slot(hash)},
      {Py_tp_richcompare, slot(compare)},
      {Py_tp_iter, slot(iterate)},
      {Py_nb_add, slot(binary<operator_add>)},
      {Py_nb_subtract, slot(binary<operator_sub>)},
      {Py_nb_multiply, slot(binary<mul>)},
      {Py_nb_true_divide, slot(binary<operator_div>)},
      {Py_nb_floor_divide, slot(binary<floor_divide>)},
      {Py_nb_remainder, slot(binary<remainder>)},
      {Py_nb_power, slot(power)},
      {Py_nb_matrix_multiply, slot(matrix_multiply)},
      {Py_nb_and, slot(binary<bitwise_and>)},
      {Py_nb_or, slot(binary<bitwise_or>)},
      {Py_nb_xor, slot(binary<bitwise_xor>)},
      {Py_nb_lshift, slot(binary<bitwise_left_shift>)},
      {Py_nb_rshift, slot(binary<bitwise_right_shift>)},
      {Py_nb_negative, slot(unary<neg>)},
      {Py_nb_positive, slot(unary<positive>)},
      {Py_nb_absolute, slot(unary<abs>)},
      {Py_nb_invert, slot(unary<bitwise_not>)},
      {Py_nb_inplace_add, slot(inplace<inplace_add>)},
      {Py_nb_inplace_subtract, slot(inplace<inplace_sub>)},
      {Py_nb_inplace_multiply, slot(inplace<mul_>)},
      {Py_nb_inplace_true_divide, slot(inplace<inplace_div>)},
      {Py_nb_inplace_floor_divide, slot(inplace<floor_divide_>)},
      {Py_nb_inplace_remainder, slot(inplace<remainder_>)},
      {Py_nb_inplace_power, slot(inplace_power)},
      {Py_nb_inplace_and, slot(inplace<bitwise_and_>)},
      {Py_nb_inplace_or, slot(inplace<bitwise_or_>)},
      {Py_nb_inplace_xor, slot(inplace<bitwise_xor_>)},
      {Py_nb_inplace_lshift, slot(inplace<bitwise_left_shift_>)},
      {Py_nb_inplace_rshift, slot(inplace<bitwise_right_shift_>)},
      {Py_nb_bool, slot(truth)},
      {Py_nb_float, slot(as_float)},
      {Py_nb_int, slot(as_int)},
      {Py_nb_index, slot(as_index)},
      {Py_mp_length, slot(length)},
      {Py_mp_subscript, slot(get_item)},
      {Py_mp_ass_subscript, slot(set_item)},
      {Py_sq_contains, slot(contains)},
      {0, nullptr},
  };
  PyType_Spec spec = {
      .name = "tenon.Tensor",
      .basicsize = sizeof(TensorObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
      .slots = slots,
  };
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) return nullptr;
  PyModule_AddObjectRef(module, "Tensor", type);
  return tensor_type = reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace tenon::python
