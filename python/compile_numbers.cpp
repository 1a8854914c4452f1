#include "python/compile_numbers.h"

#include <cstring>

#include "core/small_vector.h"

namespace tenon::python {

bool is_same_value(PyObject* was, PyObject* is) {
  if (was == is) return true;
  if (Py_TYPE(was) != Py_TYPE(is)) return false;
  if (PyFloat_CheckExact(was)) {  // by bits: zeros differ, not-a-numbers don't
    const double a = PyFloat_AS_DOUBLE(was), b = PyFloat_AS_DOUBLE(is);
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
  if (PyLong_CheckExact(was) || PyUnicode_CheckExact(was)) {
    return PyObject_RichCompareBool(was, is, Py_EQ) == 1;
  }
  return false;
}

namespace {

// A new reference, or null; no error is set.
PyObject* read(const NumberGuard& guard, std::span<PyObject* const> arguments,
               std::span<PyObject* const> known) {
  switch (guard.kind) {
    case NumberGuard::Kind::Argument:
      return Py_NewRef(arguments[guard.argument]);
    case NumberGuard::Kind::Item: {
      PyObject* item = PyDict_GetItemWithError(guard.object, guard.key);
      if (item == nullptr) PyErr_Clear();
      return Py_XNewRef(item);
    }
    case NumberGuard::Kind::Cell:
      return Py_XNewRef(PyCell_GET(guard.object));
    case NumberGuard::Kind::Result: {
      SmallVector<PyObject*, 4> operands;
      for (const auto& operand : guard.operands) {
        operands.push_back(operand.constant ? operand.constant : known[operand.number]);
      }
      PyObject* result =
          PyObject_Vectorcall(guard.object, operands.data(), operands.size(), nullptr);
      if (result == nullptr) PyErr_Clear();
      return result;
    }
  }
  return nullptr;
}

}  // namespace

void Numbers::clear() {
  for (PyObject* object : objects_) Py_DECREF(object);
  objects_.clear();
  scalars_.clear();
}

bool Numbers::compute(const NumberGuards& guards, std::span<PyObject* const> arguments) {
  clear();
  objects_.reserve(guards.numbers.size());
  scalars_.resize(guards.numbers.size());
  for (failed_ = 0; failed_ < guards.numbers.size(); ++failed_) {
    const NumberGuard& guard = guards.numbers[failed_];
    PyObject* number = read(guard, arguments, objects_);
    if (number == nullptr) return false;
    objects_.push_back(number);
    if (Py_TYPE(number) != guard.type) return false;
    if (guard.value && !is_same_value(guard.value, number)) return false;
    if (!guard.is_scalar) continue;
    if (PyFloat_CheckExact(number)) {
      scalars_[failed_] = Scalar(PyFloat_AS_DOUBLE(number));
    } else {
      int overflow = 0;
      scalars_[failed_] = Scalar(int64_t{PyLong_AsLongLongAndOverflow(number, &overflow)});
      if (overflow != 0) return false;
    }
  }
  for (const auto& comparison : guards.comparisons) {
    failed_ = comparison.number;
    if (scalars_[failed_].equals(comparison.with) != comparison.equal) return false;
  }
  failed_ = guards.numbers.size();
  return true;
}

}  // namespace tenon::python
