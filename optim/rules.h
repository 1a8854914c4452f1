// The update rules of the optimizers, one parameter at a time, as compositions that are recorded
// like any other operation: the updates of all parameters end up in a few fused kernels.
//
// Hyperparameters and step numbers are arguments of the recorded program (ops::scalar), never part
// of its text, so a schedule compiles nothing. State tensors start as concrete buffers, not as
// recorded zeros, so the first step records the same program as every later one.
//
// A rule has Options (what a parameter group holds) and State (what each parameter holds), both of
// which name their fields to a visitor: state dictionaries and bindings are made from that alone.
// prepare() allocates what a state lacks and update() records. A step prepares all parameters
// before it updates the first, so that running out of memory changes none. The formulas are those
// of torch.optim's single-tensor implementations, operation by operation.
#pragma once

#include <utility>

#include "trace/tensor.h"

namespace tenon::optim {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("momentum", momentum);
    field("dampening", dampening);
    field("weight_decay", weight_decay);
    field("nesterov", nesterov);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct SGDState {
  Tensor momentum_buffer;
  bool is_fresh = false;  // the buffer has seen no gradient yet

  template <class Visit>
  void visit(Visit&& field) {
    field("momentum_buffer", momentum_buffer);
  }
};

// Stochastic gradient descent with momentum (Sutskever et al., "On the importance of initialization
// and momentum in deep learning", ICML 2013).
struct SGDRule {
  static constexpr const char* kName = "SGD";
  using Options = SGDOptions;
  using State = SGDState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

template <bool kDecoupled>
struct AdamOptionsOf {
  double lr = 1e-3;
  std::pair<double, double> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = kDecoupled ? 1e-2 : 0;
  bool amsgrad = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("betas", betas);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("amsgrad", amsgrad);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct AdamState {
  double step = 0;
  Tensor exp_avg;
  Tensor exp_avg_sq;
  Tensor max_exp_avg_sq;  // with amsgrad only

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("exp_avg", exp_avg);
    field("exp_avg_sq", exp_avg_sq);
    field("max_exp_avg_sq", max_exp_avg_sq);
  }
};

// Adam (Kingma & Ba, ICLR 2015) with amsgrad (Reddi et al., ICLR 2018). Decoupled: AdamW, whose
// weight decay shrinks the parameter and leaves the gradient alone (Loshchilov & Hutter, ICLR
// 2019).
template <bool kDecoupled>
struct AdamRuleOf {
  static constexpr const char* kName = kDecoupled ? "AdamW" : "Adam";
  using Options = AdamOptionsOf<kDecoupled>;
  using State = AdamState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

extern template struct AdamOptionsOf<false>;
extern template struct AdamOptionsOf<true>;
extern template struct AdamRuleOf<false>;
extern template struct AdamRuleOf<true>;

// The part of a step that every rule shares: one parameter that has a gradient, inside the scope of
// the whole step and with derivatives off.
template <class Rule>
void update_parameter(OpScope& scope, const Tensor& param, typename Rule::State& state,
                      const typename Rule::Options& options) {
  Value grad = scope.use(param.grad());
  if (options.maximize) grad = -grad;
  Rule::update(scope, param, grad, state, options);
}

}  // namespace tenon::optim
