// Regions without Python: recorded, extracted, run by the reference and by the JIT.
#include "trace/region.h"

#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "tests/core/expect_error.h"
#include "tests/trace/values.h"
#include "trace/recorder.h"
#include "trace/tensor.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

// carry = carry * weight + x; y = carry before.
std::vector<Tensor> weighted_sums(const Tensor& begin, const Tensor& xs, const Tensor& weight,
                                  bool reverse = false) {
  OpScope scope("scan");
  const Value carry = scope.use(begin), stack = scope.use(xs), w = scope.use(weight);
  RegionRecording body("scan", xs.size(0));
  const Value parameters[] = {body.parameter(begin.type_id()),
                              body.parameter(step_of(xs.type_id()))};
  const Value outputs[] = {parameters[0] * w + parameters[1], parameters[0]};
  body.finish(outputs);
  std::vector<Tensor> results;
  for (Value value : record_scan(body, parameters, {&carry, 1}, {&stack, 1}, xs.size(0), reverse)) {
    results.push_back(scope.result(value));
  }
  return results;
}

}  // namespace

TEST_CASE("a scan carries and stacks") {
  const Tensor begin = tensor({2}, {1, 2}), weight = tensor({2}, {10, 10});
  const Tensor xs = tensor({3, 2}, {1, 2, 3, 4, 5, 6});
  const std::vector<Tensor> forward = weighted_sums(begin, xs, weight);
  CHECK(read(forward[0]) == std::vector<float>{1135, 2246});
  CHECK(read(forward[1]) == std::vector<float>{1, 2, 11, 22, 113, 224});
  const std::vector<Tensor> backward = weighted_sums(begin, xs, weight, true);
  CHECK(read(backward[0]) == std::vector<float>{1531, 2642});
}

TEST_CASE("equal bodies are one region, and what they read is an operand") {
  const auto record = [](double factor) {
    OpScope scope("scan");
    RegionRecording body("scan", 4);
    const Value parameter = body.parameter(intern_contiguous(DType::Float32, Device{}, {{2}}));
    const Value output = parameter * ops::scalar(factor, DType::Float32);
    body.finish({&output, 1});
    CHECK(body.constants().size() == 1);
    return intern_region(body.build({&parameter, 1}, body.constants()));
  };
  CHECK(record(2) == record(3));
}

TEST_CASE("the scan that reverse mode records again takes the first one's place") {
  const Tensor weight = tensor({2}, {0.5, 2});
  weight.set_requires_grad(true);
  const std::vector<Tensor> out =
      weighted_sums(tensor({2}, {1, 2}), tensor({3, 2}, {1, 2, 3, 4, 5, 6}), weight);
  const Tensor root = sum(out[0]);
  autograd::backward(root);
  Segment& segment = *recorder().segment;
  RunRecipe recipe = make_recipe(segment);
  size_t scans = 0;
  for (const ProgramNode& node : recipe.program.nodes) scans += node.op == Op::Scan;
  CHECK(scans == 2);  // there and back
  CHECK(read(weight.grad()) == std::vector<float>{4.75, 36});
}
