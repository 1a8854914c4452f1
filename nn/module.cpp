#include "nn/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/shape.h"

namespace tenon::nn {

Tensor Module::forward(const Tensor&) {
  fail(ErrorKind::NotImplemented, "Module [{}] is missing the required \"forward\" function",
       name());
}

// Registration -----------------------------------------------------------------------------------

void Module::check_name(std::string_view name) const {
  check(!name.empty() && name.find('.') == std::string_view::npos, ErrorKind::Key,
        "'{}' can't be the name of a parameter, buffer or module: no dots, not empty", name);
  const auto is_slot = [&](const Slot& slot) { return slot.name == name; };
  const auto is_child = [&](const auto& child) { return child.first == name; };
  check(std::ranges::none_of(parameters_, is_slot) && std::ranges::none_of(buffers_, is_slot) &&
            std::ranges::none_of(children_, is_child),
        ErrorKind::Key, "attribute '{}' already exists", name);
}

Tensor Module::register_parameter(std::string name, Tensor parameter) {
  check_name(name);
  if (parameter.defined()) {
    parameter.set_requires_grad(true);
    parameter.mark_parameter();
  }
  parameters_.push_back({std::move(name), parameter});
  return parameter;
}

Tensor Module::register_buffer(std::string name, Tensor buffer, bool persistent) {
  check_name(name);
  buffers_.push_back({std::move(name), buffer, persistent});
  return buffer;
}

Module& Module::register_module(std::string name, std::unique_ptr<Module> module) {
  check_name(name);
  return *children_.emplace_back(std::move(name), std::move(module)).second;
}

// Walks ------------------------------------------------------------------------------------------

// This module and those below it, with the prefix of their names ("" or "path.").
template <class Visit>
void Module::visit(const std::string& prefix, Visit&& visitor) const {
  visitor(prefix, *this);
  for (const auto& [name, child] : children_) child->visit(prefix + name + ".", visitor);
}

TensorDict Module::named_parameters() const {
  TensorDict result;
  std::unordered_set<const Cell*> seen;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const Slot& slot : module.parameters_) {
      if (slot.tensor.defined() && seen.insert(slot.tensor.cell().get()).second) {
        result.emplace_back(prefix + slot.name, slot.tensor);
      }
    }
  });
  return result;
}

std::vector<Tensor> Module::parameters() const {
  TensorDict named = named_parameters();
  std::vector<Tensor> result;
  result.reserve(named.size());
  for (auto& [name, tensor] : named) result.push_back(std::move(tensor));
  return result;
}

TensorDict Module::named_buffers() const {
  TensorDict result;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const Slot& slot : module.buffers_) {
      if (slot.tensor.defined()) result.emplace_back(prefix + slot.name, slot.tensor);
    }
  });
  return result;
}

std::vector<std::pair<std::string, Module*>> Module::named_children() const {
  std::vector<std::pair<std::string, Module*>> result;
  for (const auto& [name, child] : children_) result.emplace_back(name, child.get());
  return result;
}

std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::vector<std::pair<std::string, Module*>> result;
  visit("", [&](const std::string& prefix, const Module& module) {
    const std::string path = prefix.substr(0, prefix.empty() ? 0 : prefix.size() - 1);
    result.emplace_back(path, const_cast<Module*>(&module));
  });
  return result;
}

// State ------------------------------------------------------------------------------------------

TensorDict Module::stored() const {
  TensorDict result;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const auto* slots : {&module.parameters_, &module.buffers_}) {
      for (const Slot& slot : *slots) {
        if (slot.tensor.defined() && slot.persistent) {
          result.emplace_back(prefix + slot.name, slot.tensor);
        }
      }
    }
  });
  return result;
}

TensorDict Module::state_dict() const {
  TensorDict result = stored();
  for (auto& [name, tensor] : result) tensor = detach(tensor);
  return result;
}

Module::LoadReport Module::load_state_dict(const TensorDict& state, bool strict) {
  std::unordered_map<std::string_view, const Tensor*> given;
  for (const auto& [name, tensor] : state) given[name] = &tensor;

  LoadReport report;
  std::string errors;
  std::vector<std::pair<Tensor, const Tensor*>> copies;
  const TensorDict own = stored();
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    if (found == given.end()) {
      report.missing.push_back(name);
      continue;
    }
    const Tensor* source = found->second;
    given.erase(found);
    if (std::ranges::equal(source->dims(), tensor.dims())) {
      copies.emplace_back(tensor, source);
    } else {
      errors += fmt::format(
          "\n\tsize mismatch for {}: copying a param with shape {} from checkpoint, the shape in "
          "current model is {}.",
          name, to_string(source->dims()), to_string(tensor.dims()));
    }
  }
  for (const auto& [name, tensor] : state) {
    if (given.contains(name)) report.unexpected.push_back(name);
  }
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (!strict || names.empty()) return;
    errors += fmt::format("\n\t{} key(s) in state_dict: \"{}\".", what, fmt::join(names, "\", \""));
  };
  list("Missing", report.missing);
  list("Unexpected", report.unexpected);
  check(errors.empty(), ErrorKind::Runtime, "Error(s) in loading state_dict for {}:{}", name(),
        errors);

  const GradMode no_grad(false);
  OpScope scope("load_state_dict");
  for (const auto& [target, source] : copies) scope.write(target, scope.use(*source));
  return report;
}

// Modes ------------------------------------------------------------------------------------------

void Module::train(bool on) {
  training = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::zero_grad(bool set_to_none) {
  for (const Tensor& parameter : parameters()) {
    const Tensor grad = parameter.grad();
    if (!grad.defined()) continue;
    if (set_to_none) {
      parameter.set_grad({});
    } else {
      const GradMode no_grad(false);
      OpScope scope("zero_grad");
      scope.write(grad, ops::zeros_like(scope.use(grad)));
    }
  }
}

void Module::requires_grad_(bool on) {
  for (const Tensor& parameter : parameters()) parameter.set_requires_grad(on);
}

void Module::to(DType dtype) {
  check(is_floating(dtype) || is_complex(dtype), ErrorKind::Type,
        "nn.Module.to only accepts floating point or complex dtypes, but got {}", name_of(dtype));
  for (const auto& [name, tensor] : stored()) {
    if (!is_floating(tensor.dtype()) || tensor.dtype() == dtype) continue;
    const GradMode no_grad(false);
    Tensor converted;
    {
      OpScope scope("to");
      converted = scope.result(ops::cast(scope.use(tensor), dtype));
    }
    tensor.set_data(converted);
    tensor.set_grad({});  // of the old dtype
  }
}

// Text -------------------------------------------------------------------------------------------

std::string Module::repr() const {
  const std::string extra = extra_repr();
  if (children_.empty()) return fmt::format("{}({})", name(), extra);
  std::string text = name() + "(\n";
  if (!extra.empty()) text += "  " + extra + "\n";
  for (const auto& [child_name, child] : children_) {
    text += fmt::format("  ({}): ", child_name);
    for (const char c : child->repr()) {
      text.push_back(c);
      if (c == '\n') text += "  ";
    }
    text.push_back('\n');
  }
  return text + ")";
}

std::string show(bool value) { return value ? "True" : "False"; }
std::string show(int64_t value) { return std::to_string(value); }
std::string show(double value) {
  std::string text = fmt::format("{}", value);
  const bool is_whole = text.find_first_of(".einf") == std::string::npos;
  return is_whole ? text + ".0" : text;
}
std::string show(std::string_view text) { return std::string(text); }
std::string show(const IntList& list) {
  if (list.size() == 1) return fmt::format("({},)", list[0]);
  return fmt::format("({})", fmt::join(list.begin(), list.end(), ", "));
}
std::string show(const Tensor& tensor) { return show(tensor.defined()); }

}  // namespace tenon::nn
