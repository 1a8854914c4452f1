// What reading a module found, kept for as long as nothing that was read has changed.
//
// A step reads every layer's dictionaries again: hooks, parameters, submodules, a dozen look-ups a
// layer that find what they found last time. CPython numbers every state of every dictionary
// (PEP 509, up to Python 3.11): where the numbers are the same, so is what was found. All
// references here are borrowed from dictionaries whose state holds them; an entry whose number has
// passed is never read again. Guarded by the interpreter's lock.
#pragma once

#include <Python.h>

#include <cstdint>

namespace tenon::python {

constexpr Py_ssize_t kMostDirect = 12;  // inputs and attributes of a direct forward

// The number of a dictionary's state, different from every other dictionary's and state's; 0 where
// the interpreter has none, and nothing is known.
inline std::uint64_t state_of([[maybe_unused]] PyObject* dictionary) {
#if PY_VERSION_HEX < 0x030C0000
  return reinterpret_cast<PyDictObject*>(dictionary)->ma_version_tag;
#else
  return 0;
#endif
}

// The number of a class's state (its own attributes and its bases'); 0 if it has none now.
inline unsigned state_of_type(PyTypeObject* type) {
  return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? type->tp_version_tag : 0;
}

// A submodule or parameter of a name, which neither the class nor the instance's own dictionary
// holds.
struct KnownMember {
  std::uint64_t fields = 0;  // state of the instance's dictionary
  std::uint64_t parameters_state = 0, modules_state = 0;
  PyObject *parameters = nullptr, *modules = nullptr;  // both parameters, for one of those
  PyObject *name = nullptr, *value = nullptr;
  unsigned type = 0;
};

// The entry where this member is or will be known.
KnownMember& known_member(std::uint64_t fields, PyObject* name);

inline bool holds(const KnownMember& known, std::uint64_t fields, PyTypeObject* type,
                  PyObject* name) {
  return known.fields == fields && fields != 0 && known.name == name &&
         known.type == state_of_type(type) && known.type != 0 &&
         state_of(known.modules) == known.modules_state &&
         state_of(known.parameters) == known.parameters_state;
}

// The function of a direct forward and the attributes that follow its inputs.
struct KnownCall {
  std::uint64_t fields = 0;
  std::uint64_t parameters_state = 0, functions_state = 0;
  PyObject *parameters = nullptr, *functions = nullptr;
  PyObject *pre_hooks = nullptr, *hooks = nullptr;  // of the instance, null if it has none
  PyObject* direct = nullptr;  // description of the call below; null: not known
  PyObject* function = nullptr;
  unsigned type = 0;
  bool own_forward = false;  // the instance's dictionary holds one
  PyObject* attributes[kMostDirect] = {};
};

KnownCall& known_call(std::uint64_t fields);

inline bool holds(const KnownCall& known, PyTypeObject* type, PyObject* direct) {
  return known.direct == direct && known.type == state_of_type(type) && known.type != 0 &&
         state_of(known.parameters) == known.parameters_state &&
         state_of(known.functions) == known.functions_state;
}

}  // namespace tenon::python
