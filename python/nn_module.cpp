// The base of tenon.nn.Module: reading attributes and calling, the two things that every layer does
// on every step. In Python a parameter's read costs a failed look-up, a formatted error and a
// frame.
#include "python/nn_module.h"

#include "core/small_vector.h"

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

constexpr Py_ssize_t kMostDirect = 12;  // inputs and attributes of a forward

// What the type says of `__getattr__` and `__getattribute__` as long as no class overrides them.
PyTypeObject* base_type = nullptr;
PyObject* base_getattr = nullptr;
PyObject* base_getattribute = nullptr;

// A new reference to the instance's dictionary; null with an error if it has none.
PyObject* fields_of(PyObject* self) { return PyObject_GenericGetDict(self, nullptr); }

// The registered parameter, module or buffer of this name: a new reference, or null, with an error
// set only if looking failed.
PyObject* find_member(PyObject* self, PyObject* name) {
  PyObject* fields = fields_of(self);
  if (fields == nullptr) return nullptr;
  PyObject* found = nullptr;
  for (PyObject* kind : {names().parameters, names().modules, names().buffers}) {
    PyObject* members = PyDict_GetItemWithError(fields, kind);
    if (members == nullptr || !PyDict_Check(members)) break;
    found = PyDict_GetItemWithError(members, name);
    if (found != nullptr || PyErr_Occurred() != nullptr) break;
  }
  Py_XINCREF(found);
  Py_DECREF(fields);
  return found;
}

// Module.__getattr__: for subclasses that define their own and call the base's.
PyObject* get_member(PyObject* self, PyObject* name) {
  PyObject* found = find_member(self, name);
  if (found == nullptr && PyErr_Occurred() == nullptr) {
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%U'", Py_TYPE(self)->tp_name,
                 name);
  }
  return found;
}

PyObject* get_attribute(PyObject* self, PyObject* name) {
  // Without an AttributeError when nothing is found.
  PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);
  if (found != nullptr || PyErr_Occurred() != nullptr) return found;
  return get_member(self, name);
}

// Whether the instance has hooks, in its own dictionary; -1 with an error.
int has_hooks(PyObject* fields) {
  for (PyObject* kind : {names().pre_hooks, names().hooks}) {
    PyObject* hooks = PyDict_GetItemWithError(fields, kind);
    if (hooks == nullptr) return PyErr_Occurred() != nullptr ? -1 : 0;
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

// The attributes of one instance, read several times: what get_attribute says, with the
// dictionaries at hand.
class Fields {
 public:
  Fields(PyObject* self, PyObject* fields) : self_(self), fields_(fields) {
    if (Py_TYPE(self)->tp_getattro != get_attribute) return;
    PyObject* parameters = PyDict_GetItemWithError(fields, names().parameters);
    if (parameters != nullptr && PyDict_Check(parameters)) parameters_ = Py_NewRef(parameters);
  }
  ~Fields() { Py_XDECREF(parameters_); }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  // A new reference; null with an error.
  PyObject* read(PyObject* name) {
    if (parameters_ != nullptr && _PyType_Lookup(Py_TYPE(self_), name) == nullptr) {
      PyObject* found = PyDict_GetItemWithError(fields_, name);
      if (found == nullptr && PyErr_Occurred() == nullptr) {
        found = PyDict_GetItemWithError(parameters_, name);
      }
      if (found != nullptr) return Py_NewRef(found);
      if (PyErr_Occurred() != nullptr) return nullptr;
    }
    return PyObject_GetAttr(self_, name);
  }

 private:
  PyObject* self_;
  PyObject* fields_;
  PyObject* parameters_ = nullptr;  // null: read as any object
};

// A forward of one call that a generated layer describes: (module of the function, its name, how
// many inputs, the attributes that follow them, the names of those that are keywords). The same as
// to run it, also if the module's function or the layer's attributes have been replaced.
PyObject* call_direct(PyObject* direct, PyObject* self, PyObject* dictionary, PyObject* args) {
  Fields fields(self, dictionary);
  PyObject* held = PyTuple_GET_ITEM(direct, 3);
  PyObject* keywords = PyTuple_GET_ITEM(direct, 4);
  const Py_ssize_t inputs = PyTuple_GET_SIZE(args), attributes = PyTuple_GET_SIZE(held);
  PyObject* stack[kMostDirect] = {};
  for (Py_ssize_t i = 0; i < inputs; ++i) stack[i] = PyTuple_GET_ITEM(args, i);
  PyObject* function = PyObject_GetAttr(PyTuple_GET_ITEM(direct, 0), PyTuple_GET_ITEM(direct, 1));
  PyObject* result = nullptr;
  Py_ssize_t found = 0;
  if (function != nullptr) {
    for (; found < attributes; ++found) {
      PyObject* value = fields.read(PyTuple_GET_ITEM(held, found));
      if (value == nullptr) break;
      stack[inputs + found] = value;
    }
    if (found == attributes) {
      const Py_ssize_t named = PyTuple_GET_SIZE(keywords);
      result =
          PyObject_Vectorcall(function, stack, static_cast<size_t>(inputs + attributes - named),
                              named > 0 ? keywords : nullptr);
    }
  }
  for (Py_ssize_t i = 0; i < found; ++i) Py_DECREF(stack[inputs + i]);
  Py_XDECREF(function);
  return result;
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
PyObject* call_forward(PyObject* self, PyObject* fields, PyObject* args, PyObject* kwargs) {
  PyObject* own = PyDict_GetItemWithError(fields, names().forward);
  if (own == nullptr && PyErr_Occurred() != nullptr) return nullptr;
  if (own == nullptr && Py_TYPE(self)->tp_getattro == get_attribute) {
    // As the class holds it: a static method is not a function here.
    PyObject* function = _PyType_Lookup(Py_TYPE(self), names().forward);
    if (function != nullptr && PyFunction_Check(function)) {
      Py_INCREF(function);
      PyObject* direct = direct_of(function, args, kwargs);
      PyObject* result = direct != nullptr ? call_direct(direct, self, fields, args)
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

PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* fields = fields_of(self);
  if (fields == nullptr) return nullptr;
  const int hooks = has_hooks(fields);
  PyObject* result = nullptr;
  if (hooks == 0) {
    result = call_forward(self, fields, args, kwargs);
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
