// Optimizers: parameter groups, the state of each parameter, and one recorded step.
//
//   optim::AdamW optimizer(model.parameters(), {.lr = 3e-4});
//   optimizer.zero_grad();
//   autograd::backward(loss);
//   optimizer.step();
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "optim/adam.h"
#include "optim/adam_variants.h"
#include "optim/adaptive.h"
#include "optim/sgd.h"

namespace tenon::optim {

using TensorDict = std::vector<std::pair<std::string, Tensor>>;

template <class Rule>
class Optimizer {
 public:
  using Options = typename Rule::Options;
  using State = typename Rule::State;
  struct Group {
    std::vector<Tensor> params;
    Options options;
  };

  // ValueError: no parameters, one that is no leaf or comes twice, options out of range.
  explicit Optimizer(std::vector<Tensor> params, Options options = {});
  explicit Optimizer(std::vector<Group> groups);
  void add_param_group(Group group);

  // Updates every parameter that has a gradient, and runs what is pending.
  void step();
  // As above, after closure() has computed the loss anew with derivatives on.
  template <class Closure>
  auto step(Closure&& closure) {
    auto loss = [&] {
      GradMode grad(true);
      return closure();
    }();
    step();
    return loss;
  }
  void zero_grad(bool set_to_none = true);

  // "state.<parameter>.<name>" and "param_groups.<group>.<option>", parameters numbered through the
  // groups in order: PyTorch's state_dict, flat. What is not in the dictionary stays as it is;
  // KeyError for a name that means nothing here, RuntimeError for another shape.
  TensorDict state_dict() const;
  void load_state_dict(const TensorDict& dict);

  std::vector<Group> groups;  // options may be changed between steps

 private:
  mutable std::unordered_map<const Cell*, State> state_;
};

using SGD = Optimizer<SGDRule>;
using ASGD = Optimizer<ASGDRule>;
using Adam = Optimizer<AdamRuleOf<false>>;
using AdamW = Optimizer<AdamRuleOf<true>>;
using Adamax = Optimizer<AdamaxRule>;
using NAdam = Optimizer<NAdamRule>;
using RAdam = Optimizer<RAdamRule>;
using Adagrad = Optimizer<AdagradRule>;
using RMSprop = Optimizer<RMSpropRule>;
using Adadelta = Optimizer<AdadeltaRule>;
using Rprop = Optimizer<RpropRule>;

extern template class Optimizer<SGDRule>;
extern template class Optimizer<ASGDRule>;
extern template class Optimizer<AdamRuleOf<false>>;
extern template class Optimizer<AdamRuleOf<true>>;
extern template class Optimizer<AdamaxRule>;
extern template class Optimizer<NAdamRule>;
extern template class Optimizer<RAdamRule>;
extern template class Optimizer<AdagradRule>;
extern template class Optimizer<RMSpropRule>;
extern template class Optimizer<AdadeltaRule>;
extern template class Optimizer<RpropRule>;

// A 0-d tensor with a concrete value: reading it back runs nothing.
Tensor number_tensor(double number, DType dtype);

}  // namespace tenon::optim
