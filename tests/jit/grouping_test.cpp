// Which operations become one kernel: programs in, groups out.
#include <doctest/doctest.h>

#include "jit/group/group.h"
#include "jit/simplify/simplify.h"
#include "tests/jit/program_builder.h"

using namespace tenon;
using namespace tenon::test;

namespace {

std::string groups_of(ProgramBuilder& p) {
  jit::Graph graph = jit::make_graph(p.program());
  jit::simplify(graph);
  jit::Algebra algebra;
  return "\n" + jit::print(graph, jit::make_groups(graph, algebra, {}));
}
std::string graph_of(ProgramBuilder& p) {
  jit::Graph graph = jit::make_graph(p.program());
  jit::simplify(graph);
  return "\n" + jit::print(graph);
}

}  // namespace

TEST_CASE("symbols: dimensions are equal only where a rule makes them so") {
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({4, 4, 6}, 1));
  const uint32_t y = p.reshape(x, {4, 4, 2, 3});
  p.output(p.node(Op::Permute, {y}, {0, 2, 1, 3}));
  CHECK(graph_of(p) == R"(
%0 = input(): float32[s1, s2, s6*s7]
%1 = reshape(%0): float32[s1, s2, s6, s7] {1 1 1 1 1 2}
%2 = permute(%1): float32[s1, s6, s2, s7] {0 2 1 3}
return %2
)");
}

TEST_CASE("simplification keeps bits: x + 0 stays, x + -0, x * 1 and double negation go") {
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({5}, 1));
  const uint32_t a = p.binary(Op::Add, x, p.literal(0));
  const uint32_t b = p.binary(Op::Add, a, p.literal(-0.0));
  const uint32_t c = p.binary(Op::Mul, b, p.literal(1));
  const uint32_t d = p.unary(Op::Neg, p.unary(Op::Neg, c));
  const uint32_t e = p.binary(Op::Mul, d, p.scalar(1));  // a user's number never folds
  p.output(p.binary(Op::Sub, p.unary(Op::Exp, e), p.unary(Op::Exp, e)));
  CHECK(graph_of(p) == R"(
%0 = input(): float32[s1]
%1 = constant(): float32[] {1 0}
%2 = add(%0, %1): float32[s1]
%3 = constant(): float32[] {0}
%4 = mul(%2, %3): float32[s1]
%5 = exp(%4): float32[s1]
%6 = sub(%5, %5): float32[s1]
return %6
)");
}

TEST_CASE("softmax is one row kernel; what reads it elsewhere begins another") {
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({4, 8}, 1));
  const uint32_t e = p.unary(Op::Exp, p.binary(Op::Sub, x, p.reduce_keep(Op::ReduceMax, x, {1})));
  const uint32_t y = p.binary(Op::Div, e, p.reduce_keep(Op::ReduceSum, e, {1}));
  const uint32_t z = p.unary(Op::Sin, p.node(Op::Slice, {y}, {}, {0, 2, 1, 1, 4, 3}));
  p.output(z);
  CHECK(groups_of(p) == R"(
0 row [s1 | s2]: %1=reduce_max %3=sub %4=exp %5=reduce_sum %7=div!
1 map [s1 s5]: %9=sin! (not in 0: other loops)
)");
}

TEST_CASE("cheap chains are computed again rather than stored") {
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({4, 8}, 1));
  const uint32_t doubled = p.binary(Op::Mul, x, p.literal(2));
  p.output(p.unary(Op::Sin, p.node(Op::Permute, {doubled}, {1, 0})));
  p.output(p.reduce(Op::ReduceSum, doubled, {0}));
  CHECK(groups_of(p) == R"(
0 map [s2 s1]: %4=sin!
1 column [s2 | s1]: %5=reduce_sum! (not in 0: others read what it computes)
)");
}

TEST_CASE("what one column or full reduction reads is computed inside it") {
  for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, {0, 1}}) {
    ProgramBuilder p;
    const uint32_t x = p.input(random_array({4, 8}, 1));
    const uint32_t mean = p.reduce_keep(Op::ReduceSum, x, axes);
    const uint32_t apart = p.unary(Op::Exp, p.binary(Op::Sub, x, mean));
    p.output(p.reduce(Op::ReduceSum, p.binary(Op::Mul, apart, apart), axes));
    const std::string text = groups_of(p);
    CHECK(text.find("map") == std::string::npos);
    CHECK(text.find("\n1 ") != std::string::npos);
    CHECK(text.find("\n2 ") == std::string::npos);
  }
  ProgramBuilder p;
  const uint32_t e = p.unary(Op::Exp, p.input(random_array({4, 8}, 1)));
  p.output(p.reduce(Op::ReduceSum, e, {0}));
  p.output(p.unary(Op::Neg, p.reduce(Op::ReduceSum, e, {0, 1})));  // a second reader
  CHECK(groups_of(p).substr(0, 25) == "\n0 map [s1 s2]: %1=exp!\n1");
}

TEST_CASE("matrix products read through views; their results start new kernels") {
  ProgramBuilder p;
  const uint32_t x = p.input(random_array({4, 8}, 1));
  const uint32_t t = p.node(Op::Permute, {p.unary(Op::Exp, x)}, {1, 0});
  p.output(p.unary(Op::Neg, p.node(Op::DotGeneral, {x, t}, {0, 1, 1, 0})));
  CHECK(groups_of(p) == R"(
0 map [s1 s2]: %1=exp!
1 gemm [s1 s1]: %3=dot_general!
2 map [s1 s1]: %4=neg! (not in 1: a kernel of its own kind)
)");
}
