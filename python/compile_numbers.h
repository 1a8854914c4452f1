// The numbers that a compiled call reads, and what Python makes of them before an operation gets
// them: computed again for each call, by the functions that Python calls.
#pragma once

#include <Python.h>

#include <span>
#include <vector>

#include "trace/ops/types.h"

namespace tenon::python {

// One number, by its place among all: an argument, a dictionary's item (a global, an attribute),
// what a closure's cell holds, or the result of a function of earlier ones and constants. Its
// Python type must be what it was; its value, only if it decided something.
struct NumberGuard {
  enum class Kind : uint8_t { Argument, Item, Cell, Result } kind;
  struct Operand {
    uint32_t number;
    PyObject* constant;  // or null
  };
  PyObject* object = nullptr;  // Item: the dictionary; Cell; Result: the function
  PyObject* key = nullptr;     // Item
  uint32_t argument = 0;       // Argument: among those that are numbers
  std::vector<Operand> operands;
  PyTypeObject* type = nullptr;
  PyObject* value = nullptr;  // null: any
  bool is_scalar = false;     // an operation gets it
};

struct NumberGuards {
  struct Comparison {
    uint32_t number;
    double with;
    bool equal;
  };
  std::vector<NumberGuard> numbers;  // symbol k + 1 is number k
  std::vector<Comparison> comparisons;
};

// Those of one call.
class Numbers {
 public:
  Numbers() = default;
  Numbers(const Numbers&) = delete;
  ~Numbers() { clear(); }

  void clear();
  // False where a guard doesn't hold, or a function raises: then Python is to run, and raises.
  bool compute(const NumberGuards& guards, std::span<PyObject* const> arguments);
  std::span<const Scalar> scalars() const { return scalars_; }  // by symbol
  size_t failed() const { return failed_; }                     // after a failure: the number

 private:
  std::vector<PyObject*> objects_;  // owned
  std::vector<Scalar> scalars_;
  size_t failed_ = 0;
};

bool is_same_value(PyObject* was, PyObject* is);

}  // namespace tenon::python
