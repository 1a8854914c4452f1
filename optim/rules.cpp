#include "optim/rules.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"

namespace tenon::optim {

namespace {

// A fresh state tensor, concrete from the start.
Tensor filled_like(const Tensor& param, double number) {
  const TypeId type = intern_contiguous(param.dtype(), param.device(), param.dims());
  const size_t count = static_cast<size_t>(param.numel());
  Buffer buffer{allocate(count * size_of(param.dtype())), 0, type};
  visit_dtype(param.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::fill_n(buffer.storage->as<T>(), count, static_cast<T>(static_cast<float>(number)));
  });
  return from_buffer(std::move(buffer));
}

// PyTorch's fused forms. Each is one operation there, so it rounds once, to the dtype of its first
// operand: half types are computed in float32.
Value wide(Value x) { return is_half(dtype(x)) ? ops::cast(x, DType::Float32) : x; }
Value argument(Value like, double number) { return ops::scalar(number, dtype(like)); }

Value scaled(Value a, double factor) {  // a.mul(factor)
  const Value x = wide(a);
  return ops::cast(x * argument(x, factor), dtype(a));
}

// a.add(b, alpha=factor), where PyTorch first rounds the factor to the dtype of a.
Value add_scaled(Value a, Value b, double factor) {
  return ops::cast(wide(a) + wide(argument(a, factor)) * wide(b), dtype(a));
}

Value add_product(Value a, Value b, Value c, double factor) {  // a.addcmul(b, c, value=factor)
  const Value x = wide(a);
  return ops::cast(x + argument(x, factor) * wide(b) * wide(c), dtype(a));
}

Value add_quotient(Value a, Value b, Value c, double factor) {  // a.addcdiv(b, c, value=factor)
  const Value x = wide(a);
  return ops::cast(x + argument(x, factor) * wide(b) / wide(c), dtype(a));
}

Value interpolate(Value a, Value b, double weight) {  // a.lerp(b, weight): from the nearer end
  const Value x = wide(a), y = wide(b);
  const Value difference = y - x;
  const Value result = std::abs(weight) < 0.5 ? x + argument(x, weight) * difference
                                              : y - difference * argument(x, 1 - weight);
  return ops::cast(result, dtype(a));
}

void check_real(const char* name, const Tensor& param) {
  check(!is_complex(param.dtype()), ErrorKind::NotImplemented,
        "{}: complex parameters; optimize their real and imaginary parts", name);
}

void check_not_negative(double number, const char* what) {
  check(number >= 0, ErrorKind::Value, "Invalid {}: {}", what, number);
}

}  // namespace

// SGD --------------------------------------------------------------------------------------------

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
  state.momentum_buffer = filled_like(param, -0.0);
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

// Adam, AdamW ------------------------------------------------------------------------------------

template <bool kDecoupled>
void AdamOptionsOf<kDecoupled>::validate() const {
  check_not_negative(lr, "learning rate");
  check_not_negative(eps, "epsilon value");
  check(betas.first >= 0 && betas.first < 1, ErrorKind::Value,
        "Invalid beta parameter at index 0: {}", betas.first);
  check(betas.second >= 0 && betas.second < 1, ErrorKind::Value,
        "Invalid beta parameter at index 1: {}", betas.second);
  check_not_negative(weight_decay, "weight_decay value");
}

template <bool kDecoupled>
void AdamRuleOf<kDecoupled>::prepare(const Tensor& param, State& state, const Options& options) {
  check_real(kName, param);
  if (!state.exp_avg.defined()) state.exp_avg = filled_like(param, 0);
  if (!state.exp_avg_sq.defined()) state.exp_avg_sq = filled_like(param, 0);
  if (options.amsgrad && !state.max_exp_avg_sq.defined()) {
    state.max_exp_avg_sq = filled_like(param, 0);
  }
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
    largest = ops::binary(Op::Maximum, scope.use(state.max_exp_avg_sq), squares);
    scope.write(state.max_exp_avg_sq, largest);
  }

  const double correction1 = 1 - std::pow(beta1, state.step);
  const double correction2_root = std::sqrt(1 - std::pow(beta2, state.step));
  const Value root = ops::unary(Op::Sqrt, largest);
  const Value corrected =
      ops::cast(wide(root) / argument(wide(root), correction2_root), dtype(root));
  const Value denominator =
      ops::cast(wide(corrected) + argument(wide(corrected), options.eps), dtype(root));
  scope.write(param, add_quotient(value, average, denominator, -(options.lr / correction1)));
}

template struct AdamOptionsOf<false>;
template struct AdamOptionsOf<true>;
template struct AdamRuleOf<false>;
template struct AdamRuleOf<true>;

}  // namespace tenon::optim
