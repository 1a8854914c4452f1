#include "optim/sgd.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "optim/formulas.h"

namespace tenon::optim {

void SGDOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(momentum, "momentum value");
  check_not_negative(weight_decay, "weight_decay value");
  check(!nesterov || (momentum > 0 && dampening == 0), ErrorKind::Value,
        "Nesterov momentum requires a momentum and zero dampening");
}

void SGDRule::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  if (options.momentum == 0 || state.momentum_buffer.defined()) return;
  // PyTorch's first buffer is the gradient itself, undamped. -0 is what leaves every gradient as it
  // is when added to it.
  prepare_like(param, state.momentum_buffer, -0.0);
  state.is_fresh = true;
}

void SGDRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options) {
  const Value value = scope.use(param);
  if (options.weight_decay != 0) grad = add_scaled(grad, value, options.weight_decay);
  if (options.momentum != 0) {
    const double share = std::exchange(state.is_fresh, false) ? 1 : 1 - options.dampening;
    const Value decayed = scaled(scope.use(state.momentum_buffer), options.momentum);
    const Value buffer = add_scaled(decayed, grad, share);
    scope.write(state.momentum_buffer, buffer);
    grad = options.nesterov ? add_scaled(grad, buffer, options.momentum) : buffer;
  }
  scope.write(param, add_scaled(value, grad, -options.lr));
}

// ASGD -------------------------------------------------------------------------------------------

void ASGDOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(weight_decay, "weight_decay value");
}

void ASGDRule::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  prepare_like(param, state.ax, 0);
  if (state.step == 0) state.eta = static_cast<float>(options.lr);
}

void ASGDRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                      const Options& options) {
  const double lr = options.lr, lambd = options.lambd;
  Value value = scope.use(param);
  if (options.weight_decay != 0) grad = add_scaled(grad, value, options.weight_decay);
  value = add_scaled(scaled(value, 1 - lambd * state.eta), grad, -state.eta);
  const Value average = scope.use(state.ax);
  scope.write(param, value);
  scope.write(state.ax, state.mu == 1 ? value : average + scaled(value - average, state.mu));
  // PyTorch keeps both as float32.
  state.step += 1;
  state.eta = static_cast<float>(lr / std::pow(1 + lambd * lr * state.step, options.alpha));
  state.mu = static_cast<float>(1 / std::max(1.0, state.step - options.t0));
}

}  // namespace tenon::optim
