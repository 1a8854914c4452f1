#include "python/compile_entry.h"

#include <algorithm>
#include <string>

#include "autograd/autograd.h"
#include "core/error.h"
#include "python/arguments.h"
#include "python/caster.h"
#include "python/compile.h"
#include "python/deferred_release.h"
#include "python/tensor_type.h"

namespace nb = nanobind;

namespace tenon::python {

Entry::~Entry() {
  for (PyObject* object : references) release_later(object);
}

namespace {

bool has_attributes(PyObject* tensor) {
  PyObject* dict = reinterpret_cast<TensorObject*>(tensor)->dict;
  return dict != nullptr && PyDict_GET_SIZE(dict) > 0;
}

bool fits(const ArgumentGuard& guard, PyObject* object, Slots& slots) {
  switch (guard.kind) {
    case ArgumentGuard::Kind::Tensor: {
      if (reinterpret_cast<PyObject*>(Py_TYPE(object)) != guard.object) return false;
      const Tensor& tensor = to_tensor(object);
      if (!tensor.defined() || tensor.type_id() != guard.type || has_attributes(object) ||
          tensor.requires_grad() != guard.requires_grad) {
        return false;
      }
      slots.tensors.push_back(tensor);
      slots.objects.push_back(object);
      return true;
    }
    case ArgumentGuard::Kind::Number:
      slots.arguments.push_back(object);
      return true;
    case ArgumentGuard::Kind::Value:
      return is_same_value(guard.object, object);
    case ArgumentGuard::Kind::Same:
      return guard.object == object;
    case ArgumentGuard::Kind::List:
    case ArgumentGuard::Kind::Tuple: {
      const bool is_list = guard.kind == ArgumentGuard::Kind::List;
      if (is_list ? !PyList_CheckExact(object) : !PyTuple_CheckExact(object)) return false;
      const auto count = static_cast<size_t>(Py_SIZE(object));
      if (count != guard.parts.size()) return false;
      for (size_t i = 0; i < count; ++i) {
        PyObject* item = is_list ? PyList_GET_ITEM(object, i) : PyTuple_GET_ITEM(object, i);
        if (!fits(guard.parts[i], item, slots)) return false;
      }
      return true;
    }
    case ArgumentGuard::Kind::Dict: {
      if (!PyDict_CheckExact(object)) return false;
      if (static_cast<size_t>(PyDict_GET_SIZE(object)) != guard.parts.size()) return false;
      Py_ssize_t at = 0;
      size_t i = 0;
      PyObject *key, *value;
      while (PyDict_Next(object, &at, &key, &value) != 0) {  // in the same order
        if (!is_same_value(guard.keys[i], key) || !fits(guard.parts[i], value, slots)) return false;
        ++i;
      }
      return true;
    }
  }
  return false;
}

bool holds(const Guard& guard) {
  switch (guard.kind) {
    case Guard::Kind::Item: {
      PyObject* value = PyDict_GetItemWithError(guard.object, guard.key);
      if (value == nullptr) PyErr_Clear();
      return value == guard.value;
    }
    case Guard::Kind::TypeVersion:
      return reinterpret_cast<PyTypeObject*>(guard.object)->tp_version_tag == guard.version;
    case Guard::Kind::Class:
      return reinterpret_cast<PyObject*>(Py_TYPE(guard.object)) == guard.value;
    case Guard::Kind::List:
      return static_cast<size_t>(PyList_GET_SIZE(guard.object)) == guard.parts.size() &&
             std::equal(guard.parts.begin(), guard.parts.end(),
                        reinterpret_cast<PyListObject*>(guard.object)->ob_item);
    case Guard::Kind::Cell:
      return PyCell_GET(guard.object) == guard.value;
    case Guard::Kind::Function: {
      const auto* function = reinterpret_cast<PyFunctionObject*>(guard.object);
      return function->func_code == guard.parts[0] && function->func_defaults == guard.parts[1] &&
             function->func_kwdefaults == guard.parts[2] &&
             function->func_closure == guard.parts[3];
    }
    case Guard::Kind::Fields: {
      PyObject** fields = _PyObject_GetDictPtr(guard.object);
      return fields != nullptr && *fields == guard.value;
    }
    case Guard::Kind::Dict: {
      if (static_cast<size_t>(PyDict_GET_SIZE(guard.object)) * 2 != guard.parts.size()) {
        return false;
      }
      Py_ssize_t at = 0;
      size_t i = 0;
      PyObject *key, *value;
      while (PyDict_Next(guard.object, &at, &key, &value) != 0) {
        if (key != guard.parts[i] || value != guard.parts[i + 1]) return false;
        i += 2;
      }
      return true;
    }
  }
  return false;
}

// ---- entries, as the proof describes them
// --------------------------------------------------------

ArgumentGuard read_argument(Entry& entry, nb::handle described, size_t& slot) {
  const nb::tuple parts = nb::borrow<nb::tuple>(described);
  const std::string kind = nb::cast<std::string>(parts[0]);
  ArgumentGuard guard{};
  if (kind == "tensor") {
    const Tensor& tensor = to_tensor(nb::handle(parts[1]).ptr());
    guard.kind = ArgumentGuard::Kind::Tensor;
    guard.object = reinterpret_cast<PyObject*>(Py_TYPE(nb::handle(parts[1]).ptr()));
    guard.type = tensor.type_id();
    guard.requires_grad = tensor.requires_grad();
    entry.keep(guard.object);
    ++slot;
    return guard;
  }
  if (kind == "number") {
    guard.kind = ArgumentGuard::Kind::Number;
    return guard;
  }
  if (kind == "value" || kind == "same") {
    guard.kind = kind == "value" ? ArgumentGuard::Kind::Value : ArgumentGuard::Kind::Same;
    guard.object = entry.keep(nb::handle(parts[1]).ptr());
    return guard;
  }
  guard.kind = kind == "list"    ? ArgumentGuard::Kind::List
               : kind == "tuple" ? ArgumentGuard::Kind::Tuple
                                 : ArgumentGuard::Kind::Dict;
  for (nb::handle part : parts[1]) guard.parts.push_back(read_argument(entry, part, slot));
  if (kind == "dict") {
    for (nb::handle key : parts[2]) guard.keys.push_back(entry.keep(key.ptr()));
  }
  return guard;
}

Guard read_guard(Entry& entry, nb::handle described) {
  const nb::tuple parts = nb::borrow<nb::tuple>(described);
  const std::string kind = nb::cast<std::string>(parts[0]);
  Guard guard{};
  guard.object = entry.keep(nb::handle(parts[1]).ptr());
  const auto at = [&](size_t i) { return entry.keep(nb::handle(parts[i]).ptr()); };
  const auto or_null = [](PyObject* object) { return object == Py_None ? nullptr : object; };
  if (kind == "item") {
    guard.kind = Guard::Kind::Item;
    guard.key = at(2);
    if (parts.size() > 3) guard.value = at(3);
  } else if (kind == "type") {
    guard.kind = Guard::Kind::TypeVersion;
    auto* type = reinterpret_cast<PyTypeObject*>(guard.object);
    PyObject* name = PyUnicode_InternFromString("__class__");
    _PyType_Lookup(type, name);  // gives it a version
    Py_DECREF(name);
    guard.version = type->tp_version_tag;
    check(guard.version != 0, ErrorKind::Runtime, "a type without a version");
  } else if (kind == "class") {
    guard.kind = Guard::Kind::Class;
    guard.value = at(2);
  } else if (kind == "list") {
    guard.kind = Guard::Kind::List;
    for (nb::handle item : parts[2]) guard.parts.push_back(entry.keep(item.ptr()));
  } else if (kind == "cell") {
    guard.kind = Guard::Kind::Cell;
    guard.value = at(2);
  } else if (kind == "function") {
    guard.kind = Guard::Kind::Function;
    const auto* function = reinterpret_cast<PyFunctionObject*>(guard.object);
    for (PyObject* part : {function->func_code, function->func_defaults, function->func_kwdefaults,
                           function->func_closure}) {
      guard.parts.push_back(part == nullptr ? nullptr : entry.keep(or_null(part)));
    }
  } else if (kind == "fields") {
    guard.kind = Guard::Kind::Fields;
    guard.value = at(2);
  } else {
    guard.kind = Guard::Kind::Dict;
    for (nb::handle part : parts[2]) guard.parts.push_back(entry.keep(part.ptr()));
  }
  return guard;
}

// ((type, value or None, is scalar, kind, parts...), ...), ((number, with, equal), ...)
NumberGuards read_numbers(Entry& entry, nb::handle described) {
  const nb::tuple lists = nb::borrow<nb::tuple>(described);
  NumberGuards guards;
  for (nb::handle handle : lists[0]) {
    const nb::tuple parts = nb::borrow<nb::tuple>(handle);
    const auto at = [&](size_t i) { return entry.keep(nb::handle(parts[i]).ptr()); };
    NumberGuard guard{};
    guard.type = reinterpret_cast<PyTypeObject*>(at(0));
    if (!parts[1].is_none()) guard.value = at(1);
    guard.is_scalar = nb::cast<bool>(parts[2]);
    const std::string kind = nb::cast<std::string>(parts[3]);
    if (kind == "argument") {
      guard.kind = NumberGuard::Kind::Argument;
      guard.argument = nb::cast<uint32_t>(parts[4]);
    } else if (kind == "item") {
      guard.kind = NumberGuard::Kind::Item;
      guard.object = at(4);
      guard.key = at(5);
    } else if (kind == "cell") {
      guard.kind = NumberGuard::Kind::Cell;
      guard.object = at(4);
    } else {
      guard.kind = NumberGuard::Kind::Result;
      guard.object = at(4);
      for (nb::handle operand : nb::borrow<nb::tuple>(parts[5])) {  // (number,) or (None, constant)
        const nb::tuple pair = nb::borrow<nb::tuple>(operand);
        if (pair.size() == 1) {
          guard.operands.push_back({nb::cast<uint32_t>(pair[0]), nullptr});
        } else {
          guard.operands.push_back({0, entry.keep(nb::handle(pair[1]).ptr())});
        }
      }
    }
    guards.numbers.push_back(std::move(guard));
  }
  for (nb::handle handle : lists[1]) {
    const nb::tuple parts = nb::borrow<nb::tuple>(handle);
    guards.comparisons.push_back(
        {nb::cast<uint32_t>(parts[0]), nb::cast<double>(parts[1]), nb::cast<bool>(parts[2])});
  }
  return guards;
}

Template read_template(Entry& entry, nb::handle described) {
  const nb::tuple parts = nb::borrow<nb::tuple>(described);
  const std::string kind = nb::cast<std::string>(parts[0]);
  Template shape{};
  if (kind == "result" || kind == "given") {
    shape.kind = kind == "result" ? Template::Kind::Result : Template::Kind::Given;
    shape.index = nb::cast<size_t>(parts[1]);
  } else if (kind == "constant") {
    shape.kind = Template::Kind::Constant;
    shape.object = entry.keep(nb::handle(parts[1]).ptr());
  } else {
    shape.kind = kind == "list"    ? Template::Kind::List
                 : kind == "tuple" ? Template::Kind::Tuple
                                   : Template::Kind::Dict;
    for (nb::handle part : parts[1]) shape.parts.push_back(read_template(entry, part));
    if (kind == "dict") {
      for (nb::handle key : parts[2]) shape.keys.push_back(entry.keep(key.ptr()));
    }
  }
  return shape;
}

EffectCall read_effect(Entry& entry, nb::handle described) {
  const nb::tuple parts = nb::borrow<nb::tuple>(described);
  const std::string kind = nb::cast<std::string>(parts[0]);
  EffectCall call{};
  if (kind == "backward") {
    call.effect = Effect::Backward;
  } else if (kind == "step") {
    call.effect = Effect::Step;
    call.function = entry.keep(nb::handle(parts[1]).ptr());
    call.groups.push_back(entry.keep(nb::handle(parts[2]).ptr()));
    call.state = entry.keep(nb::handle(parts[3]).ptr());
  } else if (kind.starts_with("read")) {
    call.effect = Effect::Read;
    call.answer = nb::cast<bool>(parts[1]);
    entry.answers.push_back(call.answer);
  } else {
    call.effect = Effect::ZeroGrad;
    for (nb::handle groups : parts[1]) call.groups.push_back(entry.keep(groups.ptr()));
  }
  return call;
}

std::string text_of(PyObject* object) {
  PyObject* text = PyObject_Repr(object);
  const char* bytes = text ? PyUnicode_AsUTF8(text) : nullptr;
  std::string copy = bytes ? bytes : "?";
  Py_XDECREF(text);
  PyErr_Clear();
  return copy.size() > 60 ? copy.substr(0, 57) + "..." : copy;
}

}  // namespace

static bool fits_arguments(const Entry& entry, PyObject* args, PyObject* kwargs, Slots& slots) {
  slots.tensors.clear();
  slots.objects.clear();
  slots.arguments.clear();
  if (!can_replay(*entry.capture) || default_dtype() != entry.default_dtype) return false;
  if (static_cast<size_t>(PyTuple_GET_SIZE(args)) != entry.positional.size()) return false;
  if (static_cast<size_t>(kwargs ? PyDict_GET_SIZE(kwargs) : 0) != entry.names.size()) return false;
  slots.tensors.reserve(entry.slots);
  for (size_t i = 0; i < entry.positional.size(); ++i) {
    if (!fits(entry.positional[i], PyTuple_GET_ITEM(args, i), slots)) return false;
  }
  if (kwargs != nullptr) {
    Py_ssize_t at = 0;
    size_t i = 0;
    PyObject *key, *value;
    while (PyDict_Next(kwargs, &at, &key, &value) != 0) {
      if (!is_same_value(entry.names[i], key) || !fits(entry.keyword[i], value, slots)) {
        return false;
      }
      ++i;
    }
  }
  const size_t arguments = slots.tensors.size();
  for (const Captured& captured : entry.captured) {
    const Tensor& tensor = to_tensor(captured.object);
    if (tensor.cell().get() != captured.cell || tensor.type_id() != captured.type ||
        has_attributes(captured.object) || tensor.requires_grad() != captured.requires_grad) {
      return false;
    }
    slots.tensors.push_back(tensor);
    slots.objects.push_back(captured.object);
  }
  if (entry.effects.size() > entry.answers.size()) {
    // No code of the user's may run in a backward pass, since nothing is checked after it.
    const auto has_code = [](const Tensor& x) { return x.requires_grad() && !x.is_leaf(); };
    if (autograd::hooks_asked_for() != entry.hooks || std::ranges::any_of(slots.tensors, has_code))
      return false;
  }
  // The same tensors in the same places, and different ones in the others. Captured ones are those
  // of before, so that they need no comparison with each other.
  for (size_t k = 0; k < slots.tensors.size(); ++k) {
    uint32_t first = 0;
    while (first < arguments && !slots.tensors[first].same(slots.tensors[k])) ++first;
    const uint32_t was = entry.first_alias[k];
    if (first == arguments ? was < arguments : first != was) return false;
    if (first < arguments && slots.objects[first] != slots.objects[k]) return false;
  }
  return true;
}

bool matches(const Entry& entry, PyObject* args, PyObject* kwargs, Slots& slots) {
  return fits_arguments(entry, args, kwargs, slots) && std::ranges::all_of(entry.guards, holds) &&
         slots.numbers.compute(entry.numbers, slots.arguments);
}

// Which number is not what it was.
static std::string why_not(const NumberGuard& guard) {
  switch (guard.kind) {
    case NumberGuard::Kind::Argument:  // a call of another kind
      return {};
    case NumberGuard::Kind::Item:
      return text_of(guard.key) + " is another number";
    case NumberGuard::Kind::Cell:
      return "a variable of an outer function is another number";
    case NumberGuard::Kind::Result:
      return "what numbers decide is another";
  }
  return {};
}

std::string why_not(const Entry& entry, PyObject* args, PyObject* kwargs) {
  Slots slots;
  if (!fits_arguments(entry, args, kwargs, slots)) return {};  // a call of another kind
  const auto broken = std::ranges::find_if_not(entry.guards, holds);
  if (broken == entry.guards.end()) {
    if (slots.numbers.compute(entry.numbers, slots.arguments)) return {};
    return why_not(entry.numbers.numbers[slots.numbers.failed()]);
  }
  switch (broken->kind) {
    case Guard::Kind::Item:
      return text_of(broken->key) + " is another object, or gone, or new";
    case Guard::Kind::TypeVersion:
      return text_of(broken->object) + " has changed";
    case Guard::Kind::Class:
      return "an object is no " + text_of(broken->value) + " any more";
    case Guard::Kind::List:
    case Guard::Kind::Dict:
      return std::string("a ") + Py_TYPE(broken->object)->tp_name + " has other items";
    case Guard::Kind::Cell:
      return "a variable of an outer function has been set";
    case Guard::Kind::Function:
      return text_of(broken->object) + " has other code or defaults";
    case Guard::Kind::Fields:
      return "an object has another dictionary";
  }
  return {};
}

std::shared_ptr<Entry> read_entry(PyObject* described) {
  PyObject *capture, *arguments, *keywords, *guards, *numbers, *captured, *given, *result, *effects;
  if (!PyArg_ParseTuple(described, "OOOOOOOOO", &capture, &arguments, &keywords, &guards, &numbers,
                        &captured, &given, &result, &effects)) {
    throw PythonError{};
  }
  auto entry = std::make_shared<Entry>();
  entry->capture = nb::cast<CaptureRef&>(nb::handle(capture)).capture;
  check(entry->capture->obstacle.empty(), ErrorKind::Runtime, "{}", entry->capture->obstacle);
  entry->launch = std::make_unique<Launch>(*entry->capture);
  entry->default_dtype = default_dtype();
  for (nb::handle part : nb::handle(arguments)) {
    entry->positional.push_back(read_argument(*entry, part, entry->slots));
  }
  for (nb::handle pair : nb::handle(keywords)) {
    entry->names.push_back(entry->keep(nb::object(pair[0]).ptr()));
    entry->keyword.push_back(read_argument(*entry, nb::object(pair[1]), entry->slots));
  }
  for (nb::handle part : nb::handle(guards)) entry->guards.push_back(read_guard(*entry, part));
  entry->numbers = read_numbers(*entry, nb::handle(numbers));
  for (nb::handle object : nb::handle(captured)) {
    const Tensor& tensor = to_tensor(object.ptr());
    entry->captured.push_back(
        {entry->keep(object.ptr()), tensor.cell().get(), tensor.type_id(), tensor.requires_grad()});
    ++entry->slots;
  }
  std::vector<Tensor> tensors;
  std::vector<PyObject*> objects;
  for (nb::handle object : nb::handle(given)) {
    tensors.push_back(to_tensor(object.ptr()));
    objects.push_back(object.ptr());
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    uint32_t first = 0;
    while (!tensors[first].same(tensors[i])) ++first;
    check(objects[first] == objects[i], ErrorKind::Runtime, "is given one tensor as two objects");
    entry->first_alias.push_back(first);
  }
  check(tensors.size() == entry->slots, ErrorKind::Internal, "a compiled call of other tensors");
  entry->result = read_template(*entry, nb::handle(result));
  for (nb::handle part : nb::handle(effects)) entry->effects.push_back(read_effect(*entry, part));
  check(entry->effects.size() == entry->capture->before.size(), ErrorKind::Internal,
        "a compiled call of other effects");
  entry->hooks = autograd::hooks_asked_for();
  return entry;
}

}  // namespace tenon::python
