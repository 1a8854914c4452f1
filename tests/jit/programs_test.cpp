// Programs whose parts belong together: one kernel each, and the same bits as apart.
#include "core/error.h"
#include "tests/jit/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

uint32_t softmax(ProgramBuilder& p, uint32_t x) {
  const uint32_t e = p.unary(Op::Exp, p.binary(Op::Sub, x, p.reduce_keep(Op::ReduceMax, x, {1})));
  return p.binary(Op::Div, e, p.reduce_keep(Op::ReduceSum, e, {1}));
}

void softmax_forward_and_backward(ProgramBuilder& p, std::vector<int64_t> dims) {
  const uint32_t y = softmax(p, p.input(random_array(dims, 1)));
  const uint32_t g = p.input(random_array(dims, 2));
  const uint32_t s = p.reduce_keep(Op::ReduceSum, p.binary(Op::Mul, g, y), {1});
  p.output(y);
  p.output(p.binary(Op::Mul, p.binary(Op::Sub, g, s), y));
}

void layer_norm(ProgramBuilder& p, int64_t rows, int64_t n) {
  const uint32_t x = p.input(random_array({rows, n}, 3));
  const uint32_t weight = p.input(random_array({n}, 4)), bias = p.input(random_array({n}, 5));
  const uint32_t scale = p.scalar(1.0 / static_cast<double>(n));
  const auto mean = [&](uint32_t v) {
    return p.binary(Op::Mul, p.reduce_keep(Op::ReduceSum, v, {1}), scale);
  };
  const uint32_t centered = p.binary(Op::Sub, x, mean(x));
  const uint32_t variance = mean(p.binary(Op::Mul, centered, centered));
  const uint32_t r = p.unary(Op::Rsqrt, p.binary(Op::Add, variance, p.literal(1e-5)));
  const uint32_t normal = p.binary(Op::Mul, centered, r);
  p.output(p.binary(Op::Add, p.binary(Op::Mul, normal, weight), bias));
  // Backward: gradients of x, weight and bias.
  const uint32_t g = p.input(random_array({rows, n}, 6));
  const uint32_t h = p.binary(Op::Mul, g, weight);
  const uint32_t m1 = mean(h), m2 = mean(p.binary(Op::Mul, h, normal));
  p.output(p.binary(Op::Mul, r,
                    p.binary(Op::Sub, p.binary(Op::Sub, h, m1), p.binary(Op::Mul, normal, m2))));
  p.output(p.reduce(Op::ReduceSum, p.binary(Op::Mul, g, normal), {0}));
  p.output(p.reduce(Op::ReduceSum, g, {0}));
}

void cross_entropy(ProgramBuilder& p, int64_t rows, int64_t classes) {
  const uint32_t x = p.input(random_array({rows, classes}, 7));
  const uint32_t target = p.reshape(p.input(random_index({rows}, 8, classes)), {rows, 1});
  const uint32_t hot = p.binary(Op::Eq, p.iota({rows, classes}, 1), target);
  const uint32_t shifted = p.binary(Op::Sub, x, p.reduce_keep(Op::ReduceMax, x, {1}));
  const uint32_t e = p.unary(Op::Exp, shifted);
  const uint32_t sum = p.reduce_keep(Op::ReduceSum, e, {1});
  const uint32_t log_p = p.binary(Op::Sub, shifted, p.unary(Op::Log, sum));
  const uint32_t picked =
      p.reduce(Op::ReduceSum, p.node(Op::Select, {hot, log_p, p.literal(0)}), {1});
  const uint32_t scale = p.scalar(-1.0 / static_cast<double>(rows));
  p.output(p.binary(Op::Mul, p.reduce(Op::ReduceSum, picked, {0}), scale));
  const uint32_t soft = p.binary(Op::Div, e, sum);
  p.output(p.binary(Op::Mul, p.binary(Op::Sub, soft, p.cast(hot, DType::Float32)),
                    p.scalar(1.0 / static_cast<double>(rows))));
}

}  // namespace

TEST_CASE("a chain is one kernel") {
  const auto chain = [](int64_t n) {
    return [n](ProgramBuilder& p) {
      const uint32_t x = p.input(random_array({n}, 1)), y = p.input(random_array({n}, 2));
      const uint32_t a =
          p.unary(Op::Tanh, p.binary(Op::Add, p.binary(Op::Mul, x, y), p.unary(Op::Sin, x)));
      const uint32_t b = p.unary(Op::Exp, p.binary(Op::Mul, p.unary(Op::Neg, y), y));
      p.output(p.binary(Op::Add, p.binary(Op::Mul, a, b), x));
    };
  };
  for (int64_t n : {1, 5, 63, 64, 65, 1000}) check_program(chain(n));
  CHECK(fused_kernels(chain(1000)) == 1);
}

TEST_CASE("softmax, its derivative, layer norm and cross entropy") {
  for (std::vector<int64_t> dims : {std::vector<int64_t>{3, 5}, {4, 64}, {2, 130}, {5, 1000}}) {
    const Build build = [&](ProgramBuilder& p) { softmax_forward_and_backward(p, dims); };
    check_program(build);
    CHECK(fused_kernels(build) == 1);
    const Build norm = [&](ProgramBuilder& p) { layer_norm(p, dims[0], dims[1]); };
    check_program(norm, 1e-5);
    CHECK(fused_kernels(norm) == 2);  // the rows, and the gradients of weight and bias
    const Build entropy = [&](ProgramBuilder& p) { cross_entropy(p, dims[0], dims[1]); };
    check_program(entropy, 1e-5);
    CHECK(fused_kernels(entropy) == 3);  // the rows, and the mean in two steps
  }
}

TEST_CASE("a training step of a perceptron") {
  const auto step = [](int64_t batch) {
    return [batch](ProgramBuilder& p) {
      const int64_t in = 20, hidden = 33;
      const uint32_t x = p.input(random_array({batch, in}, 1));
      const uint32_t w = p.input(random_array({in, hidden}, 2), true);
      const uint32_t b = p.input(random_array({hidden}, 3), true);
      const uint32_t v = p.input(random_array({hidden, 1}, 4), true);
      const uint32_t t = p.input(random_array({batch, 1}, 5));
      const uint32_t rate = p.scalar(0.01);
      const uint32_t h =
          p.unary(Op::Tanh, p.binary(Op::Add, p.node(Op::DotGeneral, {x, w}, {0, 1, 1, 0}), b));
      const uint32_t y = p.node(Op::DotGeneral, {h, v}, {0, 1, 1, 0});
      const uint32_t d = p.binary(Op::Sub, y, t);
      p.output(p.reduce(Op::ReduceSum, p.binary(Op::Mul, d, d), {0, 1}));
      const uint32_t gv = p.node(Op::DotGeneral, {h, d}, {0, 1, 0, 0});
      const uint32_t gh = p.node(Op::DotGeneral, {d, v}, {0, 1, 1, 1});
      const uint32_t ga =
          p.binary(Op::Mul, gh, p.binary(Op::Sub, p.literal(1), p.binary(Op::Mul, h, h)));
      const uint32_t gw = p.node(Op::DotGeneral, {x, ga}, {0, 1, 0, 0});
      const uint32_t gb = p.reduce(Op::ReduceSum, ga, {0});
      const auto update = [&](uint32_t parameter, uint32_t gradient) {
        p.output(p.binary(Op::Sub, parameter, p.binary(Op::Mul, gradient, rate)));
      };
      update(w, gw);
      update(b, gb);
      update(v, gv);
    };
  };
  for (int64_t batch : {1, 2, 16, 65}) check_program(step(batch), 2e-5);
}

TEST_CASE("one plan for many extents") {
  const auto program = [](int64_t a, int64_t b) {
    return [a, b](ProgramBuilder& p) {
      const uint32_t x = p.input(random_array({a, b}, 1));
      p.output(p.binary(Op::Mul, softmax(p, x), p.scalar(static_cast<double>(a))));
    };
  };
  run(program(3, 5), jit::Mode::Fused);
  const jit::Counters before = jit::counters();
  for (int64_t a : {2, 3, 7, 64}) {
    for (int64_t b : {2, 5, 7, 64, 129}) run(program(a, b), jit::Mode::Fused);
  }
  const jit::Counters after = jit::counters();
  CHECK(after.plans == before.plans);
  CHECK(after.kernels == before.kernels);
}

TEST_CASE("equal layers are one kernel") {
  jit::clear_plans();
  const auto layers = [](int count) {
    return [count](ProgramBuilder& p) {
      uint32_t x = p.input(random_array({4, 8}, 1));
      for (int i = 0; i < count; ++i) {
        const uint32_t w = p.input(random_array({8, 8}, 2 + i));
        const uint32_t y = p.node(Op::DotGeneral, {x, w}, {0, 1, 1, 0});
        x = p.unary(Op::Atan, p.binary(Op::Add, y, p.literal(0.125)));
      }
      p.output(x);
    };
  };
  const jit::Counters before = jit::counters();
  run(layers(6), jit::Mode::Fused);
  CHECK(jit::counters().kernels - before.kernels <= 1);
}

TEST_CASE("donated inputs are written in place") {
  ProgramBuilder p;
  const uint32_t w = p.input(random_array({100}, 1), true), g = p.input(random_array({100}, 2));
  p.output(p.binary(Op::Sub, w, p.binary(Op::Mul, g, p.scalar(0.1))));
  const void* memory = p.program().inputs[0].storage->data();
  const std::vector<Array> expected = evaluate(p.program());
  const std::vector<Buffer> got = jit::plan_for(p.program()).run(p.program());
  CHECK(got[0].storage->data() == memory);
  CHECK(distance(to_array(got[0]), expected[0]) < 1e-6);

  ProgramBuilder cache;  // a key-value cache never copies
  const uint32_t base = cache.input(random_array({64, 8}, 3), true);
  const uint32_t row = cache.input(random_array({1, 8}, 4));
  cache.output(cache.node(Op::UpdateSlice, {base, row}, {}, {10, 0, 1, 1}));
  const void* cached = cache.program().inputs[0].storage->data();
  const std::vector<Array> updated = evaluate(cache.program());
  const std::vector<Buffer> result = jit::plan_for(cache.program()).run(cache.program());
  CHECK(result[0].storage->data() == cached);
  CHECK(distance(to_array(result[0]), updated[0]) == 0);
}

TEST_CASE("a temporary is updated where it lies") {
  const auto updates = [](ProgramBuilder& p) {
    uint32_t x = p.unary(Op::Exp, p.input(random_array({64, 32}, 1)));
    const uint32_t y = p.input(random_array({1, 32}, 2));
    for (int64_t i = 0; i < 10; ++i) {
      x = p.node(Op::UpdateSlice, {x, y}, {}, {5 * i, 0, 1, 1});
      x = p.node(Op::ScatterAdd,
                 {x, p.input(random_index({3}, 3 + i, 64)), p.input(random_array({3, 32}, 4))},
                 {0});
    }
    p.output(x);
  };
  check_program(updates);
  const uint64_t before = jit::counters().launches;
  run(updates, jit::Mode::Fused);
  CHECK(jit::counters().launches - before == 21);  // one for the exponential, none for copies
}

TEST_CASE("what fails on data raises and spoils nothing") {
  const auto gather = [](ProgramBuilder& p) {
    Array index = random_index({4}, 1, 9);
    index.values[2] = 9;
    const uint32_t w = p.input(random_array({9, 5}, 2), true);
    p.output(p.node(Op::Gather, {w, p.input(index)}, {0}));
    p.output(p.binary(Op::Mul, w, p.literal(2)));
  };
  for (jit::Mode mode : {jit::Mode::Fused, jit::Mode::Unfused, jit::Mode::Interpret}) {
    ProgramBuilder p;
    gather(p);
    const Array before = to_array(p.program().inputs[0]);
    jit::set_mode(mode);
    std::string message;
    try {
      jit::plan_for(p.program()).run(p.program());
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::IndexOutOfRange);
      message = error.what();
    }
    CHECK(message == "gather: index 9 is out of bounds for dimension 0 with size 9");
    CHECK(distance(to_array(p.program().inputs[0]), before) == 0);
  }
  jit::set_mode(jit::Mode::Fused);
  CHECK_THROWS_AS(
      run(
          [](ProgramBuilder& p) {
            p.output(p.binary(Op::FloorDiv, p.input(random_array({70}, 1, DType::Int64)),
                              p.input(random_array({70}, 1, DType::Int64, 0, 2))));
          },
          jit::Mode::Fused),
      Error);
}
