// What the verifier refuses, each with its reason.
#include <doctest/doctest.h>

#include <stdexcept>

#include "jit/loop/builder.h"

using namespace tenon::loop;

namespace {

// A kernel that is right until `change` has had it.
std::string after(const std::function<void(Kernel&)>& change) {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  b.for_each(b.range_begin(), b.range_end(), b.i64(16), [&](Pack i) {
    const Pack mask = b.tail_mask(i, b.range_end());
    b.store(y, i, b.sqrt(b.load(x, i, kLanes, mask)), mask);
  });
  REQUIRE(verify(kernel) == "");
  change(kernel);
  return verify(kernel);
}

Node& find(Kernel& kernel, Op op) {
  for (Node& node : kernel.nodes) {
    if (node.op == op) return node;
  }
  throw std::runtime_error("no such node");
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("malformed kernels are named") {
  CHECK(contains(after([](Kernel& k) { k.nodes.pop_back(); }), "bracket is not closed"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Unary).type = Scalar::F64; }), "operand type"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Load).index = 9; }), "no such buffer"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Load).index = 1; }), "not declared for this"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Unary).lanes = 7; }), "lanes are 1 or 16"));
  CHECK(contains(after([](Kernel& k) { k.operands[find(k, Op::Store).first_operand] = 999; }),
                 "not visible"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Store).operand_count = 1; }), "number of"));
  CHECK(contains(after([](Kernel& k) { find(k, Op::Unary).first_operand = 1u << 30; }), "outside"));
  CHECK(contains(after([](Kernel& k) { k.buffers[0].type = Scalar::I32; }), "type of the buffer"));
}

TEST_CASE("values end with their bracket") {
  Kernel kernel;
  Builder b(kernel);
  Pack inside;
  b.for_each(b.i64(0), b.i64(4), b.i64(1), [&](Pack i) { inside = b.mul(i, i); });
  kernel.ints = 1;
  b.add(inside, b.i64(1));
  CHECK(contains(verify(kernel), "not visible"));
}

TEST_CASE("arithmetic on halves is refused") {
  Kernel kernel;
  Builder b(kernel);
  const Pack x = b.constant(Scalar::F16, 1.0);
  b.add(x, x);
  CHECK(contains(verify(kernel), "done in f32"));
}
