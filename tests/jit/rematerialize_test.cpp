// What is computed again rather than kept from a program's first half to its second.
#include "jit/group/rematerialize.h"

#include <doctest/doctest.h>

#include "jit/group/min_cut.h"
#include "jit/simplify/simplify.h"
#include "tests/jit/program_builder.h"

using namespace tenon;
using namespace tenon::test;

namespace {

struct Outcome {
  bool changed;
  int64_t before, after;
  std::string groups;
};

Outcome rematerialized(ProgramBuilder& p, jit::Recompute level) {
  const Program& program = p.program();
  jit::Graph graph = jit::make_graph(program);
  jit::simplify(graph);
  jit::Algebra algebra;
  jit::Grouping grouping = jit::make_groups(graph, algebra, {});
  Outcome outcome{};
  outcome.before = jit::peak_of_temporaries(graph, grouping, program);
  outcome.changed = jit::rematerialize(graph, grouping, program, {level, 0});
  grouping = jit::make_groups(graph, algebra, {});
  outcome.after = jit::peak_of_temporaries(graph, grouping, program);
  outcome.groups = "\n" + jit::print(graph, grouping);
  return outcome;
}

// A program with two matrices to begin with.
struct Products {
  ProgramBuilder p;
  uint32_t x = p.input(random_array({64, 64}, 1));
  uint32_t w = p.input(random_array({64, 64}, 2));

  uint32_t product(uint32_t a, uint32_t b) { return p.node(Op::DotGeneral, {a, b}, {0, 1, 1, 0}); }
};

}  // namespace

TEST_CASE("a minimum cut takes the narrow edges, the nearest to the sink of equal ones") {
  jit::FlowNetwork network;
  for (int i = 0; i < 6; ++i) network.add_node();
  network.add_edge(0, 2, 7);
  network.add_edge(2, 3, 3);
  network.add_edge(3, 1, 3);
  network.add_edge(0, 4, 2);
  network.add_edge(4, 5, jit::FlowNetwork::kInfinite);
  network.add_edge(5, 1, 9);
  CHECK(network.sink_side(0, 1) == std::vector<uint8_t>{0, 1, 0, 0, 1, 1});
}

TEST_CASE("of an elementwise chain that is read early and late its one operand is kept") {
  Products made;
  auto& [p, x, w] = made;
  const auto product = [&](uint32_t a, uint32_t b) { return made.product(a, b); };
  const auto h = product(x, w);
  // As GELU's derivative does: values of h alone, computed by the first kernel that reads h.
  const auto a = p.unary(Op::Exp, h), b = p.unary(Op::Sin, h), c = p.unary(Op::Tanh, h);
  const auto y = product(p.binary(Op::Add, p.binary(Op::Mul, a, b), c), w);
  const auto z = product(p.unary(Op::Tanh, y), w);
  p.output(p.binary(Op::Mul, z, p.binary(Op::Mul, a, p.binary(Op::Sub, b, c))));
  p.output(product(p.binary(Op::Mul, z, p.binary(Op::Sub, c, a)), w));
  const Outcome none = rematerialized(p, jit::Recompute::None);
  CHECK(!none.changed);
  const Outcome cheap = rematerialized(p, jit::Recompute::Cheap);
  INFO(none.groups, cheap.groups);
  CHECK(cheap.changed);
  CHECK(cheap.after < none.after);
}

TEST_CASE("what is dear, or can fail, is kept") {
  Products made;
  auto& [p, x, w] = made;
  const auto product = [&](uint32_t a, uint32_t b) { return made.product(a, b); };
  const auto h = product(x, w);
  const auto y = product(product(product(h, w), w), w);
  p.output(p.binary(Op::Add, y, h));
  CHECK(!rematerialized(p, jit::Recompute::Cheap).changed);
}
