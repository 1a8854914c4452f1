// The base of tenon.nn.Module: reading attributes and calling, the two things that every layer does
// on every step. In Python a parameter's read costs a failed look-up, a formatted error and a
// frame.
#include "python/nn_module.h"

#include <algorithm>
#include <array>

#include "core/small_vector.h"
#include "python/module_reads.h"

namespace tenon::python {
namespace {

// Names in the dictionary of an instance.
struct Names {
  PyObject* parameters = PyUnicode_InternFromString("_parameters");
  PyObject* modules = PyUnicode_InternFromString("_modules");
  PyObject* buffers = PyUnicode_InternFromString("_buffers");
  PyObject* pre_hooks = PyUnicode_InternFromString("_forward_pre_hooks");
  PyObject* hooks = PyUnicode_InternFromString("_forward_hooks");
  PyObject* forward = PyUnicode_InternFromString("forward");
  PyObject* direct = PyUnicode_InternFromString("direct");
  PyObject* call_with_hooks = PyUnicode_InternFromString("_call_with_hooks");
};

const Names& names() {
  static const Names all;
  return all;
}

// What the type says of `__getattr__` and `__getattribute__` as long as no class overrides them.
PyTypeObject* base_type = nullptr;
PyObject* base_getattr = nullptr;
PyObject* base_getattribute = nullptr;

// A new reference to the instance's dictionary; null with an error if it has none.
PyObject* fields_of(PyObject* self) { return PyObject_GenericGetDict(self, nullptr); }

// A dictionary of the instance's; null if it has none of this name, or with an error.
PyObject* dictionary_of(PyObject* fields, PyObject* kind) {
  PyObject* found = PyDict_GetItemWithError(fields, kind);
  return found != nullptr && PyDict_Check(found) ? found : nullptr;
}

// The registered parameter, module or buffer of this name: a new reference, or null, with an error
// set only if looking failed. `read`: the dictionaries that were read, up to the one that has it.
PyObject* find_member(PyObject* fields, PyObject* name, std::array<PyObject*, 3>& read) {
  const std::array<PyObject*, 3> kinds{names().parameters, names().modules, names().buffers};
  PyObject* found = nullptr;
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    read[k] = dictionary_of(fields, kinds[k]);
    if (read[k] == nullptr) break;
    found = PyDict_GetItemWithError(read[k], name);
    if (found != nullptr || PyErr_Occurred() != nullptr) break;
  }
  return Py_XNewRef(found);
}

// find_member, or an AttributeError.
PyObject* get_member_of(PyObject* self, PyObject* fields, PyObject* name,
                        std::array<PyObject*, 3>& read) {
  PyObject* found = find_member(fields, name, read);
  if (found == nullptr && PyErr_Occurred() == nullptr) {
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%U'", Py_TYPE(self)->tp_name,
                 name);
  }
  return found;
}

// Module.__getattr__: for subclasses that define their own and call the base's.
PyObject* get_member(PyObject* self, PyObject* name) {
  PyObject* fields = fields_of(self);
  if (fields == nullptr) return nullptr;
  std::array<PyObject*, 3> read{};
  PyObject* found = get_member_of(self, fields, name, read);
  Py_DECREF(fields);
  return found;
}

PyObject* get_attribute(PyObject* self, PyObject* name) {
  PyObject** dictionary = _PyObject_GetDictPtr(self);
  PyObject* fields = dictionary != nullptr ? *dictionary : nullptr;
  const std::uint64_t state = fields != nullptr ? state_of(fields) : 0;
  KnownMember& known = known_member(state, name);
  if (holds(known, state, Py_TYPE(self), name)) return Py_NewRef(known.value);
  // Without an AttributeError when nothing is found.
  PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);
  if (found != nullptr || PyErr_Occurred() != nullptr) return found;
  if (state == 0 || *dictionary != fields || state_of(fields) != state) {
    return get_member(self, name);
  }
  std::array<PyObject*, 3> read{};
  found = get_member_of(self, fields, name, read);
  const bool is_buffer = read[2] != nullptr;
  if (found == nullptr || is_buffer || PyUnicode_CHECK_INTERNED(name) == 0) return found;
  PyObject* modules = read[1] != nullptr ? read[1] : read[0];  // not read for a parameter
  known = {.fields = state,
           .parameters_state = state_of(read[0]),
           .modules_state = state_of(modules),
           .parameters = read[0],
           .modules = modules,
           .name = name,
           .value = found,
           .type = state_of_type(Py_TYPE(self))};
  return found;
}

// Whether there are hooks; -1 with an error.
int has_hooks(const KnownCall& known) {
  for (PyObject* hooks : {known.pre_hooks, known.hooks}) {
    if (hooks == nullptr) return 0;
    if (PyDict_CheckExact(hooks) && PyDict_GET_SIZE(hooks) == 0) continue;
    const int any = PyObject_IsTrue(hooks);
    if (any != 0) return any;
  }
  return 0;
}

// function(self, *args, **kwargs)
PyObject* call_with_self(PyObject* function, PyObject* self, PyObject* args, PyObject* kwargs) {
  const Py_ssize_t positional = PyTuple_GET_SIZE(args);
  const Py_ssize_t keywords = kwargs != nullptr ? PyDict_GET_SIZE(kwargs) : 0;
  SmallVector<PyObject*, 10> stack;
  stack.push_back(self);
  for (Py_ssize_t i = 0; i < positional; i++) stack.push_back(PyTuple_GET_ITEM(args, i));
  PyObject* keys = nullptr;
  if (keywords > 0) {
    keys = PyTuple_New(keywords);
    if (keys == nullptr) return nullptr;
    Py_ssize_t at = 0, i = 0;
    PyObject *key, *value;
    while (PyDict_Next(kwargs, &at, &key, &value) != 0) {
      PyTuple_SET_ITEM(keys, i++, Py_NewRef(key));
      stack.push_back(value);
    }
  }
  PyObject* result =
      PyObject_Vectorcall(function, stack.data(), static_cast<size_t>(positional + 1), keys);
  Py_XDECREF(keys);
  return result;
}

// An attribute as get_attribute reads it, with the dictionaries at hand: a new reference; null with
// an error. `plain` becomes false if the class had a say in it.
PyObject* read_attribute(PyObject* self, PyObject* fields, PyObject* parameters, PyObject* name,
                         bool& plain) {
  if (plain && _PyType_Lookup(Py_TYPE(self), name) == nullptr) {
    PyObject* found = PyDict_GetItemWithError(fields, name);
    if (found == nullptr && PyErr_Occurred() == nullptr) {
      found = PyDict_GetItemWithError(parameters, name);
    }
    if (found != nullptr) return Py_NewRef(found);
    if (PyErr_Occurred() != nullptr) return nullptr;
  }
  plain = false;
  return PyObject_GetAttr(self, name);
}

// What a direct forward calls and passes after its inputs, all owned.
struct DirectReads {
  DirectReads() = default;
  ~DirectReads() {
    Py_XDECREF(function);
    for (Py_ssize_t i = 0; i < count; ++i) Py_DECREF(attributes[i]);
  }
  DirectReads(const DirectReads&) = delete;
  DirectReads& operator=(const DirectReads&) = delete;

  PyObject* function = nullptr;
  Py_ssize_t count = 0;
  PyObject* attributes[kMostDirect];
};

void recall_direct(DirectReads& reads, const KnownCall& known, Py_ssize_t count) {
  reads.function = Py_NewRef(known.function);
  for (; reads.count < count; ++reads.count) {
    reads.attributes[reads.count] = Py_NewRef(known.attributes[reads.count]);
  }
}

// False with a Python error.
bool read_direct(DirectReads& reads, PyObject* direct, PyObject* self, PyObject* fields) {
  PyObject* functions = PyTuple_GET_ITEM(direct, 0);
  PyObject* function_name = PyTuple_GET_ITEM(direct, 1);
  PyObject* names_held = PyTuple_GET_ITEM(direct, 3);
  reads.function = PyObject_GetAttr(functions, function_name);
  if (reads.function == nullptr) return false;
  const std::uint64_t state = state_of(fields);
  PyObject* parameters = dictionary_of(fields, names().parameters);
  bool plain = parameters != nullptr && Py_TYPE(self)->tp_getattro == get_attribute;
  for (; reads.count < PyTuple_GET_SIZE(names_held); ++reads.count) {
    PyObject* name = PyTuple_GET_ITEM(names_held, reads.count);
    PyObject* value = read_attribute(self, fields, parameters, name, plain);
    if (value == nullptr) return false;
    reads.attributes[reads.count] = value;
  }
  // An attribute of the class may have run anything.
  if (!plain || state == 0 || !PyModule_CheckExact(functions)) return true;
  KnownCall& known = known_call(state);
  PyObject* dictionary = PyModule_GetDict(functions);
  if (known.fields != state ||
      PyDict_GetItemWithError(dictionary, function_name) != reads.function) {
    return true;
  }
  known.direct = direct;
  known.function = reads.function;
  known.functions = dictionary;
  known.functions_state = state_of(dictionary);
  known.parameters = parameters;
  known.parameters_state = state_of(parameters);
  known.type = state_of_type(Py_TYPE(self));
  std::copy_n(reads.attributes, reads.count, known.attributes);
  return true;
}

// A forward of one call that a generated layer describes: (module of the function, its name, how
// many inputs, the attributes that follow them, the names of those that are keywords). The same as
// to run it, also if the module's function or the layer's attributes have been replaced.
PyObject* call_direct(PyObject* direct, PyObject* self, PyObject* fields, const KnownCall& known,
                      PyObject* args) {
  PyObject* keywords = PyTuple_GET_ITEM(direct, 4);
  const Py_ssize_t inputs = PyTuple_GET_SIZE(args), named = PyTuple_GET_SIZE(keywords);
  DirectReads reads;
  if (holds(known, Py_TYPE(self), direct)) {
    recall_direct(reads, known, PyTuple_GET_SIZE(PyTuple_GET_ITEM(direct, 3)));
  } else if (!read_direct(reads, direct, self, fields)) {
    return nullptr;
  }
  PyObject* stack[kMostDirect];
  for (Py_ssize_t i = 0; i < inputs; ++i) stack[i] = PyTuple_GET_ITEM(args, i);
  std::copy_n(reads.attributes, reads.count, stack + inputs);
  return PyObject_Vectorcall(reads.function, stack,
                             static_cast<size_t>(inputs + reads.count - named),
                             named > 0 ? keywords : nullptr);
}

// The description, if this call fits it (borrowed).
PyObject* direct_of(PyObject* function, PyObject* args, PyObject* kwargs) {
  PyObject* attributes = reinterpret_cast<PyFunctionObject*>(function)->func_dict;
  if (attributes == nullptr || kwargs != nullptr) return nullptr;
  PyObject* direct = PyDict_GetItemWithError(attributes, names().direct);
  if (direct == nullptr || !PyTuple_CheckExact(direct) || PyTuple_GET_SIZE(direct) != 5) {
    return nullptr;
  }
  const Py_ssize_t inputs = PyTuple_GET_SIZE(args);
  if (PyLong_AsSsize_t(PyTuple_GET_ITEM(direct, 2)) != inputs) return nullptr;
  return inputs + PyTuple_GET_SIZE(PyTuple_GET_ITEM(direct, 3)) <= kMostDirect ? direct : nullptr;
}

// A function found in the class is called without a bound method in between.
PyObject* call_forward(PyObject* self, PyObject* fields, const KnownCall& known, PyObject* args,
                       PyObject* kwargs) {
  if (!known.own_forward && Py_TYPE(self)->tp_getattro == get_attribute) {
    // As the class holds it: a static method is not a function here.
    PyObject* function = _PyType_Lookup(Py_TYPE(self), names().forward);
    if (function != nullptr && PyFunction_Check(function)) {
      Py_INCREF(function);
      PyObject* direct = direct_of(function, args, kwargs);
      PyObject* result = direct != nullptr ? call_direct(direct, self, fields, known, args)
                                           : call_with_self(function, self, args, kwargs);
      Py_DECREF(function);
      return result;
    }
  }
  PyObject* method = PyObject_GetAttr(self, names().forward);
  if (method == nullptr) return nullptr;
  PyObject* result = PyObject_Call(method, args, kwargs);
  Py_DECREF(method);
  return result;
}

// What a call reads of the instance's own dictionary; null with a Python error.
KnownCall* known_of(PyObject* fields) {
  const std::uint64_t state = state_of(fields);
  KnownCall& known = known_call(state);
  if (known.fields == state && state != 0) return &known;
  known = {.fields = state};
  known.pre_hooks = PyDict_GetItemWithError(fields, names().pre_hooks);
  known.hooks = PyDict_GetItemWithError(fields, names().hooks);
  known.own_forward = PyDict_GetItemWithError(fields, names().forward) != nullptr;
  return PyErr_Occurred() == nullptr ? &known : nullptr;
}

PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* fields = fields_of(self);
  if (fields == nullptr) return nullptr;
  const KnownCall* known = known_of(fields);
  const int hooks = known == nullptr ? -1 : has_hooks(*known);
  PyObject* result = nullptr;
  if (hooks == 0) {
    result = call_forward(self, fields, *known, args, kwargs);
  } else if (hooks > 0) {
    PyObject* given = kwargs != nullptr ? Py_NewRef(kwargs) : PyDict_New();
    if (given != nullptr) {
      result = PyObject_CallMethodObjArgs(self, names().call_with_hooks, args, given, nullptr);
      Py_DECREF(given);
    }
  }
  Py_DECREF(fields);
  return result;
}

// A class below has `__getattr__` among its bases, for which CPython gives it a slot that looks up
// both methods by name on every read. Where both are this type's and the object's own, the slot
// above says the same. Assigning either name to a class sets the slots of all classes below anew.
PyObject* init_subclass(PyObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* super =
      PyObject_CallFunction(reinterpret_cast<PyObject*>(&PySuper_Type), "OO", base_type, type);
  if (super == nullptr) return nullptr;
  PyObject* next = PyObject_GetAttrString(super, "__init_subclass__");
  Py_DECREF(super);
  if (next == nullptr) return nullptr;
  PyObject* done = PyObject_Call(next, args, kwargs);
  Py_DECREF(next);
  if (done == nullptr) return nullptr;
  PyObject* getattr = PyObject_GetAttrString(type, "__getattr__");
  PyObject* getattribute = PyObject_GetAttrString(type, "__getattribute__");
  if (getattr == base_getattr && getattribute == base_getattribute) {
    reinterpret_cast<PyTypeObject*>(type)->tp_getattro = get_attribute;
  }
  Py_XDECREF(getattr);
  Py_XDECREF(getattribute);
  PyErr_Clear();
  return done;
}

PyMethodDef methods[] = {
    {"__getattr__", get_member, METH_O | METH_COEXIST,
     "A registered parameter, module or buffer; AttributeError if there is none."},
    {"__init_subclass__", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(init_subclass)),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool make_module_base(PyObject* module) {
  names();
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Attributes and calls of tenon.nn.Module.")},
      {Py_tp_methods, methods},
      {Py_tp_call, reinterpret_cast<void*>(call)},
      {0, nullptr},
  };
  PyType_Spec spec = {
      .name = "tenon.nn._ModuleBase",
      .basicsize = 0,  // the object's own: nothing is added
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
      .slots = slots,
  };
  PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) return false;
  base_type = reinterpret_cast<PyTypeObject*>(type);
  base_getattr = PyObject_GetAttrString(type, "__getattr__");
  base_getattribute = PyObject_GetAttrString(type, "__getattribute__");
  if (base_getattr == nullptr || base_getattribute == nullptr) return false;
  return PyModule_AddObjectRef(module, "_ModuleBase", type) == 0;
}

}  // namespace tenon::python
