#include "optim/adam_variants.h"

#include <cmath>

#include "optim/formulas.h"

namespace tenon::optim {

namespace {

// Shrinks the parameter or adds to the gradient.
void decay(Value& value, Value& grad, double lr, double weight_decay, bool decoupled) {
  if (weight_decay == 0) return;
  if (decoupled) {
    value = scaled(value, 1 - lr * weight_decay);
  } else {
    grad = add_scaled(grad, value, weight_decay);
  }
}

// Both moments, stored and returned.
std::pair<Value, Value> update_moments(OpScope& scope, Value grad, const Tensor& exp_avg,
                                       const Tensor& exp_avg_sq, std::pair<double, double> betas) {
  const auto [beta1, beta2] = betas;
  const Value average = interpolate(scope.use(exp_avg), grad, 1 - beta1);
  const Value squares = add_product(scaled(scope.use(exp_avg_sq), beta2), grad, grad, 1 - beta2);
  scope.write(exp_avg, average);
  scope.write(exp_avg_sq, squares);
  return {average, squares};
}

}  // namespace

// Adamax -----------------------------------------------------------------------------------------

void AdamaxOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check_betas(betas);
  check_not_negative(weight_decay, "weight_decay value");
}

void AdamaxRule::prepare(const Tensor& param, State& state, const Options&) {
  check_real(kName, param);
  prepare_like(param, state.exp_avg, 0);
  prepare_like(param, state.exp_inf, 0);
}

void AdamaxRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                        const Options& options) {
  state.step += 1;
  Value value = scope.use(param);
  decay(value, grad, options.lr, options.weight_decay, false);
  const auto [beta1, beta2] = options.betas;
  const Value average = interpolate(scope.use(state.exp_avg), grad, 1 - beta1);
  const Value norm =
      larger(scaled(scope.use(state.exp_inf), beta2), shifted(absolute(grad), options.eps));
  scope.write(state.exp_avg, average);
  scope.write(state.exp_inf, norm);
  const double correction = 1 - std::pow(beta1, state.step);
  scope.write(param, add_quotient(value, average, norm, -(options.lr / correction)));
}

// NAdam ------------------------------------------------------------------------------------------

void NAdamOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check_betas(betas);
  check_not_negative(weight_decay, "weight_decay value");
  check_not_negative(momentum_decay, "momentum_decay value");
}

void NAdamRule::prepare(const Tensor& param, State& state, const Options&) {
  check_real(kName, param);
  prepare_like(param, state.exp_avg, 0);
  prepare_like(param, state.exp_avg_sq, 0);
}

void NAdamRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                       const Options& options) {
  state.step += 1;
  Value value = scope.use(param);
  decay(value, grad, options.lr, options.weight_decay, options.decoupled_weight_decay);
  const auto [beta1, beta2] = options.betas;
  const auto momentum = [&, beta1 = beta1](double step) {
    return beta1 * (1 - 0.5 * std::pow(0.96, step * options.momentum_decay));
  };
  const double mu = momentum(state.step), mu_next = momentum(state.step + 1);
  state.mu_product = static_cast<float>(state.mu_product) * static_cast<float>(mu);  // as PyTorch
  const auto [average, squares] =
      update_moments(scope, grad, state.exp_avg, state.exp_avg_sq, options.betas);
  const double correction2 = 1 - std::pow(beta2, state.step);
  const Value denominator = shifted(square_root(divided(squares, correction2)), options.eps);
  value = add_quotient(value, grad, denominator, -options.lr * (1 - mu) / (1 - state.mu_product));
  value = add_quotient(value, average, denominator,
                       -options.lr * mu_next / (1 - state.mu_product * mu_next));
  scope.write(param, value);
}

// RAdam ------------------------------------------------------------------------------------------

void RAdamOptions::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check_betas(betas);
  check_not_negative(weight_decay, "weight_decay value");
}

void RAdamRule::prepare(const Tensor& param, State& state, const Options&) {
  check_real(kName, param);
  prepare_like(param, state.exp_avg, 0);
  prepare_like(param, state.exp_avg_sq, 0);
}

void RAdamRule::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                       const Options& options) {
  state.step += 1;
  Value value = scope.use(param);
  decay(value, grad, options.lr, options.weight_decay, options.decoupled_weight_decay);
  const auto [beta1, beta2] = options.betas;
  const auto [average, squares] =
      update_moments(scope, grad, state.exp_avg, state.exp_avg_sq, options.betas);
  const double correction1 = 1 - std::pow(beta1, state.step);
  const double correction2 = 1 - std::pow(beta2, state.step);
  Value change = scaled(divided(average, correction1), options.lr);
  // The length of the approximated simple moving average: the variance exists from 5 on.
  const double longest = 2 / (1 - beta2) - 1;
  const double length = longest - 2 * state.step * std::pow(beta2, state.step) / correction2;
  if (length > 5) {
    const double rectified =
        std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
    const Value root = shifted(square_root(squares), options.eps);
    const Value reciprocal = narrow(argument(wide(root), 1) / wide(root), root);
    change = scaled(change * scaled(reciprocal, std::sqrt(correction2)), rectified);
  }
  scope.write(param, value - change);
}

}  // namespace tenon::optim
