// Each primitive against the plain evaluation, over shapes that matter: empty, one, short of a
// vector, a vector, several, odd, broadcast, permuted.
#include <cmath>

#include "tests/jit/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

const std::vector<std::vector<int64_t>> kShapes{
    {}, {1}, {5}, {64}, {70}, {200}, {3, 17}, {1, 33}, {4, 1}, {2, 3, 65}, {0, 4}, {2, 0}};

struct Domain {
  Op op;
  double low, high, tolerance;
};

}  // namespace

TEST_CASE("functions of one operand") {
  const Domain functions[] = {
      {Op::Neg, -2, 2, 0},          {Op::Abs, -2, 2, 0},      {Op::Sign, -2, 2, 0},
      {Op::Exp, -5, 5, 1e-6},       {Op::Exp2, -5, 5, 1e-6},  {Op::Expm1, -2, 2, 1e-6},
      {Op::Log, 0.1, 9, 1e-6},      {Op::Log2, 0.1, 9, 1e-6}, {Op::Log10, 0.1, 9, 1e-6},
      {Op::Log1p, -0.5, 9, 1e-6},   {Op::Sin, -9, 9, 1e-6},   {Op::Cos, -9, 9, 1e-6},
      {Op::Tan, -1, 1, 1e-6},       {Op::Asin, -1, 1, 1e-6},  {Op::Acos, -1, 1, 1e-6},
      {Op::Atan, -5, 5, 1e-6},      {Op::Sinh, -3, 3, 1e-6},  {Op::Cosh, -3, 3, 1e-6},
      {Op::Tanh, -3, 3, 1e-6},      {Op::Asinh, -3, 3, 1e-6}, {Op::Acosh, 1.1, 3, 1e-6},
      {Op::Atanh, -0.9, 0.9, 1e-6}, {Op::Sqrt, 0, 9, 1e-6},   {Op::Rsqrt, 0.1, 9, 1e-6},
      {Op::Erf, -3, 3, 1e-6},       {Op::Erfc, -3, 3, 1e-6},  {Op::Floor, -9, 9, 0},
      {Op::Ceil, -9, 9, 0},         {Op::Round, -9, 9, 0},    {Op::Trunc, -9, 9, 0},
      {Op::IsNan, -1, 1, 0},        {Op::IsInf, -1, 1, 0},    {Op::LogicalNot, -1, 1, 0}};
  for (const Domain& f : functions) {
    for (DType dtype : {DType::Float32, DType::Float64}) {
      INFO(name_of(f.op), " ", name_of(dtype));
      check_program(
          [&](ProgramBuilder& p) {
            p.output(p.unary(f.op, p.input(random_array({3, 37}, 1, dtype, f.low, f.high))));
          },
          f.tolerance);
    }
  }
}

TEST_CASE("functions of two operands and their broadcasting") {
  const Op ops[] = {Op::Add, Op::Sub,   Op::Mul,      Op::Div,      Op::Maximum,   Op::Minimum,
                    Op::Pow, Op::Atan2, Op::Copysign, Op::Eq,       Op::Ne,        Op::Lt,
                    Op::Le,  Op::Gt,    Op::Ge,       Op::FloorDiv, Op::Remainder, Op::Fmod};
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> shapes{
      {{3, 37}, {3, 37}}, {{3, 37}, {37}}, {{3, 1}, {1, 37}}, {{3, 37}, {}}, {{2, 3, 5}, {3, 1}}};
  for (Op op : ops) {
    for (const auto& [a, b] : shapes) {
      INFO(name_of(op));
      check_program([&](ProgramBuilder& p) {
        p.output(p.binary(op, p.input(random_array(a, 1, DType::Float32, 0.2, 3)),
                          p.input(random_array(b, 2, DType::Float32, 0.2, 3))));
      });
    }
  }
  for (Op op : {Op::BitwiseAnd, Op::BitwiseOr, Op::BitwiseXor, Op::Add, Op::Mul, Op::Maximum,
                Op::FloorDiv, Op::Remainder, Op::Fmod}) {
    for (DType dtype : {DType::Int32, DType::Int64, DType::UInt8}) {
      INFO(name_of(op), " ", name_of(dtype));
      check_program([&](ProgramBuilder& p) {
        p.output(p.binary(op, p.input(random_array({3, 37}, 1, dtype, 1, 15)),
                          p.input(random_array({37}, 2, dtype, 1, 15))));
      });
    }
  }
}

TEST_CASE("shapes of every kind") {
  for (const auto& shape : kShapes) {
    INFO("rank ", shape.size());
    check_program([&](ProgramBuilder& p) {
      const uint32_t x = p.input(random_array(shape, 3));
      p.output(p.binary(Op::Mul, p.binary(Op::Add, x, p.scalar(2)), x));
    });
  }
}

TEST_CASE("dtypes and casts") {
  for (DType from :
       {DType::Bool, DType::UInt8, DType::Int8, DType::Int16, DType::Int32, DType::Int64,
        DType::Float16, DType::BFloat16, DType::Float32, DType::Float64}) {
    for (DType to : {DType::Bool, DType::UInt8, DType::Int32, DType::Int64, DType::Float16,
                     DType::BFloat16, DType::Float32, DType::Float64}) {
      INFO(name_of(from), " ", name_of(to));
      check_program([&](ProgramBuilder& p) {
        p.output(p.cast(p.input(random_array({77}, 4, from, 0, 9)), to));
      });
    }
  }
  check_program(
      [&](ProgramBuilder& p) {
        const uint32_t x = p.input(random_array({3, 40}, 5, DType::BFloat16));
        p.output(p.reduce(Op::ReduceSum, p.binary(Op::Mul, x, x), {1}));
      },
      1e-2);
}

TEST_CASE("reductions") {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> cases{
      {{5}, {0}},           {{1000}, {0}},           {{3, 70}, {1}},       {{3, 70}, {0}},
      {{300, 70}, {0}},     {{2, 3, 65}, {1}},       {{2, 3, 65}, {1, 2}}, {{2, 3, 65}, {0, 2}},
      {{2, 3, 65}, {0, 1}}, {{2, 3, 65}, {0, 1, 2}}, {{1, 40}, {1}},       {{40, 1}, {0}},
      {{40, 1}, {1}},       {{4, 1, 6}, {1}},        {{0, 4}, {0}},        {{3, 0}, {1}},
      {{70000}, {0}},       {{2, 600, 3}, {1}},      {{3, 1}, {0, 1}}};
  for (Op op : {Op::ReduceSum, Op::ReduceMax, Op::ReduceMin, Op::ReduceProd}) {
    for (const auto& [shape, axes] : cases) {
      if (op != Op::ReduceSum && (shape[0] == 0 || shape.back() == 0)) continue;
      INFO(name_of(op), " rank ", shape.size(), " extent ", shape[0], " axis ", axes[0]);
      check_program(
          [&](ProgramBuilder& p) {
            const double low = op == Op::ReduceProd ? 0.99 : -2,
                         high = op == Op::ReduceProd ? 1.01 : 2;
            p.output(
                p.reduce(op, p.input(random_array(shape, 6, DType::Float32, low, high)), axes));
          },
          3e-5);
    }
  }
  for (Op op : {Op::ReduceAny, Op::ReduceAll}) {
    for (int64_t axis : {0, 1}) {
      check_program([&](ProgramBuilder& p) {
        p.output(p.reduce(op, p.input(random_array({6, 40}, 7, DType::Bool, -1, 1)), {axis}));
      });
    }
  }
  check_program([&](ProgramBuilder& p) {
    p.output(p.reduce(Op::ReduceSum, p.input(random_array({6, 40}, 7, DType::Int64, -9, 9)), {1}));
  });
}

TEST_CASE("argmax, argmin and scans") {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{50}, {5, 33}, {2, 3, 20}, {4, 1}}) {
    for (int64_t axis = 0; axis < static_cast<int64_t>(shape.size()); ++axis) {
      for (Op op : {Op::Argmax, Op::Argmin, Op::Cumsum, Op::Cumprod, Op::Cummax, Op::Cummin}) {
        INFO(name_of(op), " axis ", axis);
        check_program(
            [&](ProgramBuilder& p) {
              p.output(p.node(op, {p.input(random_array(shape, 8))}, {axis}));
            },
            1e-5);
      }
      check_program([&](ProgramBuilder& p) {
        p.output(p.node(Op::Argsort, {p.input(random_array(shape, 8))}, {axis, 1}));
      });
    }
  }
  check_program([&](ProgramBuilder& p) {  // ties and NaN
    Array x = random_array({3, 40}, 9, DType::Float32, 0, 3);
    for (double& v : x.values) v = std::floor(v);
    x.values[50] = NAN;
    p.output(p.node(Op::Argmax, {p.input(x)}, {1}));
  });
  for (int64_t n : {20, 64, 200}) {  // nothing is better than the start
    check_program([&](ProgramBuilder& p) {
      Array x = random_array({2, n}, 9);
      for (double& v : x.values) v = -HUGE_VAL;
      x.values[n + n / 2] = n == 200 ? NAN : -HUGE_VAL;
      p.output(p.node(Op::Argmax, {p.input(x)}, {1}));
      p.output(p.node(Op::Argmin, {p.unary(Op::Neg, p.input(x))}, {1}));
    });
  }
}

TEST_CASE("movement") {
  check_program([](ProgramBuilder& p) {
    const uint32_t x = p.input(random_array({3, 5, 17}, 10));
    p.output(p.node(Op::Permute, {x}, {2, 0, 1}));
    p.output(p.node(Op::Slice, {x}, {}, {1, 0, 15, 1, 2, -3, 2, 3, 5}));
    p.output(p.reshape(x, {15, 17}));
    p.output(p.reshape(x, {17, 15}));
    p.output(
        p.expand(p.reshape(p.node(Op::Slice, {x}, {}, {0, 0, 0, 1, 1, 1, 3, 1, 17}), {3, 1, 17}),
                 {3, 4, 17}));
    p.output(p.node(Op::Pad, {x, p.literal(7)}, {}, {1, 0, 2, 0, 0, 3, 0, 0, 0}));
    p.output(p.node(Op::Pad, {x, p.scalar(7)}, {}, {0, 1, 0, 2, 0, 0, 0, 2, 1}));
    p.output(p.node(Op::Concatenate, {x, x, x}, {1}));
    p.output(p.node(Op::Concatenate, {x, p.unary(Op::Neg, x), x, x, x, x}, {2}));
  });
  check_program([](ProgramBuilder& p) {
    const uint32_t x = p.input(random_array({6, 20}, 11));
    const uint32_t v = p.input(random_array({3, 5}, 12));
    p.output(p.node(Op::UpdateSlice, {x, v}, {}, {1, 2, 2, 3}));
    p.output(
        p.node(Op::UpdateSlice, {p.unary(Op::Exp, x), p.unary(Op::Neg, v)}, {}, {0, 15, 1, 1}));
  });
  check_program([](ProgramBuilder& p) {
    p.output(p.iota({4, 30}, 1));
    p.output(p.iota({4, 30}, 0, DType::Float32));
    p.output(p.random_bits({5, 33}, 42, 7));
    p.output(p.expand(p.scalar(3), {2, 40}));
  });
  check_program([](ProgramBuilder& p) {  // a view of a permuted input
    const uint32_t x = p.input_strided(random_array({7, 40}, 13), {1, 0});
    p.output(p.binary(Op::Add, x, p.input(random_array({7, 40}, 14))));
    p.output(p.reduce(Op::ReduceSum, x, {1}));
    p.output(p.reduce(Op::ReduceSum, x, {0}));
    p.output(p.reduce(Op::ReduceSum, x, {0, 1}));
    p.output(p.reshape(x, {40, 7}));
    p.output(x);
  });
}

TEST_CASE("indexing") {
  check_program([](ProgramBuilder& p) {
    const uint32_t x = p.input(random_array({9, 5, 40}, 15));
    p.output(p.node(Op::Gather, {x, p.input(random_index({3, 4}, 16, 9))}, {0}));
    p.output(p.node(Op::Gather, {x, p.input(random_index({6}, 17, 5))}, {1}));
    p.output(p.node(Op::Gather, {x, p.input(random_index({70}, 18, 40))}, {2}));
    p.output(p.node(Op::Gather, {x, p.input(random_index({}, 19, 9))}, {0}));
    p.output(p.node(Op::TakeAlong, {x, p.input(random_index({9, 2, 33}, 20, 5))}, {1}));
    p.output(p.node(Op::TakeAlong, {x, p.input(random_index({9, 5, 12}, 21, 40))}, {2}));
  });
  for (Op op : {Op::ScatterAdd, Op::ScatterSet}) {
    check_program(
        [&](ProgramBuilder& p) {
          const uint32_t x = p.input(random_array({9, 5, 40}, 22));
          p.output(p.node(
              op,
              {x, p.input(random_index({3, 4}, 23, 9)), p.input(random_array({3, 4, 5, 40}, 24))},
              {0}));
          p.output(p.node(
              op, {x, p.input(random_index({30}, 25, 5)), p.input(random_array({9, 30, 40}, 26))},
              {1}));
          p.output(p.node(
              op, {x, p.input(random_index({30}, 27, 40)), p.input(random_array({9, 5, 30}, 28))},
              {2}));
          p.output(p.node(op,
                          {p.input(random_array({50}, 29)), p.input(random_index({30}, 30, 50)),
                           p.input(random_array({30}, 31))},
                          {0}));
        },
        1e-5);
  }
  for (Op op : {Op::PutAlongAdd, Op::PutAlongSet}) {
    check_program(
        [&](ProgramBuilder& p) {
          const uint32_t x = p.input(random_array({9, 5, 40}, 32));
          p.output(p.node(
              op,
              {x, p.input(random_index({9, 7, 33}, 33, 5)), p.input(random_array({9, 7, 33}, 34))},
              {1}));
          p.output(p.node(
              op,
              {x, p.input(random_index({8, 5, 50}, 35, 40)), p.input(random_array({8, 5, 50}, 36))},
              {2}));
        },
        1e-5);
  }
}

TEST_CASE("convolutions and their gradients") {
  // One to three spatial dimensions, groups, stride, padding, dilation; what is fused around them.
  check_program(
      [](ProgramBuilder& p) {
        const uint32_t x = p.input(random_array({3, 4, 7}, 50));
        const uint32_t w = p.input(random_array({6, 2, 3}, 51));
        const uint32_t bias = p.input(random_array({6, 1}, 52));
        const uint32_t y = p.node(Op::Convolution, {p.unary(Op::Neg, x), w}, {2}, {2, 2, 1, 1, 4});
        p.output(p.unary(Op::Tanh, p.binary(Op::Add, y, bias)));
        p.output(p.node(Op::Convolution, {w, y}, {0}, {2, 2, 1, 1, 7}));
        p.output(p.node(Op::Convolution, {x, y}, {1}, {2, 2, 1, 1, 3}));
      },
      1e-5);
  check_program(
      [](ProgramBuilder& p) {
        const uint32_t x = p.input_strided(random_array({2, 3, 9, 8}, 53), {0, 2, 3, 1});
        const uint32_t w = p.input(random_array({5, 3, 3, 2}, 54));
        const ProgramBuilder::Ints sizes = {1, 1, 2, 2, 0, 1, 1};
        const auto with = [&](ProgramBuilder::Ints extents) {
          ProgramBuilder::Ints all = sizes;
          all.insert(all.end(), extents.begin(), extents.end());
          return all;
        };
        const uint32_t y = p.node(Op::Convolution, {x, w}, {2}, with({7, 4}));
        p.output(y);
        p.output(p.node(Op::Convolution, {w, y}, {0}, with({9, 8})));
        p.output(p.node(Op::Convolution, {x, y}, {1}, with({3, 2})));
      },
      1e-5);
  check_program(
      [](ProgramBuilder& p) {
        const uint32_t x = p.input(random_array({2, 2, 4, 5, 3}, 55, DType::Float64));
        const uint32_t w = p.input(random_array({4, 2, 2, 1, 3}, 56, DType::Float64));
        p.output(p.node(Op::Convolution, {x, w}, {2}, {1, 1, 2, 1, 0, 0, 1, 1, 1, 1, 3, 3, 3}));
      },
      1e-12);
}

TEST_CASE("attention and its gradients") {
  // A batch in two dimensions, transposed operands, a broadcast head, masks; with what is fused
  // around it.
  using Ints = ProgramBuilder::Ints;
  for (int mask_kind = 0; mask_kind < 4; ++mask_kind) {
    check_program(
        [&](ProgramBuilder& p) {
          const bool is_causal = mask_kind == 1;
          const uint32_t q = p.unary(Op::Neg, p.input(random_array({2, 3, 19, 5}, 60)));
          const uint32_t k =
              p.node(Op::Permute, {p.input(random_array({2, 17, 3, 5}, 61))}, {0, 2, 1, 3});
          const uint32_t v = p.expand(p.input(random_array({2, 1, 17, 7}, 62)), {2, 3, 17, 7});
          const uint32_t scale = p.scalar(0.3, DType::Float64);
          std::vector<uint32_t> mask;
          if (mask_kind == 2) {
            const uint32_t row = p.input(random_array({19, 17}, 63));
            mask = {p.expand(p.binary(Op::Gt, row, p.literal(0.2)), {2, 3, 19, 17})};
          } else if (mask_kind == 3) {
            mask = {p.expand(p.input(random_array({17}, 64)), {2, 3, 19, 17})};
          }
          const auto node = [&](Op op, std::vector<uint32_t> operands, Ints axes) {
            operands.insert(operands.end(), mask.begin(), mask.end());
            return p.node(op, operands, axes);
          };
          const uint32_t y = node(Op::Attention, {q, k, v, scale}, {is_causal});
          const uint32_t normalizer = node(Op::AttentionNormalizer, {q, k, v, scale}, {is_causal});
          p.output(p.unary(Op::Tanh, y));
          p.output(normalizer);
          const uint32_t g = p.input(random_array({2, 3, 19, 7}, 65));
          for (int64_t which = 0; which < 3; ++which) {
            p.output(
                p.unary(Op::Neg, node(Op::AttentionGradient, {q, k, v, scale, y, normalizer, g},
                                      {is_causal, which})));
          }
        },
        2e-5);
  }
}

TEST_CASE("products") {
  check_program(
      [](ProgramBuilder& p) {
        const uint32_t a = p.input(random_array({7, 12}, 37));
        const uint32_t b = p.input(random_array({12, 9}, 38));
        const uint32_t c = p.input(random_array({9, 12}, 39));
        p.output(p.node(Op::DotGeneral, {a, b}, {0, 1, 1, 0}));
        p.output(p.node(Op::DotGeneral, {a, c}, {0, 1, 1, 1}));
        p.output(p.node(Op::DotGeneral, {a, a}, {0, 1, 0, 0}));
        p.output(p.node(Op::DotGeneral, {a, a}, {0, 2, 0, 1, 0, 1}));
        p.output(p.node(Op::DotGeneral, {a, c}, {0, 0}));
        p.output(p.node(Op::DotGeneral,
                        {p.input(random_array({4, 7}, 40)), p.input(random_array({4, 7}, 41))},
                        {1, 0, 0, 1, 1, 1}));
      },
      1e-5);
  check_program(
      [](ProgramBuilder& p) {  // heads of attention, without copies where strides allow
        const uint32_t q = p.input(random_array({2, 10, 3 * 8}, 42));
        const uint32_t k = p.input(random_array({2, 10, 3 * 8}, 43));
        const uint32_t v = p.input(random_array({2, 10, 3 * 8}, 44));
        const auto heads = [&](uint32_t x) {
          return p.node(Op::Permute, {p.reshape(x, {2, 10, 3, 8})}, {0, 2, 1, 3});
        };
        const uint32_t s = p.node(Op::DotGeneral, {heads(q), heads(k)}, {2, 0, 1, 0, 1, 1, 3, 3});
        const uint32_t o = p.node(Op::DotGeneral, {s, heads(v)}, {2, 0, 1, 0, 1, 1, 3, 2});
        p.output(p.reshape(p.node(Op::Permute, {o}, {0, 2, 1, 3}), {2, 10, 24}));
      },
      1e-5);
}
