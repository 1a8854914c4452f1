#include "python/compile.h"

#include <structmember.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/optimizations.h"
#include "python/arguments.h"
#include "python/caster.h"
#include "python/compile_entry.h"
#include "python/deferred_release.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

struct CompiledObject {
  PyObject_HEAD PyObject* dict;
  PyObject* weak_references;
  PyObject* slow;
  Py_ssize_t skipped;
  Py_ssize_t misses;  // calls that read a boolean whose answer wasn't known, less those that did
  char runs_at_once;  // a call is a program of its own: nothing stays pending around it
  std::vector<std::shared_ptr<Entry>> entries;
};

constexpr size_t kMostEntries = 8;
constexpr Py_ssize_t kMostMisses = 16;

bool is_watched() {  // by a debugger or a profiler, which must see the lines
#if PY_VERSION_HEX < 0x030c0000
  const PyThreadState* state = PyThreadState_Get();
  return state->c_tracefunc != nullptr || state->c_profilefunc != nullptr;
#else
  return true;
#endif
}

PyObject* build(const Template& shape, std::vector<Tensor>& results, std::vector<PyObject*>& made,
                const Slots& slots) {
  switch (shape.kind) {
    case Template::Kind::Result: {
      PyObject*& object = made[shape.index];
      if (object == nullptr) object = wrap(std::move(results[shape.index]));
      return Py_NewRef(object);
    }
    case Template::Kind::Given:
      return Py_NewRef(slots.objects[shape.index]);
    case Template::Kind::Constant:
      return Py_NewRef(shape.object);
    default:
      break;
  }
  const auto count = static_cast<Py_ssize_t>(shape.parts.size());
  PyObject* whole = checked(shape.kind == Template::Kind::List    ? PyList_New(count)
                            : shape.kind == Template::Kind::Tuple ? PyTuple_New(count)
                                                                  : PyDict_New());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* part = build(shape.parts[i], results, made, slots);
    if (shape.kind == Template::Kind::List) {
      PyList_SET_ITEM(whole, i, part);
    } else if (shape.kind == Template::Kind::Tuple) {
      PyTuple_SET_ITEM(whole, i, part);
    } else {
      PyDict_SetItem(whole, shape.keys[i], part);
      Py_DECREF(part);
    }
  }
  return whole;
}

// Null without an error: a boolean has another answer than the entry's, or what was read no longer
// holds.
PyObject* run(const std::shared_ptr<Entry>& entry, const Slots& slots, PyObject* args,
              PyObject* kwargs, Answers& known) {
  const std::span<const Scalar> numbers = slots.numbers.scalars();
  std::vector<Tensor> results;
  if (entry->effects.empty()) {
    results = entry->launch->run(*entry->capture, slots.tensors, numbers);
    if (results.empty()) results = replay(*entry->capture, slots.tensors, numbers);
  } else {
    const auto still_holds = [&] {  // other threads may have run
      Slots again;
      return matches(*entry, args, kwargs, again) && again.objects == slots.objects;
    };
    auto done = replay_with_effects(*entry, slots, known, still_holds);
    if (!done) return nullptr;
    results = std::move(*done);
  }
  std::vector<PyObject*> made(results.size(), nullptr);
  struct Made {
    std::vector<PyObject*>& objects;
    ~Made() {
      for (PyObject* object : objects) Py_XDECREF(object);
    }
  } holder{made};
  return build(entry->result, results, made, slots);
}

bool draws(const Entry& entry) {
  return entry.capture->draws ||
         std::ranges::any_of(entry.capture->before,
                             [](const Capture::Part& part) { return part.capture->draws; });
}

// Too many calls went back to Python after some of it had run: a loop that takes ever other turns.
void drop_readers(CompiledObject* compiled) {
  std::erase_if(compiled->entries, [](const auto& entry) { return !entry->answers.empty(); });
}

// The first entry that fits; null without an error where none does.
PyObject* skip_python(CompiledObject* compiled, PyObject* args, PyObject* kwargs) {
  Slots slots;
  Answers known;
  const Generator generator = [] {
    TraceLock lock;
    return default_generator();
  }();
  for (size_t i = 0; i < compiled->entries.size(); ++i) {
    const std::shared_ptr<Entry> entry = compiled->entries[i];
    if (!agrees(*entry, known) || !matches(*entry, args, kwargs, slots)) continue;
    if (compiled->runs_at_once) flush();
    PyObject* result = run(entry, slots, args, kwargs, known);
    if (result == nullptr) {  // as if nothing had been drawn
      if (draws(*entry)) {
        TraceLock lock;
        default_generator() = generator;
      }
      continue;
    }
    if (compiled->runs_at_once) flush();
    ++compiled->skipped;
    if (!known.empty() && compiled->misses > 0) --compiled->misses;
    if (i > 0 && i < compiled->entries.size() && compiled->entries[i] == entry) {
      std::swap(compiled->entries[i], compiled->entries[i - 1]);  // the likeliest first
    }
    return result;
  }
  if (!known.empty() && ++compiled->misses >= kMostMisses) drop_readers(compiled);
  return nullptr;
}

PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  auto* compiled = reinterpret_cast<CompiledObject*>(self);
  if (!compiled->entries.empty() && !is_watched() && is_enabled(Optimization::SkipPython)) {
    PyObject* result = guarded([&] { return skip_python(compiled, args, kwargs); });
    if (result != nullptr || PyErr_Occurred()) return result;
  }
  if (compiled->slow == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a compiled function without a function");
    return nullptr;
  }
  PyObject* slow = Py_NewRef(compiled->slow);
  PyObject* result = PyObject_Call(slow, args, kwargs);
  Py_DECREF(slow);
  return result;
}

PyObject* add_entry(PyObject* self, PyObject* args) {
  return guarded([&]() -> PyObject* {
    std::shared_ptr<Entry> entry = read_entry(args);
    auto& entries = reinterpret_cast<CompiledObject*>(self)->entries;
    if (entries.size() == kMostEntries) entries.pop_back();
    entries.insert(entries.begin(), std::move(entry));
    Py_RETURN_NONE;
  });
}

// why(args, kwargs)
PyObject* tell_why(PyObject* self, PyObject* given) {
  PyObject *args, *kwargs;
  if (!PyArg_ParseTuple(given, "O!O!", &PyTuple_Type, &args, &PyDict_Type, &kwargs)) return nullptr;
  return guarded([&] {
    std::string why;
    for (const auto& entry : reinterpret_cast<CompiledObject*>(self)->entries) {
      why = why_not(*entry, args, kwargs);
      if (!why.empty()) break;
    }
    return checked(PyUnicode_FromStringAndSize(why.data(), static_cast<Py_ssize_t>(why.size())));
  });
}

PyObject* clear_entries(PyObject* self, PyObject*) {
  reinterpret_cast<CompiledObject*>(self)->entries.clear();
  release_deferred();
  Py_RETURN_NONE;
}

PyObject* count_entries(PyObject* self, PyObject*) {
  return PyLong_FromSize_t(reinterpret_cast<CompiledObject*>(self)->entries.size());
}

// ---- the type
// ------------------------------------------------------------------------------------

PyObject* create(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr)
    new (&reinterpret_cast<CompiledObject*>(self)->entries) decltype(CompiledObject::entries)();
  return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  auto* compiled = reinterpret_cast<CompiledObject*>(self);
  Py_VISIT(compiled->dict);
  Py_VISIT(compiled->slow);
  Py_VISIT(Py_TYPE(self));
  for (const auto& entry : compiled->entries) {
    if (entry.use_count() > 1) continue;  // a call is under way
    for (PyObject* object : entry->references) Py_VISIT(object);
  }
  return 0;
}

int clear(PyObject* self) {
  auto* compiled = reinterpret_cast<CompiledObject*>(self);
  Py_CLEAR(compiled->dict);
  Py_CLEAR(compiled->slow);
  compiled->entries.clear();
  return 0;
}

void deallocate(PyObject* self) {
  auto* compiled = reinterpret_cast<CompiledObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (compiled->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  clear(self);
  using Entries = decltype(compiled->entries);
  compiled->entries.~Entries();
  release_deferred();
  type->tp_free(self);
  Py_DECREF(type);
}

// As a function in a class: bound to the instance.
PyObject* bind(PyObject* self, PyObject* instance, PyObject*) {
  if (instance == nullptr || instance == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, instance);
}

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(CompiledObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CompiledObject, weak_references), READONLY,
     nullptr},
    {"_slow", T_OBJECT, offsetof(CompiledObject, slow), 0, nullptr},
    {"_skipped", T_PYSSIZET, offsetof(CompiledObject, skipped), 0, nullptr},
    {"_misses", T_PYSSIZET, offsetof(CompiledObject, misses), READONLY, nullptr},
    {"_runs_at_once", T_BOOL, offsetof(CompiledObject, runs_at_once), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"_add", add_entry, METH_VARARGS, "A call that may stand for others."},
    {"_why", tell_why, METH_VARARGS, "What has changed for a call that none stands for."},
    {"_clear", clear_entries, METH_NOARGS, "Forgets them."},
    {"_count", count_entries, METH_NOARGS, "How many there are."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool make_compiled_type(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Calls of tenon.compile's functions.")},
      {Py_tp_new, reinterpret_cast<void*>(create)},
      {Py_tp_call, reinterpret_cast<void*>(call)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(clear)},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_descr_get, reinterpret_cast<void*>(bind)},
      {Py_tp_members, members},
      {Py_tp_getset, attributes},
      {Py_tp_methods, methods},
      {0, nullptr},
  };
  PyType_Spec spec = {
      .name = "tenon._CompiledBase",
      .basicsize = sizeof(CompiledObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
      .slots = slots,
  };
  PyObject* type = PyType_FromSpec(&spec);
  return type != nullptr && PyModule_AddObjectRef(module, "_CompiledBase", type) == 0;
}

}  // namespace tenon::python
