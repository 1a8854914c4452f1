// Update rules against the same formulas in double, state, groups, and that schedules compile
// nothing. (tests/python/test_optim.py compares every step with PyTorch's.)
#include "optim/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/allocator.h"
#include "jit/plan/counters.h"
#include "tenon.h"
#include "tests/core/expect_error.h"

using namespace tenon;
using tenon::testing::expect_error;

namespace {

Tensor parameter(std::vector<float> numbers) {
  const int64_t count = static_cast<int64_t>(numbers.size());
  Tensor p = from_bytes(DType::Float32, {&count, 1}, std::as_bytes(std::span(numbers)));
  p.set_requires_grad(true);
  return p;
}

// Gradient of sum(c * p * p) / 2: c * p.
void differentiate(const Tensor& p) { autograd::backward(sum(p * p * 0.5)); }

double first(const Tensor& x) { return select(x, 0, 0).item<double>(); }

}  // namespace

TEST_CASE("SGD with momentum, dampening and weight decay follows its formula") {
  const Tensor p = parameter({1.0f, -2.0f});
  optim::SGD optimizer({p}, {.lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01});
  double value = 1, buffer = 0;
  for (int step = 0; step < 5; ++step) {
    optimizer.zero_grad();
    differentiate(p);
    optimizer.step();
    const double grad = value + 0.01 * value;
    buffer = step == 0 ? grad : 0.9 * buffer + 0.5 * grad;
    value -= 0.1 * buffer;
    CHECK(first(p) == doctest::Approx(value).epsilon(1e-6));
  }
}

TEST_CASE("AdamW follows its formula") {
  const Tensor p = parameter({1.0f, -2.0f});
  optim::AdamW optimizer({p}, {.lr = 0.1, .betas = {0.8, 0.95}, .weight_decay = 0.1});
  double value = 1, average = 0, squares = 0;
  for (int step = 1; step <= 5; ++step) {
    optimizer.zero_grad();
    differentiate(p);
    optimizer.step();
    const double grad = value;
    value *= 1 - 0.1 * 0.1;
    average += 0.2 * (grad - average);
    squares = 0.95 * squares + 0.05 * grad * grad;
    const double corrected = std::sqrt(squares / (1 - std::pow(0.95, step))) + 1e-8;
    value -= 0.1 / (1 - std::pow(0.8, step)) * average / corrected;
    CHECK(first(p) == doctest::Approx(value).epsilon(1e-6));
  }
}

TEST_CASE("a changing learning rate and step number make no new plan") {
  const Tensor p = parameter(std::vector<float>(100, 1.0f));
  optim::AdamW optimizer({p}, {.lr = 0.1});
  jit::Counters before;
  for (int step = 0; step < 20; ++step) {
    if (step == 2) before = jit::counters();
    optimizer.groups[0].options.lr = 0.1 / (step + 1);
    optimizer.groups[0].options.betas.first = 0.9 - 0.001 * step;
    optimizer.zero_grad();
    differentiate(p);
    optimizer.step();
  }
  const jit::Counters after = jit::counters();
  CHECK(after.plans == before.plans);
  CHECK(after.kernels == before.kernels);
}

TEST_CASE("the first step of SGD with momentum is the program of the second") {
  const Tensor p = parameter({1.0f, 2.0f, 3.0f});
  optim::SGD optimizer({p}, {.lr = 0.1, .momentum = 0.9});
  uint64_t plans[3];
  for (uint64_t& count : plans) {
    optimizer.zero_grad();
    differentiate(p);
    optimizer.step();
    count = jit::counters().plans;
  }
  CHECK(plans[1] == plans[0]);
  CHECK(plans[2] == plans[0]);
}

TEST_CASE("groups have options of their own; parameters without a gradient stay as they are") {
  const Tensor a = parameter({1.0f}), b = parameter({1.0f}), c = parameter({1.0f});
  optim::SGD optimizer({{{a}, {.lr = 0.5}}, {{b, c}, {.lr = 0.25, .maximize = true}}});
  differentiate(a);
  differentiate(b);
  optimizer.step();
  CHECK(first(a) == 0.5);
  CHECK(first(b) == 1.25);
  CHECK(first(c) == 1);
}

TEST_CASE("a closure computes the loss with derivatives on") {
  const Tensor p = parameter({2.0f});
  optim::SGD optimizer({p}, {.lr = 1.0});
  const GradMode no_grad(false);
  const Tensor loss = optimizer.step([&] {
    optimizer.zero_grad();
    const Tensor value = sum(p * p * 0.5);
    autograd::backward(value);
    return value;
  });
  CHECK(loss.item<float>() == 2);
  CHECK(first(p) == 0);
}

TEST_CASE("a saved state continues exactly, and a wrong one changes nothing") {
  const auto run = [](optim::Adam& optimizer, const Tensor& p, int steps) {
    for (int step = 0; step < steps; ++step) {
      optimizer.zero_grad();
      differentiate(p);
      optimizer.step();
    }
  };
  const Tensor p = parameter({1.0f, 3.0f});
  optim::Adam optimizer({p}, {.lr = 0.1, .amsgrad = true});
  run(optimizer, p, 3);
  const Tensor q = from_bytes(DType::Float32, p.dims(), p.to_bytes());
  q.set_requires_grad(true);
  optim::Adam other({q}, {.lr = 7.0});
  other.load_state_dict(optimizer.state_dict());
  CHECK(other.groups[0].options.lr == 0.1);
  run(optimizer, p, 3);
  run(other, q, 3);
  CHECK(p.to_bytes() == q.to_bytes());

  expect_error(ErrorKind::Key, {"state.5.exp_avg"},
               [&] { other.load_state_dict({{"state.5.exp_avg", q}}); });
  expect_error(ErrorKind::Runtime, {"state.0.exp_avg", "[3]", "[2]"}, [&] {
    other.load_state_dict({{"param_groups.0.lr", optim::number_tensor(9, DType::Float64)},
                           {"state.0.exp_avg", zeros({3})}});
  });
  CHECK(other.groups[0].options.lr == 0.1);
}

TEST_CASE("options out of range and parameters that can't be optimized") {
  const Tensor p = parameter({1.0f});
  expect_error(ErrorKind::Value, {"learning rate", "-1"}, [&] { optim::SGD({p}, {.lr = -1}); });
  expect_error(ErrorKind::Value, {"index 1"}, [&] { optim::Adam({p}, {.betas = {0.9, 1.0}}); });
  expect_error(ErrorKind::Value, {"Nesterov"}, [&] { optim::SGD({p}, {.nesterov = true}); });
  expect_error(ErrorKind::Value, {"empty"}, [&] { optim::SGD(std::vector<Tensor>{}); });
  expect_error(ErrorKind::Value, {"twice"}, [&] { optim::SGD({p, p}); });
  expect_error(ErrorKind::Value, {"non-leaf"}, [&] { optim::SGD({p * 2}); });
}

TEST_CASE("running out of memory for the state changes no parameter") {
  const Tensor a = parameter({1.0f}), b = parameter({1.0f});
  optim::Adam optimizer({a, b}, {.lr = 0.1});
  differentiate(a);
  differentiate(b);
  a.grad().evaluate();
  b.grad().evaluate();
  fail_every(3);
  expect_error(ErrorKind::OutOfMemory, {}, [&] { optimizer.step(); });
  fail_every(0);
  CHECK(first(a) == 1);
  CHECK(first(b) == 1);
  optimizer.step();
  CHECK(first(a) == doctest::Approx(0.9));
  CHECK(first(b) == doctest::Approx(0.9));
}
