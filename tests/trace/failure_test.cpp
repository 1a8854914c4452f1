// A segment that can't run as a whole: what is read runs without the rest.
#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "tests/core/expect_error.h"
#include "tests/trace/counting_executor.h"
#include "tests/trace/values.h"
#include "trace/recorder.h"
#include "trace/reorder.h"

using namespace tenon;
using namespace tenon::testing;
using Floats = std::vector<float>;

namespace {

constexpr int64_t kImpossible = 7919;  // elements

// Runs programs but those with a result of kImpossible elements.
class ScarceExecutor final : public Executor {
 public:
  ScarceExecutor() { set_executor(this); }
  ~ScarceExecutor() override { set_executor(&executor_under_test()); }
  std::vector<Buffer> run(Program& program) override {
    for (const ProgramNode& node : program.nodes) {
      check(type_of(node.type).numel != kImpossible, ErrorKind::OutOfMemory, "no memory for it");
    }
    return executor_under_test().run(program);
  }
};

Tensor impossible(const Tensor& x) {
  return apply([](Value v) { return ops::full(Dims{kImpossible}, v); }, sum(x));
}

void expect_no_memory(const Tensor& x) {
  expect_error(ErrorKind::OutOfMemory, {"no memory"}, [&] { x.evaluate(); });
}

Tensor joined(const std::vector<Tensor>& parts) {
  OpScope scope("cat");
  std::vector<Value> values;
  for (const Tensor& part : parts) values.push_back(scope.use(part));
  return scope.result(ops::concatenate(values, 0));
}

}  // namespace

TEST_CASE("what does not depend on a failed node can be read, in any order") {
  for (int first = 0; first < 6; ++first) {
    CAPTURE(first);
    const ScarceExecutor scarce;
    const Tensor x = ramp({4}), y = scale(x, 2), big = impossible(y);
    const Tensor z = add(x, y), many = joined({x, y, z, x, y}), total = sum(many);
    const Tensor part = narrow(many, 0, 6, 3), from_big = sum(big);
    expect_no_memory(big);
    const std::vector<Tensor> tensors{y, z, many, total, part, add(part, part)};
    const std::vector<Floats> expected{
        {0, 2, 4, 6}, {0, 3, 6, 9}, {0, 1, 2, 3, 0, 2, 4, 6, 0, 3, 6, 9, 0, 1, 2, 3, 0, 2, 4, 6},
        {54},         {4, 6, 0},    {8, 12, 0}};
    for (int i = 0; i < 6; ++i) {
      const int at = (first + i) % 6;
      CHECK(read(tensors[at]) == expected[at]);
      expect_no_memory(from_big);
    }
    CHECK(read(add(z, z)) == Floats{0, 6, 12, 18});
  }
}

TEST_CASE("derivatives pass through the parts of a failed segment") {
  const ScarceExecutor scarce;
  for (bool read_between : {false, true}) {
    CAPTURE(read_between);
    const Tensor x = ramp({3}, 1, 1);
    x.set_requires_grad(true);
    const Tensor a = mul(x, x), big = impossible(a), b = mul(a, x), c = add(a, b);
    expect_no_memory(big);
    if (read_between) {
      CHECK(read(a) == Floats{1, 4, 9});
      CHECK(read(c) == Floats{2, 12, 36});
    }
    const Tensor loss = sum(mul(c, a));  // x^4 + x^5
    const Tensor of_a = autograd::grad({&loss, 1}, {&a, 1}, {}, true)[0];
    autograd::backward(loss);
    CHECK(read(of_a) == Floats{4, 24, 72});  // 2 a (1 + x)
    CHECK(read(x.grad()) == Floats{9, 112, 513});
    expect_no_memory(big);
  }
}

TEST_CASE("a failed segment is split many times over") {
  const ScarceExecutor scarce;
  std::vector<Tensor> values{ramp({2})};
  const Tensor big = impossible(values[0]);
  for (int i = 0; i < 2000; ++i) values.push_back(scale(values[i % 7], 1));
  expect_no_memory(big);
  for (size_t i = values.size(); i-- > 0;) CHECK(read(values[i]) == Floats{0, 1});
}

TEST_CASE("inside a transform, too") {
  const ScarceExecutor scarce;
  const Tensor x = ramp({3});
  autograd::ReverseTransform transform;
  const Tensor v = transform.enter(x), y = mul(v, v), big = impossible(y), z = scale(y, 3);
  expect_no_memory(big);
  CHECK(read(z) == Floats{0, 3, 12});
  expect_no_memory(big);
  const std::vector<Tensor> out = transform.exit({&z, 1});
  const Tensor one = scale(add(ramp({3}, 0), ramp({3}, 0, 1)), 1);
  CHECK(read(transform.pull({&one, 1})[0]) == Floats{0, 6, 12});
}

TEST_CASE("bring_forward keeps what nodes are") {
  flush();
  const Tensor x = ramp({2, 3}), y = scale(x, 2);
  const Tensor cat = joined({y, x, x, y}), rows = narrow(cat, 0, 1, 2), other = add(x, x);
  const Tensor last = sum(add(rows, other));
  Recorder& r = recorder();
  TraceLock lock;
  const Ref<Segment> segment = next_segment(r);
  const NodeId wanted = other.cell()->node;
  const size_t size = segment->nodes.size();
  const NodeId count = bring_forward(*segment, wanted);
  CHECK(count == 2);  // x and the sum
  CHECK(other.cell()->node == count - 1);
  CHECK(segment->nodes.size() == size);
  for (NodeId id = 0; id < size; ++id) {
    if (segment->nodes[id].op == Op::Input) continue;
    for (NodeId operand : segment->operands_of(segment->nodes[id])) CHECK(operand < id);
  }
  segment->self = segment;  // as the recorder leaves a sealed segment
  CHECK(read(last) == Floats{57});
  CHECK(read(cat).size() == 24);
}
