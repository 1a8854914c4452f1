#include "optim/adaptive.h"

#include <cmath>

#include "optim/formulas.h"

namespace tenon::optim {

// Adagrad ----------------------------------------------------------------------------------------

void AdagradOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(lr_decay, "lr_decay value");
  check_not_negative(weight_decay, "weight_decay value");
  check_not_negative(initial_accumulator_value, "initial_accumulator_value value");
  check_not_negative(eps, "epsilon value");
}

void AdagradRule::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  prepare_like(param, state.sum, options.initial_accumulator_value);
}

void AdagradRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                         const Options& options) {
  state.step += 1;
  const Value value = scope.use(param);
  if (options.weight_decay != 0) grad = add_scaled(grad, value, options.weight_decay);
  const Value total = add_product(scope.use(state.sum), grad, grad, 1);
  scope.write(state.sum, total);
  const double rate = options.lr / (1 + (state.step - 1) * options.lr_decay);
  scope.write(param, add_quotient(value, grad, shifted(square_root(total), options.eps), -rate));
}

// RMSprop ----------------------------------------------------------------------------------------

void RMSpropOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check_not_negative(momentum, "momentum value");
  check_not_negative(weight_decay, "weight_decay value");
  check_not_negative(alpha, "alpha value");
}

void RMSpropRule::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  prepare_like(param, state.square_avg, 0);
  if (options.momentum > 0) prepare_like(param, state.momentum_buffer, 0);
  if (options.centered) prepare_like(param, state.grad_avg, 0);
}

void RMSpropRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                         const Options& options) {
  state.step += 1;
  const Value value = scope.use(param);
  if (options.weight_decay != 0) grad = add_scaled(grad, value, options.weight_decay);
  const Value squares = add_product(scaled(scope.use(state.square_avg), options.alpha), grad, grad,
                                    1 - options.alpha);
  scope.write(state.square_avg, squares);
  Value variance = squares;
  if (options.centered) {
    const Value mean = interpolate(scope.use(state.grad_avg), grad, 1 - options.alpha);
    scope.write(state.grad_avg, mean);
    variance = add_product(squares, mean, mean, -1);
  }
  const Value root = shifted(square_root(variance), options.eps);
  if (options.momentum > 0) {
    const Value buffer =
        add_quotient(scaled(scope.use(state.momentum_buffer), options.momentum), grad, root, 1);
    scope.write(state.momentum_buffer, buffer);
    scope.write(param, add_scaled(value, buffer, -options.lr));
  } else {
    scope.write(param, add_quotient(value, grad, root, -options.lr));
  }
}

// Adadelta ---------------------------------------------------------------------------------------

void AdadeltaOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check(rho >= 0 && rho <= 1, ErrorKind::Value, "Invalid rho value: {}", rho);
  check_not_negative(eps, "epsilon value");
  check_not_negative(weight_decay, "weight_decay value");
}

void AdadeltaRule::prepare(const Tensor& param, State& state, const Options&) {
  check_real(kName, param);
  prepare_like(param, state.square_avg, 0);
  prepare_like(param, state.acc_delta, 0);
}

void AdadeltaRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                          const Options& options) {
  state.step += 1;
  const Value value = scope.use(param);
  if (options.weight_decay != 0) grad = add_scaled(grad, value, options.weight_decay);
  const double rho = options.rho;
  const Value squares = add_product(scaled(scope.use(state.square_avg), rho), grad, grad, 1 - rho);
  const Value deltas = scope.use(state.acc_delta);
  const Value change =
      square_root(shifted(deltas, options.eps)) / square_root(shifted(squares, options.eps)) * grad;
  scope.write(state.square_avg, squares);
  scope.write(state.acc_delta, add_product(scaled(deltas, rho), change, change, 1 - rho));
  scope.write(param, add_scaled(value, change, -options.lr));
}

// Rprop ------------------------------------------------------------------------------------------

void RpropOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check(etas.first > 0 && etas.first < 1 && etas.second > 1, ErrorKind::Value,
        "Invalid eta values: {}, {}", etas.first, etas.second);
}

void RpropRule::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  prepare_like(param, state.prev, 0);
  prepare_like(param, state.step_size, options.lr);
}

void RpropRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                       const Options& options) {
  state.step += 1;
  const Value agreement = grad * scope.use(state.prev);
  const Value turned = agreement < 0, same = agreement > 0;
  const Value factor = ops::select(
      turned, argument(grad, options.etas.first),
      ops::select(same, argument(grad, options.etas.second), ops::literal_like(grad, 1)));
  const Value grown = scope.use(state.step_size) * factor;
  const Value size = smaller(larger(grown, argument(grad, options.step_sizes.first)),
                             argument(grad, options.step_sizes.second));
  grad = ops::select(turned, ops::literal_like(grad, 0), grad);
  scope.write(state.step_size, size);
  scope.write(state.prev, grad);
  scope.write(param, add_product(scope.use(param), sign(grad), size, -1));
}

}  // namespace tenon::optim
