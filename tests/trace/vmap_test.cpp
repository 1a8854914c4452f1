// vmap against a loop over examples: every primitive, every choice of batched operands; and its
// rules about levels, writes, random numbers and errors.
#include "trace/vmap.h"

#include <doctest/doctest.h>

#include <string>

#include "autograd/autograd.h"
#include "tests/core/expect_error.h"
#include "tests/trace/values.h"
#include "trace/attention.h"
#include "trace/recorder.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

using Body = std::function<Value(std::span<const Value>)>;

Tensor run_body(const Body& body, std::span<const Tensor> inputs) {
  OpScope scope("body");
  std::vector<Value> values;
  for (const Tensor& input : inputs) values.push_back(scope.use(input));
  return scope.result(body(values));
}

Tensor row(const Tensor& x, int64_t i) {
  return apply(
      [&](Value v) {
        const auto dims = type_of(v).dims();
        return ops::reshape(ops::slice_axis(v, 0, i, 1), Dims(dims.begin() + 1, dims.end()));
      },
      x);
}

Tensor one(const std::vector<Tensor>& tensors) { return tensors.at(0); }

struct Case {
  const char* name;
  std::vector<Tensor> inputs;  // each with three examples at axis 0
  Body body;
};

Tensor floats(std::initializer_list<int64_t> dims, int seed) {
  int64_t n = 1;
  for (int64_t dim : dims) n *= dim;
  std::vector<float> values(n);
  uint32_t state = 12345u + 977u * static_cast<uint32_t>(seed);
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state >> 8) % 200) / 64 + 0.25f;
  }
  return from_bytes(DType::Float32, std::span(dims.begin(), dims.size()),
                    std::as_bytes(std::span(values)));
}

Tensor below(int64_t bound, std::initializer_list<int64_t> dims, int seed) {
  int64_t n = 1;
  for (int64_t dim : dims) n *= dim;
  std::vector<int64_t> values(n);
  uint32_t state = 99u + 7919u * static_cast<uint32_t>(seed);
  for (int64_t& value : values) {
    state = state * 1664525u + 1013904223u;
    value = (state >> 10) % bound;
  }
  return from_bytes(DType::Int64, std::span(dims.begin(), dims.size()),
                    std::as_bytes(std::span(values)));
}

Tensor booleans(std::initializer_list<int64_t> dims, int seed) {
  return apply([](Value x) { return x > 1.5; }, floats(dims, seed));
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const auto add = [&](const char* name, std::vector<Tensor> inputs, Body body) {
    list.push_back({name, std::move(inputs), std::move(body)});
  };
  const Tensor m = floats({3, 2, 4}, 1), n = floats({3, 2, 4}, 2), v = floats({3, 4}, 3),
               s = floats({3}, 4);
  add("exp", {m}, [](auto x) { return ops::unary(Op::Exp, x[0]); });
  add("add of equal ranks", {m, n}, [](auto x) { return x[0] + x[1]; });
  add("mul of ranks 2 and 1", {m, v}, [](auto x) { return x[0] * x[1]; });
  add("sub of ranks 1 and 2", {v, m}, [](auto x) { return x[0] - x[1]; });
  add("div of ranks 2 and 0", {m, s}, [](auto x) { return x[0] / x[1]; });
  add("lt", {m, v}, [](auto x) { return x[0] < x[1]; });
  add("select", {booleans({3, 4}, 5), m, s}, [](auto x) { return ops::select(x[0], x[1], x[2]); });
  add("cast", {m}, [](auto x) { return ops::cast(x[0], DType::Int32); });
  add("bitcast", {m}, [](auto x) { return ops::bitcast(x[0], DType::Int32); });
  add("alias", {m}, [](auto x) { return ops::alias(x[0]); });
  add("redirect", {m, n}, [](auto x) { return ops::redirect(x[0], x[1]); });
  add("expand", {v}, [](auto x) { return ops::expand(x[0], {{5, 2, 4}}); });
  add("expand of 0-d", {s}, [](auto x) { return ops::expand(x[0], {{2, 3}}); });
  add("reshape", {m}, [](auto x) { return ops::reshape(x[0], {{8}}); });
  add("permute", {m}, [](auto x) { return ops::permute(x[0], {{1, 0}}); });
  add("slice", {m}, [](auto x) { return ops::slice(x[0], {{1, 3}}, {{1, -2}}, {{1, 2}}); });
  add("pad", {m, s}, [](auto x) { return ops::pad(x[0], x[1], {{1, 0}}, {{0, 2}}, {{1, 0}}); });
  add("concatenate", {m, n}, [](auto x) {
    const Value parts[] = {x[0], x[1], x[0]};
    return ops::concatenate(parts, 1);
  });
  add("update_slice", {m, floats({3, 1, 2}, 6)},
      [](auto x) { return ops::update_slice(x[0], x[1], {{1, 0}}, {{1, 2}}); });
  const Tensor table = floats({3, 5, 2}, 7), picks = below(5, {3, 4}, 8);
  add("gather of rows", {table, picks}, [](auto x) { return ops::gather(x[0], x[1], 0); });
  add("gather of columns", {m, below(4, {3, 2, 2}, 9)},
      [](auto x) { return ops::gather(x[0], x[1], 1); });
  add("gather of one", {table, below(5, {3}, 10)},
      [](auto x) { return ops::gather(x[0], x[1], 0); });
  add("take_along", {m, below(4, {3, 2, 3}, 11)},
      [](auto x) { return ops::take_along(x[0], x[1], 1); });
  add("scatter_add", {table, picks, floats({3, 4, 2}, 12)},
      [](auto x) { return ops::scatter_add(x[0], x[1], x[2], 0); });
  add("scatter_set", {m, below(4, {3, 3}, 13), floats({3, 2, 3}, 14)},
      [](auto x) { return ops::scatter_set(x[0], x[1], x[2], 1); });
  add("put_along_add", {m, below(2, {3, 3, 4}, 15), floats({3, 3, 4}, 16)},
      [](auto x) { return ops::put_along_add(x[0], x[1], x[2], 0); });
  add("put_along_set", {m, below(2, {3, 3, 4}, 15), floats({3, 3, 4}, 16)},
      [](auto x) { return ops::put_along_set(x[0], x[1], x[2], 0); });
  for (Op op : {Op::ReduceSum, Op::ReduceProd, Op::ReduceMax, Op::ReduceMin}) {
    add(info(op).name, {m}, [op](auto x) { return ops::reduce(op, x[0], {{1}}); });
    add(info(op).name, {m}, [op](auto x) { return ops::reduce(op, x[0], {{0, 1}}); });
  }
  for (Op op : {Op::ReduceAny, Op::ReduceAll}) {
    add(info(op).name, {booleans({3, 2, 4}, 17)},
        [op](auto x) { return ops::reduce(op, x[0], {{1}}); });
  }
  for (Op op : {Op::Argmax, Op::Argmin}) {
    add(info(op).name, {m}, [op](auto x) { return ops::argreduce(op, x[0], 0); });
  }
  for (Op op : {Op::Cumsum, Op::Cumprod, Op::Cummax, Op::Cummin}) {
    add(info(op).name, {m}, [op](auto x) { return ops::cumulative(op, x[0], 1); });
  }
  add("argsort", {m}, [](auto x) { return ops::argsort(x[0], 1, true); });
  add("dot of matrices", {m, floats({3, 4, 3}, 18)},
      [](auto x) { return ops::dot_general(x[0], x[1], {}, {}, {{1}}, {{0}}); });
  add("dot of a matrix and a vector", {m, v},
      [](auto x) { return ops::dot_general(x[0], x[1], {}, {}, {{1}}, {{0}}); });
  add("dot with a batch axis last", {floats({3, 2, 4, 5}, 19), floats({3, 5, 6, 4}, 20)},
      [](auto x) { return ops::dot_general(x[0], x[1], {{2}}, {{0}}, {{1}}, {{2}}); });
  add("outer product", {v, v}, [](auto x) { return ops::dot_general(x[0], x[1], {}, {}, {}, {}); });
  // x, w and y of a convolution with two groups: each from the two others.
  const Tensor image = floats({3, 2, 4, 5}, 21), weight = floats({3, 6, 2, 2}, 22),
               output = floats({3, 2, 6, 3}, 23);
  const ops::ConvolutionSizes sizes{2, {2}, {1}, {1}};
  add("convolution", {image, weight}, [=](auto x) {
    return ops::convolution(ops::ConvolutionRole::Output, x[0], x[1], sizes, {{3}});
  });
  add("input of a convolution", {weight, output}, [=](auto x) {
    return ops::convolution(ops::ConvolutionRole::Input, x[0], x[1], sizes, {{5}});
  });
  add("weight of a convolution", {image, output}, [=](auto x) {
    return ops::convolution(ops::ConvolutionRole::Weight, x[0], x[1], sizes, {{2}});
  });
  const Tensor query = floats({3, 4, 3}, 24), key = floats({3, 5, 3}, 25),
               value = floats({3, 5, 2}, 26), allowed = booleans({3, 4, 5}, 27);
  const auto attend = [](std::span<const Value> x) {
    return ops::Attention{x[0], x[1], x[2], ops::scalar(0.5, DType::Float64), {}, false};
  };
  add("attention", {query, key, value}, [=](auto x) { return ops::attention(attend(x)); });
  add("attention_normalizer with a mask", {query, key, value, allowed}, [=](auto x) {
    ops::Attention a = attend(x);
    a.mask = x[3];
    return ops::attention_normalizer(a);
  });
  add("attention_gradient", {query, key, value, floats({3, 4, 2}, 28)}, [=](auto x) {
    const ops::Attention a = attend(x);
    return ops::attention_gradient(a, 1, ops::attention(a), ops::attention_normalizer(a), x[3]);
  });
  add("iota and constant beside an example", {v}, [](auto x) {
    return ops::cast(ops::iota({{4}}, 0), DType::Float32) * x[0] + ops::scalar(2.5, DType::Float32);
  });
  return list;
}

}  // namespace

TEST_CASE("each primitive under vmap equals a loop over examples") {
  for (const Case& c : cases()) {
    const size_t count = c.inputs.size();
    for (unsigned subset = 1; subset < 1u << count; ++subset) {
      CAPTURE(c.name);
      CAPTURE(subset);
      std::vector<Tensor> inputs = c.inputs;
      std::vector<std::optional<int64_t>> in_dims(count);
      for (size_t k = 0; k < count; ++k) {
        if (subset >> k & 1) {
          in_dims[k] = 0;
        } else {
          inputs[k] = row(inputs[k], 1);
        }
      }
      const Tensor mapped =
          one(vmap([&](auto examples) { return std::vector{run_body(c.body, examples)}; }, in_dims,
                   0, inputs));
      std::vector<std::byte> expected;
      for (int64_t i = 0; i < 3; ++i) {
        std::vector<Tensor> examples = inputs;
        for (size_t k = 0; k < count; ++k) {
          if (in_dims[k]) examples[k] = row(inputs[k], i);
        }
        const Tensor result = run_body(c.body, examples);
        CHECK(mapped.dtype() == result.dtype());
        CHECK(Dims(mapped.dims().subspan(1)) == Dims(result.dims()));
        const auto bytes = result.to_bytes();
        expected.insert(expected.end(), bytes.begin(), bytes.end());
      }
      CHECK(mapped.to_bytes() == expected);
    }
  }
}

TEST_CASE("in_dims and out_dims place the batch") {
  const Tensor x = ramp({2, 3});
  const std::optional<int64_t> last[] = {-1};
  const auto twice = [](std::span<const Tensor> e) { return std::vector{scale(e[0], 2)}; };
  const Tensor y = one(vmap(twice, last, 0, {&x, 1}));
  CHECK(Dims(y.dims()) == Dims{3, 2});
  CHECK(read(y) == std::vector<float>{0, 6, 2, 8, 4, 10});
  const Tensor z = one(vmap(twice, last, -1, {&x, 1}));
  CHECK(Dims(z.dims()) == Dims{2, 3});
  CHECK(read(z) == std::vector<float>{0, 2, 4, 6, 8, 10});
  expect_error(ErrorKind::Index, {"out_dim=2", "-2 to 1"}, [&] { vmap(twice, last, 2, {&x, 1}); });
  const std::optional<int64_t> bad[] = {3};
  expect_error(ErrorKind::Index, {"in_dim=3"}, [&] { vmap(twice, bad, 0, {&x, 1}); });
}

TEST_CASE("an output that no example changes is repeated") {
  const Tensor x = ramp({2, 3}), c = ramp({2}, 1, 5);
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor y = one(vmap([&](auto) { return std::vector{scale(c, 2)}; }, in_dims, 0, {&x, 1}));
  CHECK(Dims(y.dims()) == Dims{2, 2});
  CHECK(read(y) == std::vector<float>{10, 12, 10, 12});
}

TEST_CASE("vmaps nest: an outer example is a constant of the inner one") {
  const Tensor x = ramp({2, 4}), y = ramp({3, 4}, 0.5f, 1);
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor product = one(vmap(
      [&](std::span<const Tensor> a) {
        return vmap(
            [&](std::span<const Tensor> b) { return std::vector{sum(mul(mul(a[0], b[0]), a[0]))}; },
            in_dims, 0, {&y, 1});
      },
      in_dims, 0, {&x, 1}));
  CHECK(Dims(product.dims()) == Dims{2, 3});
  const auto a = read(x), b = read(y);
  std::vector<float> expected;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      float total = 0;
      for (int k = 0; k < 4; ++k) total += a[4 * i + k] * b[4 * j + k] * a[4 * i + k];
      expected.push_back(total);
    }
  }
  CHECK(read(product) == expected);
}

TEST_CASE("views and writes inside the function stay with the example") {
  const Tensor x = ramp({3, 4});
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor y = one(vmap(
      [](std::span<const Tensor> e) {
        const Tensor buffer =
            apply([](Value) { return ops::full({{4}}, ops::literal(1, DType::Float32)); }, e[0]);
        const Tensor view = narrow(buffer, 0, 1, 2);
        update(view, [](Value, Value v) { return ops::slice_axis(v, 0, 0, 2); }, e[0]);
        update(buffer, [](Value b) { return b * 10.0; });
        return std::vector{add(buffer, scale(sum(view), 0))};
      },
      in_dims, 0, {&x, 1}));
  CHECK(read(y) == std::vector<float>{10, 0, 10, 10, 10, 40, 50, 10, 10, 80, 90, 10});
  CHECK(x.version() == 0);
}

TEST_CASE("what the function writes to its argument arrives in the caller's tensor") {
  const Tensor x = ramp({2, 3});
  const std::optional<int64_t> in_dims[] = {1};
  vmap(
      [](std::span<const Tensor> e) {
        update(e[0], [](Value v) { return v + 1.0; });
        return std::vector<Tensor>{};
      },
      in_dims, 0, {&x, 1});
  CHECK(read(x) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(x.version() == 1);
}

TEST_CASE("a batched value is neither read nor kept nor written outside") {
  const Tensor x = ramp({2, 3}), outside = ramp({3});
  const std::optional<int64_t> in_dims[] = {0};
  expect_error(ErrorKind::Runtime, {"batched", "where"}, [&] {
    vmap(
        [](auto e) {
          return std::vector{tensor({}, {static_cast<float>(sum(e[0]).item_double())})};
        },
        in_dims, 0, {&x, 1});
  });
  expect_error(ErrorKind::Runtime, {"made outside"}, [&] {
    vmap(
        [&](auto e) {
          update(outside, [](Value, Value v) { return v; }, e[0]);
          return std::vector{e[0]};
        },
        in_dims, 0, {&x, 1});
  });
  Tensor kept;
  vmap(
      [&](auto e) {
        kept = scale(e[0], 2);
        return std::vector{e[0]};
      },
      in_dims, 0, {&x, 1});
  expect_error(ErrorKind::Runtime, {"vmap that has ended"}, [&] { scale(kept, 2); });
  expect_error(ErrorKind::Runtime, {"vmap"}, [&] { kept.to_bytes(); });
  flush();
  expect_error(ErrorKind::Runtime, {"vmap that has ended"}, [&] { scale(kept, 2); });
  expect_error(ErrorKind::Runtime, {"vmap that has ended"}, [&] { kept.to_bytes(); });
}

TEST_CASE("values that no example changes can be read inside") {
  const Tensor x = ramp({2, 3}), c = ramp({2}, 1, 5);
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor y = one(vmap(
      [&](auto e) {
        const double factor = sum(c).item_double();
        return std::vector{scale(e[0], factor)};
      },
      in_dims, 0, {&x, 1}));
  CHECK(read(y) == std::vector<float>{0, 11, 22, 33, 44, 55});
}

TEST_CASE("an exception restores the recorder at every depth") {
  const Tensor x = ramp({2, 3});
  const std::optional<int64_t> in_dims[] = {0};
  for (int depth = 0; depth < 3; ++depth) {
    std::function<std::vector<Tensor>(std::span<const Tensor>, int)> nest =
        [&](std::span<const Tensor> e, int left) -> std::vector<Tensor> {
      if (left == 0) throw std::runtime_error("user");
      return vmap([&](auto inner) { return nest(inner, left - 1); }, in_dims, 0, {&x, 1});
      static_cast<void>(e);
    };
    CHECK_THROWS_AS(nest({&x, 1}, depth), std::runtime_error);
    CHECK(recorder().vmaps.empty());
    CHECK(recorder().transforms == 0);
    CHECK(recorder().scopes == 0);
    CHECK(read(scale(x, 1)) == read(x));
  }
}

TEST_CASE("random numbers inside: an error, one draw, or one an example") {
  const Tensor x = ramp({3, 2});
  const std::optional<int64_t> in_dims[] = {0};
  const auto draw = [](std::span<const Tensor> e) {
    return std::vector{
        apply([](Value v) { return v * ops::cast(random_bits({{2}}), DType::Float32); }, e[0])};
  };
  const auto bits_of = [&](Randomness randomness) {
    manual_seed(7);
    const Tensor ones = tensor({3, 2}, {1, 1, 1, 1, 1, 1});
    return read(one(vmap(draw, in_dims, 0, {&ones, 1}, randomness)));
  };
  expect_error(ErrorKind::Runtime, {"randomness=\"different\"", "randomness=\"same\""},
               [&] { bits_of(Randomness::Error); });
  const auto same = bits_of(Randomness::Same), different = bits_of(Randomness::Different);
  CHECK(same[0] == same[2]);
  CHECK(same[1] == same[5]);
  CHECK(different[0] != different[2]);
  CHECK(different[0] == same[0]);  // one call: the same numbers, dealt out
  CHECK(bits_of(Randomness::Different) == different);
}

TEST_CASE("vmap of grad, grad of vmap, and backward around both") {
  const Tensor x = ramp({2, 3}, 0.5f, 0.25f);
  const std::optional<int64_t> in_dims[] = {0};
  const auto cube = [](const Tensor& v) { return sum(mul(mul(v, v), v)); };
  const auto gradient_of = [&](const auto& f, const Tensor& at) {
    autograd::ReverseTransform transform;
    const Tensor inner = transform.enter(at);
    const Tensor out = f(inner);
    transform.exit({&out, 1});
    const Tensor seed = apply([](Value v) { return ops::ones_like(v); }, out);
    return one(transform.pull({&seed, 1}));
  };
  const auto values = read(x);
  std::vector<float> first, second;
  for (float v : values) {
    first.push_back(3 * v * v);
    second.push_back(6 * v);
  }
  const Tensor per_example =
      one(vmap([&](auto e) { return std::vector{gradient_of(cube, e[0])}; }, in_dims, 0, {&x, 1}));
  CHECK(read(per_example) == first);
  const auto mapped_sum = [&](const Tensor& v) {
    return sum(one(vmap([&](auto e) { return std::vector{cube(e[0])}; }, in_dims, 0, {&v, 1})));
  };
  CHECK(read(gradient_of(mapped_sum, x)) == first);
  const auto gradient_sum = [&](const Tensor& v) {
    return sum(one(
        vmap([&](auto e) { return std::vector{gradient_of(cube, e[0])}; }, in_dims, 0, {&v, 1})));
  };
  CHECK(read(gradient_of(gradient_sum, x)) == second);
  const Tensor leaf = ramp({2, 3}, 0.5f, 0.25f);
  leaf.set_requires_grad(true);
  autograd::backward(gradient_sum(leaf));
  CHECK(read(leaf.grad()) == second);
}

TEST_CASE("backward inside vmap reaches leaves made inside, and refuses those made outside") {
  const Tensor x = ramp({2, 3}), weight = ramp({3});
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor y = one(vmap(
      [](auto e) {
        const Tensor leaf = detach(e[0]);
        const Tensor own = scale(leaf, 1);
        own.set_requires_grad(true);
        autograd::backward(sum(mul(own, own)));
        return std::vector{own.grad()};
      },
      in_dims, 0, {&x, 1}));
  CHECK(read(y) == std::vector<float>{0, 2, 4, 6, 8, 10});
  weight.set_requires_grad(true);
  expect_error(ErrorKind::Runtime, {"batched", "func.grad"}, [&] {
    vmap(
        [&](auto e) {
          autograd::backward(sum(mul(e[0], weight)));
          return std::vector{e[0]};
        },
        in_dims, 0, {&x, 1});
  });
  CHECK_FALSE(weight.grad().defined());
  CHECK(recorder().vmaps.empty());
}

TEST_CASE("no_grad and detach inside the function hold after batching") {
  const Tensor x = ramp({2, 3}, 1, 1);
  x.set_requires_grad(true);
  const std::optional<int64_t> in_dims[] = {0};
  const Tensor y = one(vmap(
      [](auto e) {
        Tensor constant;
        {
          GradMode mode(false);
          constant = mul(e[0], e[0]);
        }
        return std::vector{sum(add(mul(constant, e[0]), mul(detach(e[0]), e[0])))};
      },
      in_dims, 0, {&x, 1}));
  autograd::backward(sum(y));
  CHECK(read(x.grad()) == std::vector<float>{2, 6, 12, 20, 30, 42});
}

TEST_CASE("closing a transform restores the recorder while the transform lives on") {
  const Tensor x = ramp({2});
  autograd::ReverseTransform outer;
  autograd::ForwardTransform inner;
  outer.enter(x);
  inner.enter(x, x);
  inner.close();
  outer.close();
  CHECK(recorder().depth == 0);
  CHECK(recorder().transforms == 0);
  autograd::ReverseTransform again;
  CHECK(recorder().depth == 1);
  inner.close();
  CHECK(recorder().depth == 1);
}
