#include "optim/adam.h"

#include <cmath>

#include "optim/formulas.h"

namespace tenon::optim {

template <bool kDecoupled>
void AdamOptionsOf<kDecoupled>::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check_betas(betas);
  check_not_negative(weight_decay, "weight_decay value");
}

template <bool kDecoupled>
void AdamRuleOf<kDecoupled>::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  prepare_like(param, state.exp_avg, 0);
  prepare_like(param, state.exp_avg_sq, 0);
  if (options.amsgrad) prepare_like(param, state.max_exp_avg_sq, 0);
}

template <bool kDecoupled>
void AdamRuleOf<kDecoupled>::update(OpScope& scope, const Tensor& param, Value grad, State& state,
                                    const Options& options) {
  state.step += 1;

  Value value = scope.use(param);
  if (options.weight_decay != 0) {
    if (kDecoupled) {
      value = scaled(value, 1 - options.lr * options.weight_decay);
    } else {
      grad = add_scaled(grad, value, options.weight_decay);
    }
  }

  const auto [beta1, beta2] = options.betas;
  const Value average = interpolate(scope.use(state.exp_avg), grad, 1 - beta1);
  const Value squares =
      add_product(scaled(scope.use(state.exp_avg_sq), beta2), grad, grad, 1 - beta2);
  scope.write(state.exp_avg, average);
  scope.write(state.exp_avg_sq, squares);
  Value largest = squares;
  if (options.amsgrad) {
    largest = larger(scope.use(state.max_exp_avg_sq), squares);
    scope.write(state.max_exp_avg_sq, largest);
  }

  const double correction1 = 1 - std::pow(beta1, state.step);
  const double correction2_root = std::sqrt(1 - std::pow(beta2, state.step));
  const Value denominator = shifted(divided(square_root(largest), correction2_root), options.eps);
  scope.write(param, add_quotient(value, average, denominator, -(options.lr / correction1)));
}

template struct AdamOptionsOf<false>;
template struct AdamOptionsOf<true>;
template struct AdamRuleOf<false>;
template struct AdamRuleOf<true>;

}  // namespace tenon::optim
