#include "optim/optimizer.h"

#include <algorithm>
#include <functional>
#include <map>
#include <type_traits>

#include "core/error.h"
#include "core/shape.h"

namespace tenon::optim {

Tensor number_tensor(double number, DType dtype) {
  return visit_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T element;
    if constexpr (std::is_arithmetic_v<T>) {
      element = static_cast<T>(number);
    } else {
      element = static_cast<T>(static_cast<float>(number));
    }
    return from_bytes(dtype, {}, std::as_bytes(std::span(&element, 1)));
  });
}

template <class Rule>
Optimizer<Rule>::Optimizer(std::vector<Tensor> params, Options options)
    : Optimizer(std::vector<Group>{{std::move(params), options}}) {}

template <class Rule>
Optimizer<Rule>::Optimizer(std::vector<Group> all) {
  for (Group& group : all) add_param_group(std::move(group));
}

template <class Rule>
void Optimizer<Rule>::add_param_group(Group group) {
  check(!group.params.empty(), ErrorKind::Value, "{}: optimizer got an empty parameter list",
        Rule::kName);
  group.options.validate();
  for (const Tensor& param : group.params) {
    check(param.is_leaf(), ErrorKind::Value, "{}: can't optimize a non-leaf Tensor", Rule::kName);
    check(state_.try_emplace(param.cell().get()).second, ErrorKind::Value,
          "{}: a parameter appears twice, in one parameter group or in two", Rule::kName);
  }
  groups.push_back(std::move(group));
}

template <class Rule>
void Optimizer<Rule>::step() {
  for (Group& group : groups) {
    for (const Tensor& param : group.params) {
      if (param.grad().defined()) Rule::prepare(param, state_[param.cell().get()], group.options);
    }
  }
  {
    const GradMode no_grad(false);
    OpScope scope(Rule::kName);
    for (Group& group : groups) {
      for (const Tensor& param : group.params) {
        if (!param.grad().defined()) continue;
        update_parameter<Rule>(scope, param, state_[param.cell().get()], group.options);
      }
    }
  }
  flush();
}

template <class Rule>
void Optimizer<Rule>::zero_grad(bool set_to_none) {
  for (Group& group : groups) {
    for (const Tensor& param : group.params) {
      const Tensor grad = param.grad();
      if (!grad.defined()) continue;
      if (set_to_none) {
        param.set_grad({});
      } else {
        OpScope scope("zero_grad");
        scope.write(grad, ops::zeros_like(scope.use(grad)));
      }
    }
  }
}

namespace {

// A field of options or state as tensors, and back.
void pack(TensorDict& dict, const std::string& name, const Tensor& value) {
  if (value.defined()) dict.emplace_back(name, value);
}
void pack(TensorDict& dict, const std::string& name, double value) {
  dict.emplace_back(name, number_tensor(value, DType::Float64));
}
void pack(TensorDict& dict, const std::string& name, bool value) {
  dict.emplace_back(name, number_tensor(value, DType::Bool));
}
void pack(TensorDict& dict, const std::string& name, std::pair<double, double> value) {
  const double both[] = {value.first, value.second};
  const int64_t two = 2;
  dict.emplace_back(name, from_bytes(DType::Float64, {&two, 1}, std::as_bytes(std::span(both))));
}

void unpack(const Tensor& saved, double& value) { value = saved.item_double(); }
void unpack(const Tensor& saved, bool& value) { value = saved.item<bool>(); }
void unpack(const Tensor& saved, std::pair<double, double>& value) {
  const auto bytes = saved.to_bytes();
  check(saved.dtype() == DType::Float64 && bytes.size() == sizeof(value), ErrorKind::Runtime,
        "load_state_dict: two float64 numbers were expected, not {} {}", to_string(saved.dims()),
        name_of(saved.dtype()));
  const auto* both = reinterpret_cast<const double*>(bytes.data());
  value = {both[0], both[1]};
}

// State tensors belong to one optimizer, so they are copied in.
Tensor own_copy(const Tensor& saved, const Tensor& param, const std::string& name) {
  check(std::ranges::equal(saved.dims(), param.dims()), ErrorKind::Runtime,
        "load_state_dict: {} has size {}, its parameter {}", name, to_string(saved.dims()),
        to_string(param.dims()));
  const Tensor plain =
      to(from_bytes(saved.dtype(), saved.dims(), saved.to_bytes()), param.device());
  if (saved.dtype() == param.dtype()) return plain;
  OpScope scope("load_state_dict");
  return scope.result(ops::cast(scope.use(plain), param.dtype()));
}

}  // namespace

template <class Rule>
TensorDict Optimizer<Rule>::state_dict() const {
  TensorDict dict;
  size_t index = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const Tensor& param : groups[g].params) {
      State state = state_[param.cell().get()];
      const std::string prefix = fmt::format("state.{}.", index++);
      state.visit([&](const char* name, auto& field) { pack(dict, prefix + name, field); });
    }
    Options options = groups[g].options;
    const std::string prefix = fmt::format("param_groups.{}.", g);
    options.visit([&](const char* name, auto& field) { pack(dict, prefix + name, field); });
  }
  return dict;
}

template <class Rule>
void Optimizer<Rule>::load_state_dict(const TensorDict& dict) {
  std::map<std::string, Tensor> saved(dict.begin(), dict.end());
  // Everything is read before anything is changed.
  std::vector<Options> options;
  std::unordered_map<const Cell*, State> states;
  size_t index = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const Tensor& param : groups[g].params) {
      State& state = states[param.cell().get()];
      state = state_[param.cell().get()];
      const std::string prefix = fmt::format("state.{}.", index++);
      state.visit([&](const char* name, auto& field) {
        auto found = saved.extract(prefix + name);
        if (found.empty()) return;
        if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Tensor>) {
          field = own_copy(found.mapped(), param, found.key());
        } else {
          unpack(found.mapped(), field);
        }
      });
    }
    Options& changed = options.emplace_back(groups[g].options);
    const std::string prefix = fmt::format("param_groups.{}.", g);
    changed.visit([&](const char* name, auto& field) {
      if (auto found = saved.extract(prefix + name)) unpack(found.mapped(), field);
    });
    changed.validate();
  }
  check(saved.empty(), ErrorKind::Key, "load_state_dict: '{}' names no state of this {}",
        saved.empty() ? "" : saved.begin()->first, Rule::kName);
  for (size_t g = 0; g < groups.size(); ++g) groups[g].options = options[g];
  state_ = std::move(states);
}

template class Optimizer<SGDRule>;
template class Optimizer<ASGDRule>;
template class Optimizer<AdamRuleOf<false>>;
template class Optimizer<AdamRuleOf<true>>;
template class Optimizer<AdamaxRule>;
template class Optimizer<NAdamRule>;
template class Optimizer<RAdamRule>;
template class Optimizer<AdagradRule>;
template class Optimizer<RMSpropRule>;
template class Optimizer<AdadeltaRule>;
template class Optimizer<RpropRule>;

}  // namespace tenon::optim
