// Operations declared in C++: a kernel over buffers, with rules as functions of tensors.
#include "trace/library.h"

#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "generated/functions.h"
#include "tests/core/expect_error.h"
#include "trace/check.h"
#include "trace/parse.h"
#include "trace/print.h"
#include "trace/vmap.h"

using namespace tenon;

namespace {

const char* like_first(const tenon_arguments* arguments, tenon_type* results) {
  results[0] = arguments->inputs[0].type;
  return arguments->inputs[0].type.dtype == TENON_FLOAT32 ? nullptr : "float32 is expected";
}

// x * factor, where 0 is refused.
const char* scale(const tenon_arguments* arguments, const tenon_buffer* results) {
  const double factor = arguments->attributes[0].number;
  if (factor == 0) return "by nothing";
  const auto* const x = static_cast<const float*>(arguments->inputs[0].data);
  auto* const y = static_cast<float*>(results[0].data);
  for (int64_t i = 0; i < tenon_elements(&arguments->inputs[0].type); ++i) {
    y[i] = x[i] * static_cast<float>(factor);
  }
  return nullptr;
}

library::OperationId scaled() {
  static const library::OperationId id = [] {
    library::Operation operation;
    operation.name = "test::scaled";
    operation.infer = like_first;
    operation.kernel = scale;
    operation.batches_leading = true;
    const auto again = [](const library::Arguments& arguments, const std::vector<Tensor>&,
                          const std::vector<Tensor>& given) {
      return library::call(scaled(), {{given[0]}, arguments.attributes});
    };
    operation.backward = again;
    operation.forward = again;
    return library::add(std::move(operation));
  }();
  return id;
}

Tensor times(const Tensor& x, double factor) { return library::call(scaled(), {{x}, {factor}})[0]; }

}  // namespace

TEST_CASE("an operation with a kernel goes through every transform") {
  const Tensor x = ones({2, 3});
  CHECK(sum(times(x, 3)).item<float>() == 18);
  CHECK(sum(times(transpose(cumsum(x, 1), 0, 1), 2)).item<float>() == 24);
  const Tensor leaf = ones({2, 3});
  leaf.set_requires_grad(true);
  autograd::backward(sum(times(times(leaf, 3), 2)));
  CHECK(sum(leaf.grad()).item<float>() == 36);

  autograd::ForwardTransform forward;
  const Tensor y = times(forward.enter(x, add(x, x)), 5);
  CHECK(sum(forward.exit({&y, 1}).tangents[0]).item<float>() == 60);

  Vmap map(2);
  const Tensor each = times(map.enter(x, 0), 7);
  const std::optional<int64_t> front = 0;
  const Tensor batch = map.exit({&each, 1}, {&front, 1})[0];
  CHECK(batch.dims()[1] == 3);
  CHECK(sum(batch).item<float>() == 42);
}

TEST_CASE("what a call says of its arguments comes back from its words") {
  const library::CallSizes sizes{
      {{DType::Float32, {2, 3}}, {DType::Int64, {}}},
      {true, false},
      {int64_t{-5}, 2.5, true, std::string("longer than a word"), std::vector<int64_t>{1, 2},
       std::vector<double>{0.5}, std::monostate{}}};
  const library::CallSizes again = library::decode(library::encode(sizes));
  CHECK(again.attributes == sizes.attributes);
  CHECK(again.is_given == sizes.is_given);
  REQUIRE(again.results.size() == 2);
  CHECK(again.results[0].dims == sizes.results[0].dims);
  CHECK(again.results[1].dtype == DType::Int64);
}

TEST_CASE("a call prints, parses and passes the checker") {
  const Tensor y = times(ones({2}), 3);
  const Program program = parse_program(
      "%0: float32[2] = input\n%1: float32[] = call %0 axes=[" + std::to_string(scaled()) +
      "] sizes=[1, 11, 1, 2, 1, 1, 1, 2, 0]\n%2: float32[2] = region_output %1 axes=[0]\n"
      "return %2\n");
  check_program(program);
  CHECK(print(parse_program(print(program))) == print(program));
  CHECK(pending_trace().find("call") != std::string::npos);
}

TEST_CASE("failures name the operation") {
  testing::expect_error(ErrorKind::Runtime, {"test::scaled: float32 is expected"},
                        [] { times(ones({2}, DType::Float64), 3); });
  testing::expect_error(ErrorKind::Runtime, {"test::scaled: by nothing"},
                        [] { sum(times(ones({2}), 0)).item<float>(); });
  testing::expect_error(ErrorKind::OS, {"load_library"},
                        [] { library::load("/no/such/library.so"); });
  library::Operation bare;
  bare.name = "bare";
  testing::expect_error(ErrorKind::Value, {"space::name"}, [&] { library::add(bare); });
}
