// A recorded call of a compiled function, and what must hold for it to stand for another.
#pragma once

#include <Python.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "python/compile_numbers.h"
#include "trace/capture.h"

namespace tenon::python {

// Strong references of one entry, in one place for the garbage collector.
using References = std::vector<PyObject*>;

// An argument: its own shape of data, with tensors and values at the leaves. Number: see
// NumberGuard.
struct ArgumentGuard {
  enum class Kind : uint8_t { Tensor, Number, Value, Same, List, Tuple, Dict } kind;
  PyObject* object = nullptr;  // Tensor: its Python type; Value, Same: what it must be
  TypeId type = 0;
  bool requires_grad = false;
  std::vector<ArgumentGuard> parts;
  std::vector<PyObject*> keys;
};

// Something that the function reads besides its arguments.
struct Guard {
  enum class Kind : uint8_t { Item, TypeVersion, Class, List, Cell, Function, Fields, Dict } kind;
  PyObject* object;
  PyObject* key = nullptr;    // Item
  PyObject* value = nullptr;  // null: absent
  unsigned version = 0;       // TypeVersion
  std::vector<PyObject*> parts;
};

// How the result is made of tensors.
struct Template {
  enum class Kind : uint8_t { Result, Given, Constant, List, Tuple, Dict } kind;
  size_t index = 0;
  PyObject* object = nullptr;
  std::vector<Template> parts;
  std::vector<PyObject*> keys;
};

struct Captured {
  PyObject* object;
  const Cell* cell;
  TypeId type;
  bool requires_grad;
};

// What is done again after a part of the capture (see Effect in trace/capture.h).
struct EffectCall {
  Effect effect;
  PyObject* function = nullptr;   // Step: the rule's, of groups and state
  std::vector<PyObject*> groups;  // ZeroGrad: lists of parameter groups; Step: its own
  PyObject* state = nullptr;
  bool answer = false;  // Read: what the capture goes on from
};

// The answers of booleans that a call has read so far. Entries that fit the call compute the same
// ones, in the same order, as Python would.
using Answers = std::vector<bool>;

struct Entry {
  Ref<Capture> capture;
  std::vector<EffectCall> effects;  // by part before the last
  Answers answers;                  // of those that are Reads, which come first
  uint64_t hooks = 0;               // autograd::hooks_asked_for() when effects were proven
  std::unique_ptr<Launch> launch;
  DType default_dtype;
  std::vector<ArgumentGuard> positional, keyword;
  std::vector<PyObject*> names;
  std::vector<Guard> guards;
  NumberGuards numbers;
  std::vector<Captured> captured;
  std::vector<uint32_t> first_alias;  // by slot of an argument: the first slot with its cell
  size_t slots = 0;
  Template result;
  References references;

  PyObject* keep(PyObject* object) {
    references.push_back(Py_NewRef(object));
    return object;
  }
  ~Entry();
};

struct Slots {
  std::vector<Tensor> tensors;
  std::vector<PyObject*> objects;    // borrowed from the call's arguments
  std::vector<PyObject*> arguments;  // those that are numbers, borrowed
  Numbers numbers;
};

// Whether the entry may stand for a call with these arguments; fills in the tensors.
bool matches(const Entry& entry, PyObject* args, PyObject* kwargs, Slots& slots);

// Which of the things that the function reads is not what it was, for a call whose arguments fit;
// empty otherwise.
std::string why_not(const Entry& entry, PyObject* args, PyObject* kwargs);

// Whether a call with these answers may go on as the entry does.
bool agrees(const Entry& entry, const Answers& known);
// The results of a call with effects: parts recorded again, effects done again in between. Nothing
// where a boolean that isn't known yet has another answer than the entry's, or `still_holds` is
// false after it was read: nothing has happened by then but recording.
std::optional<std::vector<Tensor>> replay_with_effects(const Entry& entry, const Slots& slots,
                                                       Answers& known,
                                                       const std::function<bool()>& still_holds);

// An entry from what the proof describes: (capture, arguments, keywords, guards, numbers, captured,
// given, result, effects) of python/tenon/compiler.
std::shared_ptr<Entry> read_entry(PyObject* described);

}  // namespace tenon::python
