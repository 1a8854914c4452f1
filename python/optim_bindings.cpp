// The optimizers' step over PyTorch's dictionaries: param_groups (a list of dicts with "params" and
// options by name) and state (a dict of dicts, by parameter).
#include <nanobind/nanobind.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "optim/optimizer.h"
#include "python/caster.h"
#include "python/packages.h"
#include "trace/capture.h"

namespace nb = nanobind;

namespace tenon::python {
namespace {

// Names of options and states are literals: one Python string each, made once.
PyObject* interned(const char* name) {
  static std::unordered_map<const char*, PyObject*> names;
  PyObject*& found = names[name];
  if (found == nullptr) found = PyUnicode_InternFromString(name);
  return found;
}

PyObject* find(PyObject* dict, const char* name) {
  return PyDict_GetItemWithError(dict, interned(name));  // borrowed; null: absent
}

double to_number(PyObject* object) {
  if (is_tensor(object)) return to_tensor(object).item_double();
  const double number = PyFloat_AsDouble(object);
  if (number == -1 && PyErr_Occurred()) throw nb::python_error();
  return number;
}

void read(PyObject* object, double& field) { field = to_number(object); }
void read(PyObject* object, bool& field) { field = PyObject_IsTrue(object) == 1; }
void read(PyObject* object, Tensor& field) {
  if (object != Py_None) field = to_tensor(object);
}
void read(PyObject* object, std::pair<double, double>& field) {
  const nb::sequence both = nb::borrow<nb::sequence>(object);
  check(nb::len(both) == 2, ErrorKind::Value, "an option of two numbers has {}", nb::len(both));
  field = {to_number(nb::object(both[0]).ptr()), to_number(nb::object(both[1]).ptr())};
}

template <class Fields>
Fields read_fields(PyObject* dict) {
  Fields fields;
  fields.visit([&](const char* name, auto& field) {
    if (PyObject* value = find(dict, name)) read(value, field);
  });
  return fields;
}

// What a step has changed besides the contents of the state's tensors: tensors that are new, and
// numbers, which PyTorch keeps as 0-d tensors. Parameters at the same step share one.
class StateWriter {
 public:
  template <class State>
  void write(PyObject* dict, State& state) {
    state.visit([&](const char* name, auto& field) { put(dict, name, field); });
  }

 private:
  void put(PyObject* dict, const char* name, const Tensor& field) {
    if (!field.defined()) return;
    PyObject* old = find(dict, name);
    if (old != nullptr && is_tensor(old) && to_tensor(old).same(field)) return;
    set(dict, name, nb::steal(wrap(field)));
  }
  void put(PyObject* dict, const char* name, double field) {
    nb::object& number = numbers_[field];
    if (!number.is_valid()) {
      number = nb::steal(wrap(optim::number_tensor(field, DType::Float32)));
    }
    set(dict, name, number);
  }
  static void set(PyObject* dict, const char* name, nb::handle value) {
    if (PyDict_SetItem(dict, interned(name), value.ptr()) != 0) throw nb::python_error();
  }

  std::unordered_map<double, nb::object> numbers_;
};

template <class Rule>
void step(const nb::list& groups, nb::dict state) {
  const EffectScope effect(Effect::Step);
  struct Item {
    Tensor param;
    nb::object key;
    nb::object dict;  // of its state; null until there is some
    typename Rule::State state;
    size_t group;
  };
  std::vector<typename Rule::Options> options;
  std::vector<Item> items;
  for (nb::handle group : groups) {
    options.push_back(read_fields<typename Rule::Options>(group.ptr()));
    nb::object params = nb::borrow(find(group.ptr(), "params"));
    for (nb::handle param : params) {
      const Tensor& tensor = to_tensor(param.ptr());
      if (!tensor.grad().defined()) continue;
      nb::object dict = nb::borrow(PyDict_GetItemWithError(state.ptr(), param.ptr()));
      typename Rule::State own;
      if (dict.is_valid()) own = read_fields<typename Rule::State>(dict.ptr());
      Rule::prepare(tensor, own, options.back());
      items.push_back(
          {tensor, nb::borrow(param), std::move(dict), std::move(own), options.size() - 1});
    }
  }
  {
    const GradMode no_grad(false);
    OpScope scope(Rule::kName);
    for (Item& item : items) {
      optim::update_parameter<Rule>(scope, item.param, item.state, options[item.group]);
    }
  }
  StateWriter writer;
  for (Item& item : items) {
    if (!item.dict.is_valid()) {
      nb::dict dict;
      writer.write(dict.ptr(), item.state);
      if (dict.size() > 0) state[item.key] = dict;
    } else {
      writer.write(item.dict.ptr(), item.state);
    }
  }
  flush();
}

// The states of all parameters as they are before the first step.
template <class Rule>
void prepare(const nb::list& groups, nb::dict state) {
  StateWriter writer;
  for (nb::handle group : groups) {
    const auto options = read_fields<typename Rule::Options>(group.ptr());
    nb::object params = nb::borrow(find(group.ptr(), "params"));
    for (nb::handle param : params) {
      typename Rule::State own;
      Rule::prepare(to_tensor(param.ptr()), own, options);
      nb::dict dict;
      writer.write(dict.ptr(), own);
      state[param] = dict;
    }
  }
}

template <class Rule>
void validate(const nb::dict& group) {
  read_fields<typename Rule::Options>(group.ptr()).validate();
}

template <class Rule>
void add_rule(nb::module_& m, const char* name) {
  nb::module_ rule = m.def_submodule(name);
  rule.def("step", &step<Rule>);
  rule.def("prepare", &prepare<Rule>);
  rule.def("validate", &validate<Rule>);
}

}  // namespace

void add_optim(nb::module_& m) {
  nb::module_ optim = m.def_submodule("_optim");
  add_rule<optim::SGDRule>(optim, "SGD");
  add_rule<optim::ASGDRule>(optim, "ASGD");
  add_rule<optim::AdamRuleOf<false>>(optim, "Adam");
  add_rule<optim::AdamRuleOf<true>>(optim, "AdamW");
  add_rule<optim::AdamaxRule>(optim, "Adamax");
  add_rule<optim::NAdamRule>(optim, "NAdam");
  add_rule<optim::RAdamRule>(optim, "RAdam");
  add_rule<optim::AdagradRule>(optim, "Adagrad");
  add_rule<optim::RMSpropRule>(optim, "RMSprop");
  add_rule<optim::AdadeltaRule>(optim, "Adadelta");
  add_rule<optim::RpropRule>(optim, "Rprop");
}

}  // namespace tenon::python
