// What update rules are, and what they share.
//
// A rule updates one parameter at a time, as a composition that is recorded like any other
// operation: the updates of all parameters end up in a few fused kernels.
//
// Hyperparameters and step numbers are arguments of the recorded program (ops::scalar), never part
// of its text, so a schedule compiles nothing. State tensors start as concrete buffers, not as
// recorded zeros, so the first step records the same program as every later one.
//
// A rule has Options (what a parameter group holds) and State (what each parameter holds), both of
// which name their fields to a visitor: state dictionaries and bindings are made from that alone.
// prepare() allocates what a state lacks and update() records. A step prepares all parameters
// before it updates the first, so that running out of memory changes none.
//
// The formulas are those of torch.optim's single-tensor implementations, operation by operation.
#pragma once

#include "core/error.h"
#include "trace/tensor.h"

namespace tenon::optim {

// The part of a step that every rule shares: one parameter that has a gradient, inside the scope of
// the whole step and with derivatives off.
template <class Rule>
void update_parameter(OpScope& scope, const Tensor& param, typename Rule::State& state,
                      const typename Rule::Options& options) {
  Value grad = scope.use(param.grad());
  if (options.maximize) grad = -grad;
  Rule::update(scope, param, grad, state, options);
}

// Makes a state tensor, concrete from the start, unless there is one.
void prepare_like(const Tensor& param, Tensor& state, double number);
// NotImplementedError for a complex parameter.
void check_real(const char* rule, const Tensor& param);
// ValueError: "Invalid {what}: {number}".
void check_not_negative(double number, const char* what);
void check_betas(std::pair<double, double> betas);

}  // namespace tenon::optim
