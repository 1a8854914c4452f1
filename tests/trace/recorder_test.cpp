// What recording promises: views and writes, versions, leaves, exposed memory, lifetimes.
#include "trace/recorder.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/autograd.h"
#include "core/allocator.h"
#include "tests/core/expect_error.h"
#include "tests/trace/counting_executor.h"
#include "tests/trace/values.h"

using namespace tenon;
using namespace tenon::testing;
using Floats = std::vector<float>;

namespace {

Tensor transpose(const Tensor& x) {
  return make_view(x, Op::Permute, Dims{1, 0}, {}, Dims{x.dims()[1], x.dims()[0]});
}
Tensor view_as(const Tensor& x, std::initializer_list<int64_t> dims) {
  return make_view(x, Op::Reshape, {}, dims, std::span(dims.begin(), dims.size()));
}
void fill(const Tensor& target, double number) {
  update(target, [&](Value v) { return ops::full(dims(v), ops::literal_like(v, number)); });
}
void add_in_place(const Tensor& target, double number) {
  update(target, [&](Value v) { return v + number; });
}
Tensor leaf(std::initializer_list<int64_t> dims, std::initializer_list<float> values) {
  const Tensor x = tensor(dims, values);
  x.set_requires_grad(true);
  return x;
}

}  // namespace

TEST_CASE("nothing runs before it is read, and one flush runs everything") {
  flush();
  executor_under_test().runs = 0;
  const Tensor x = ramp({4});
  const Tensor y = add(x, x), z = mul(y, x);
  CHECK(executor_under_test().runs == 0);
  CHECK(read(z) == Floats{0, 2, 8, 18});
  CHECK(read(y) == Floats{0, 2, 4, 6});
  CHECK(executor_under_test().runs == 1);
}

TEST_CASE("views of one tensor, written through several paths, pending and evaluated") {
  for (bool evaluate_between : {false, true}) {
    CAPTURE(evaluate_between);
    const auto pause = [&] {
      if (evaluate_between) flush();
    };
    const Tensor x = ramp({3, 4});
    const Tensor columns = transpose(x), middle = narrow(x, 0, 1, 1), flat = view_as(x, {12});
    const Tensor corner = narrow(narrow(columns, 0, 2, 2), 1, 1, 2);  // x[1:3, 2:4].T
    pause();
    fill(middle, 100);
    pause();
    CHECK(read(flat) == Floats{0, 1, 2, 3, 100, 100, 100, 100, 8, 9, 10, 11});
    add_in_place(corner, 0.5);
    pause();
    CHECK(read(middle) == Floats{100, 100, 100.5, 100.5});
    update(flat, [](Value v) { return v * 2.0; });
    pause();
    CHECK(read(corner) == Floats{201, 21, 201, 23});
    CHECK(read(x) == Floats{0, 2, 4, 6, 200, 200, 201, 201, 16, 18, 21, 23});
    CHECK(x.version() == 3);
    CHECK(corner.version() == 3);
    CHECK(corner.base().same(x));
    CHECK(corner.storage_offset() == 6);
    CHECK(Dims(corner.strides()) == Dims{1, 4});
  }
}

TEST_CASE("a reversed and strided view writes to every second element") {
  const Tensor x = ramp({6});
  const Tensor odd = make_view(x, Op::Slice, {}, Dims{1, 2}, Dims{3});
  const Tensor first = make_view(odd, Op::Slice, {}, Dims{0, 2}, Dims{2});
  fill(first, 9);
  CHECK(read(x) == Floats{0, 9, 2, 3, 4, 9});
  CHECK(read(odd) == Floats{9, 3, 9});
}

TEST_CASE("what was computed before a write keeps its value") {
  const Tensor x = ramp({3});
  const Tensor before = scale(x, 2);
  add_in_place(x, 10);
  const Tensor after = scale(x, 2);
  CHECK(read(before) == Floats{0, 2, 4});
  CHECK(read(after) == Floats{20, 22, 24});
}

TEST_CASE("a view of a transposed tensor raises where PyTorch's does") {
  const Tensor x = ramp({2, 3});
  CHECK(can_view(x.type(), Dims{6}));
  CHECK_FALSE(can_view(transpose(x).type(), Dims{6}));
  expect_error(ErrorKind::Runtime, {"view size is not compatible", "reshape"},
               [&] { view_as(transpose(x), {6}); });
}

TEST_CASE("an expanded tensor can't be written in place") {
  const Tensor x = ramp({1, 3});
  const Tensor wide = make_view(x, Op::Expand, {}, Dims{4, 3}, Dims{4, 3});
  expect_error(ErrorKind::Runtime, {"single memory location", "clone()"}, [&] { fill(wide, 1); });
  CHECK(read(x) == Floats{0, 1, 2});
  CHECK(x.version() == 0);
}

TEST_CASE("a leaf that requires grad is written under no_grad or through detach only") {
  const Tensor x = leaf({2}, {1, 2});
  expect_error(ErrorKind::Runtime, {"leaf", "no_grad"}, [&] { fill(x, 0); });
  expect_error(ErrorKind::Runtime, {"leaf"}, [&] { fill(narrow(x, 0, 0, 1), 0); });
  CHECK(read(scale(x, 1)) == Floats{1, 2});
  {
    GradMode mode(false);
    fill(x, 5);
  }
  fill(narrow(detach(x), 0, 1, 1), 7);
  CHECK(x.is_leaf());
  CHECK(x.version() == 2);
  autograd::backward(sum(mul(x, x)));
  CHECK(read(x.grad()) == Floats{10, 14});
}

TEST_CASE("set_data exchanges the value and leaves version and leaf alone") {
  const Tensor x = leaf({2}, {1, 2});
  x.set_data(scale(ramp({2}), 3));
  CHECK(x.version() == 0);
  CHECK(x.is_leaf());
  autograd::backward(sum(mul(x, x)));
  CHECK(read(x.grad()) == Floats{0, 6});
}

TEST_CASE("a saved value changed in place still has its right gradient") {
  for (bool evaluate_between : {false, true}) {
    CAPTURE(evaluate_between);
    const Tensor x = leaf({2}, {2, 3});
    const Tensor y = scale(x, 2);
    const Tensor z = mul(y, y);
    if (evaluate_between) flush();
    add_in_place(y, 100);
    if (evaluate_between) flush();
    autograd::backward(sum(z));
    CHECK(read(x.grad()) == Floats{16, 24});
    CHECK(read(y) == Floats{104, 106});
  }
}

TEST_CASE("an intermediate read before backward, an input overwritten after forward") {
  const Tensor x = leaf({2}, {1, 2}), data = ramp({2}, 1, 3);
  const Tensor hidden = mul(x, data);
  CHECK(read(hidden) == Floats{3, 8});
  const Tensor loss = sum(mul(hidden, hidden));
  fill(data, 0);
  autograd::backward(loss);
  CHECK(read(x.grad()) == Floats{18, 64});
}

TEST_CASE("backward twice: an error, unless the graph is retained") {
  const Tensor x = leaf({2}, {1, 2});
  const Tensor loss = sum(mul(mul(x, x), x));
  autograd::backward({&loss, 1}, {}, true);
  flush();
  autograd::backward({&loss, 1}, {});
  CHECK(read(x.grad()) == Floats{6, 24});
  CHECK_THROWS_AS(autograd::backward(loss), Error);
  CHECK(read(x.grad()) == Floats{6, 24});
}

TEST_CASE("memory known outside is written when the operation returns") {
  const Tensor x = scale(ramp({3}), 1);
  const Buffer buffer = x.expose();
  ++buffer.storage->exposures;
  const auto* data = static_cast<const float*>(buffer.storage->data());
  add_in_place(x, 1);
  CHECK(data[0] == 1);
  CHECK(data[2] == 3);
  fill(narrow(x, 0, 1, 1), 40);
  CHECK(data[1] == 40);
  // Written from outside: what is computed next sees it, what was computed before does not.
  const Tensor before = scale(x, 1);
  static_cast<float*>(buffer.storage->data())[0] = -5;
  CHECK(read(before) == Floats{1, 40, 3});
  CHECK(read(scale(x, 1)) == Floats{-5, 40, 3});
  --buffer.storage->exposures;
}

TEST_CASE("read-only memory is refused before anything changes") {
  static const float values[] = {1, 2, 3};
  auto storage = Storage::wrap(const_cast<float*>(values), sizeof values, Device{}, {}, true);
  const Tensor x = from_buffer({storage, 0, intern_contiguous(DType::Float32, Device{}, Dims{3})});
  expect_error(ErrorKind::Runtime, {"read-only", "clone()"}, [&] { fill(x, 0); });
  CHECK(read(x) == Floats{1, 2, 3});
}

TEST_CASE("an error in the middle leaves the rest usable") {
  const Tensor x = ramp({2}), y = ramp({3});
  const Tensor before = scale(x, 2);
  expect_error(ErrorKind::Runtime, {"[2]", "[3]", "broadcast"}, [&] { add(before, y); });
  CHECK(recorder().scopes == 0);
  CHECK(read(add(before, x)) == Floats{0, 3});
}

TEST_CASE("a data error is raised when run, and what doesn't depend on it is computed") {
  const Tensor x = ramp({3}), bad = indices({2}, {0, 7});
  const Tensor picked = apply([](Value v, Value i) { return ops::gather(v, i, 0); }, x, bad);
  const Tensor after = scale(picked, 2), apart = scale(x, 2);
  expect_error(ErrorKind::IndexOutOfRange, {"7", "out of bounds", "3"}, [] { flush(); });
  CHECK(read(apart) == Floats{0, 2, 4});
  expect_error(ErrorKind::IndexOutOfRange, {"7"}, [&] { read(after); });
  expect_error(ErrorKind::IndexOutOfRange, {"7"}, [&] { add(picked, picked); });
  CHECK(read(scale(apart, 2)) == Floats{0, 4, 8});
}

TEST_CASE("a data error in one piece of a loop reaches what depends on it in the next") {
  const Tensor x = ramp({3}), bad = indices({3}, {0, 1, 7});
  Tensor y = apply([](Value v, Value i) { return ops::gather(v, i, 0); }, x, bad);
  const Tensor apart = scale(x, 2);
  for (int i = 0; i < 200; ++i) y = scale(y, 0.5);
  expect_error(ErrorKind::IndexOutOfRange, {"7"}, [] { flush(); });
  CHECK(read(apart) == Floats{0, 2, 4});
  expect_error(ErrorKind::IndexOutOfRange, {"7"}, [&] { read(y); });
}

TEST_CASE("a chain of 100,000 operations and its derivative, and views a thousand deep") {
  const Tensor x = leaf({1}, {1});
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = apply([](Value v) { return ops::unary(Op::Neg, v); }, y);
  autograd::backward(sum(y));
  CHECK(read(x.grad()) == Floats{1});
  y = Tensor();
  Tensor view = ramp({2000});
  const Tensor base = view;
  for (int64_t n = 1999; n >= 1000; --n) view = narrow(view, 0, 1, n);
  fill(view, -1);
  CHECK(read(base)[999] == 999);
  CHECK(read(base)[1000] == -1);
}

TEST_CASE("residuals live as long as something can be differentiated through them") {
  flush();
  const auto allocated = [] { return allocator_stats().allocated; };
  const auto before = allocated();
  const Tensor x = ramp({1000});
  x.set_requires_grad(true);
  const auto with_input = allocated();
  Tensor y = apply([](Value v) { return ops::unary(Op::Exp, ops::unary(Op::Sin, v)); }, x);
  flush();
  CHECK(allocated() > with_input);
  Tensor total = sum(y);
  y = Tensor();
  flush();
  autograd::backward(total);
  total = Tensor();
  read(x.grad());
  x.set_grad(Tensor());
  flush();
  CHECK(allocated() == with_input);
  CHECK(with_input > before);
}
