// Calls that do more than record: what they do is done again.
#include <algorithm>

#include "autograd/autograd.h"
#include "core/error.h"
#include "python/arguments.h"
#include "python/caster.h"
#include "python/compile_entry.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

// Of each parameter of the groups, whose lists the entry has checked.
void zero_grad(PyObject* groups) {
  static PyObject* const params = PyUnicode_InternFromString("params");
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(groups); ++i) {
    PyObject* list = PyDict_GetItemWithError(PyList_GET_ITEM(groups, i), params);
    if (list == nullptr) throw PythonError{};
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(list); ++k) {
      to_tensor(PyList_GET_ITEM(list, k)).set_grad({});
    }
  }
}

void perform(const EffectCall& call, const Tensor& root) {
  switch (call.effect) {
    case Effect::Backward:
      autograd::backward(root);
      break;
    case Effect::Step: {
      PyObject* const args[] = {call.groups[0], call.state};
      Py_DECREF(checked(PyObject_Vectorcall(call.function, args, 2, nullptr)));
      break;
    }
    case Effect::ZeroGrad:
      for (PyObject* groups : call.groups) zero_grad(groups);
      break;
    case Effect::Read:
      break;
  }
}

}  // namespace

bool agrees(const Entry& entry, const Answers& known) {
  return known.size() <= entry.answers.size() &&
         std::equal(known.begin(), known.end(), entry.answers.begin());
}

std::optional<std::vector<Tensor>> replay_with_effects(const Entry& entry, const Slots& slots,
                                                       Answers& known,
                                                       const std::function<bool()>& still_holds) {
  const Capture& last = *entry.capture;
  Unit unit({});  // cut as what Python records
  std::vector<Tensor> given = slots.tensors;
  given.resize(last.given.size());
  for (size_t k = 0; k < last.before.size(); ++k) {
    const Capture::Part& part = last.before[k];
    const Capture& capture = *part.capture;
    if (!capture.nodes.empty()) {
      std::vector<Tensor> made =
          replay(capture, std::span(given).first(capture.given.size()), slots.numbers.scalars());
      for (size_t i = 0; i < made.size(); ++i) given[capture.given.size() + i] = std::move(made[i]);
    }
    const EffectCall& effect = entry.effects[k];
    if (effect.effect != Effect::Read) {
      perform(effect, part.root == Capture::kUnknown ? Tensor{} : given[part.root]);
    } else if (k >= known.size()) {
      known.push_back(truth_of(given[part.root]));
      if (known.back() != effect.answer || !still_holds()) return std::nullopt;
    }
  }
  return replay(last, given, slots.numbers.scalars());
}

}  // namespace tenon::python
