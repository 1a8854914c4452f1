// Units and captures: what a function recorded is recorded again for other tensors, and what can't
// be has an obstacle.
#include "trace/capture.h"

#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "tests/core/expect_error.h"
#include "tests/trace/counting_executor.h"
#include "tests/trace/values.h"
#include "trace/recorder.h"

using namespace tenon;
using namespace tenon::testing;
using Floats = std::vector<float>;

namespace {

template <class Function>
Ref<Capture> capture(Function&& function, std::vector<Tensor> given) {
  Unit unit(given);
  const std::vector<Tensor> results = function(given);
  return unit.finish(results);
}

std::vector<Tensor> scaled_sum(const std::vector<Tensor>& given) {
  return {scale(add(given[0], given[1]), 2)};
}

}  // namespace

TEST_CASE("a capture recorded again gives what the function gives for other tensors") {
  const Ref<Capture> c = capture(scaled_sum, {ramp({3}), ramp({3})});
  REQUIRE(c->obstacle.empty());
  const std::vector<Tensor> others{ramp({3}, 1, 1), ramp({3}, 10)};
  REQUIRE(can_replay(*c));
  CHECK(read(replay(*c, others)[0]) == Floats{2, 24, 46});
  Launch launch(*c);
  flush();
  for (const Tensor& x : others) x.evaluate();
  executor_under_test().runs = 0;
  const std::vector<Tensor> launched = launch.run(*c, others);
  REQUIRE(launched.size() == 1);
  CHECK(executor_under_test().runs == 1);  // before it is read
  CHECK(read(launched[0]) == Floats{2, 24, 46});
}

TEST_CASE("derivatives pass through what is recorded again") {
  const Tensor x = ramp({3}), y = ramp({3}, 1, 1);
  const Ref<Capture> c =
      capture([](const auto& t) { return std::vector{mul(t[0], t[1])}; }, {x, y});
  x.set_requires_grad(true);
  CHECK(Launch(*c).run(*c, std::vector{x, y}).empty());  // a derivative is to be recorded
  const Tensor loss = sum(replay(*c, std::vector{x, y})[0]);
  autograd::backward(std::vector{loss}, std::vector<Tensor>{});
  CHECK(read(x.grad()) == Floats{1, 2, 3});
}

TEST_CASE("views that are returned are views again") {
  const Ref<Capture> c = capture(
      [](const auto& t) {
        const Tensor y = scale(t[0], 2);
        return std::vector{y, narrow(y, 0, 1, 2), narrow(t[0], 0, 0, 1), t[0]};
      },
      {ramp({3})});
  REQUIRE(c->obstacle.empty());
  const Tensor x = ramp({3}, 1, 5);
  const std::vector<Tensor> out = replay(*c, std::vector{x});
  CHECK(out[3].same(x));
  CHECK(out[1].base().same(out[0]));
  update(out[2], [](Value v) { return v * 10; });
  CHECK(read(x) == Floats{50, 6, 7});
  update(out[0], [](Value v) { return v + 1; });
  CHECK(read(out[1]) == Floats{13, 15});
}

TEST_CASE("random numbers are drawn anew, in the same order") {
  const auto draw = [](const auto&) {
    return std::vector{apply([](Value v) { return ops::cast(v, DType::Int64); },
                             apply([](Value) { return random_bits({{2}}); }, ramp({1})))};
  };
  manual_seed(1);
  const Tensor first = draw(0)[0], second = draw(0)[0];
  manual_seed(1);
  const Ref<Capture> c = capture(draw, {});
  CHECK(c->draws);
  // The operand of the draw is no tensor of the capture: only what its results need is.
  CHECK(read<int64_t>(replay(*c, {})[0]) == read<int64_t>(second));
  CHECK(read<int64_t>(first) != read<int64_t>(second));
}

TEST_CASE("obstacles") {
  const Tensor x = ramp({3}), outside = ramp({3});
  CHECK(capture([&](const auto& t) { return std::vector{add(t[0], outside)}; }, {x})
            ->obstacle.starts_with("uses a tensor that is neither"));
  CHECK(capture(
            [](const auto& t) {
              read(t[0]);
              return std::vector{scale(t[0], 2)};
            },
            {x})
            ->obstacle.starts_with("reads a value"));
  CHECK(capture(
            [](const auto& t) {
              update(t[0], [](Value v) { return v + 1; });
              return std::vector{scale(t[0], 2)};
            },
            {x})
            ->obstacle.starts_with("writes to"));
  CHECK(capture([&](const auto&) { return std::vector{outside}; }, {x})
            ->obstacle.starts_with("returns a tensor"));
}

TEST_CASE("a proof leaves no node, and refuses to write or to read") {
  const Tensor x = ramp({4}), view = narrow(x, 0, 1, 2);
  x.set_requires_grad(true);
  const Tensor before = scale(x, 2);
  const std::string trace = pending_trace();
  {
    Unit unit({}, true);
    const Tensor y = add(view, view), z = sum(y);
    CHECK(pending_trace() != trace);
    expect_error(ErrorKind::Runtime, {"reads a value"}, [&] { read(z); });
    const Tensor given = detach(x);
    expect_error(ErrorKind::Runtime, {"writes to a tensor"},
                 [&] { update(given, [](Value v) { return v + 1; }); });
    update(y, [](Value v) { return v + 1; });  // its own
  }
  CHECK(pending_trace() == trace);
  CHECK(read(add(view, view)) == Floats{2, 4});
  CHECK(read(before) == Floats{0, 2, 4, 6});
}

TEST_CASE("what a proof made of a symbol is another number in each replay") {
  const auto scaled = [](const Tensor& x, uint32_t symbol, double by = 0.5) {
    return apply(
        [&](Value v) {
          const Value other = ops::scalar(by, DType::Float32);
          const Value number = ops::scalar(by, DType::Float32);
          if (symbol != 0) note_symbol_recorded(symbol, number.id);
          return v * number + other;
        },
        x);
  };
  const Tensor x = ramp({3}), fives = ramp({3}, 0, 5);
  const auto record = [&](bool proving, double by) {
    Unit unit(proving ? std::vector<Tensor>{} : std::vector{x}, proving, false, false, true);
    const Tensor y = scaled(x, proving ? 1 : 0, by);
    return unit.finish({&y, 1});
  };
  const Ref<Capture> proof = record(true, 0.5), c = record(false, 0.5);
  CHECK(proof->symbols.recorded.size() == 1);
  CHECK_FALSE(bind_symbols(*record(false, 0.25), *proof));  // another recording
  REQUIRE(bind_symbols(*c, *proof));
  const Scalar numbers[] = {Scalar(3.0)}, whole[] = {Scalar(int64_t{2})};
  CHECK(read(replay(*c, std::vector{fives}, numbers)[0]) == Floats{15.5, 15.5, 15.5});
  CHECK(read(replay(*c, std::vector{x}, whole)[0]) == Floats{0.5, 2.5, 4.5});
  Launch launch(*c);
  for (const Scalar& number : {Scalar(3.0), Scalar(-1.0)}) {
    const auto out = launch.run(*c, std::vector{fives}, {&number, 1});
    REQUIRE(out.size() == 1);
    CHECK(read(out[0])[0] == 5 * static_cast<float>(number.to_double()) + 0.5f);
  }
}

TEST_CASE("a boolean that is read parts a capture") {
  const Tensor x = ramp({3}, 1, 1);
  Unit unit({x}, false, false, true);
  const Tensor y = scale(x, 2), total = sum(y);
  {
    EffectScope scope(Effect::Read, total);
    scope.note_answer(read(total)[0] > 0);
  }
  const Tensor z = add(y, x);
  const Ref<Capture> c = unit.finish({&z, 1});
  REQUIRE(c->obstacle.empty());
  REQUIRE(c->before.size() == 1);
  const Capture::Part& part = c->before[0];
  CHECK(part.effect == Effect::Read);
  CHECK(part.answer);
  std::vector<Tensor> given{ramp({3})};
  for (Tensor& made : replay(*part.capture, given)) given.push_back(made);
  CHECK(read(given[part.root]) == Floats{6});
  CHECK(read(replay(*c, given)[0]) == Floats{0, 3, 6});
}

TEST_CASE("a unit is not cut at the period of its loop") {
  const auto turns = [](Tensor x) {
    for (int i = 0; i < 1500; ++i) x = apply([](Value v) { return v * 1.0 + 1.0; }, x);
    return x;
  };
  const auto runs_of = [&](bool as_unit) {
    const Tensor x = ramp({2});
    flush();
    executor_under_test().runs = 0;
    Tensor y;
    if (as_unit) {
      Unit unit({x});
      y = turns(x);
      unit.close();
    } else {
      y = turns(x);
    }
    CHECK(read(y) == Floats{1500, 1501});
    return executor_under_test().runs;
  };
  CHECK(runs_of(true) == 1);
  CHECK(runs_of(false) > 1);
}

TEST_CASE("a loop of units is cut between them") {
  Tensor x = ramp({2});
  flush();
  executor_under_test().runs = 0;
  executor_under_test().keys.clear();
  for (int turn = 0; turn < 900; ++turn) {
    x = apply([](Value v) { return v * 0.5 - 0.25; }, x);  // out of step with the unit
    Unit unit({x});
    for (int i = 0; i < 7; ++i) x = apply([](Value v) { return v * 1.0 + 1.0; }, x);
    unit.close();
  }
  read(x);
  CHECK(executor_under_test().runs > 10);
  CHECK(executor_under_test().keys.size() < 12);
}
