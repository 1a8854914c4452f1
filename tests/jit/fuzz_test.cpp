// Random programs: fused, unfused, interpreted and on two threads give the same bits.
// TENON_FUZZ_SEED and TENON_FUZZ_COUNT choose others than the default ones.
#include <cstdlib>
#include <random>

#include "core/env.h"
#include "tests/jit/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

using Ints = std::vector<int64_t>;

class RandomProgram {
 public:
  RandomProgram(ProgramBuilder& p, uint64_t seed) : p_(p), random_(seed) {}

  void make(int count) {
    for (int i = 0; i < 3; ++i) add_input();
    for (int i = 0; i < count; ++i) {
      const uint32_t x = step();
      if (p_.type(x).numel < 20000 && p_.type(x).rank <= 5) nodes_.push_back(x);
    }
    for (int i = 0; i < 4; ++i) p_.output(nodes_[pick(nodes_.size())]);
    p_.output(nodes_.back());
  }

 private:
  int64_t pick(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return pick(100) < percent; }
  // Recent nodes more often, so that chains grow.
  uint32_t any() {
    const int64_t n = static_cast<int64_t>(nodes_.size());
    return nodes_[chance(60) ? n - 1 - pick(std::min<int64_t>(n, 4)) : pick(n)];
  }
  Ints dims(uint32_t x) { return {p_.type(x).dims().begin(), p_.type(x).dims().end()}; }
  int64_t extent() {
    constexpr int64_t kExtents[] = {1, 2, 3, 5, 8, 16, 17, 33, 64, 70};
    return kExtents[pick(10)];
  }
  uint32_t add_input() {
    Ints shape;
    for (int64_t r = pick(4); r > 0; --r) shape.push_back(extent());
    Array array = random_array(shape, random_());
    if (chance(15)) {
      const uint32_t narrow =
          p_.input(random_array(shape, random_(), chance(50) ? DType::BFloat16 : DType::Float16));
      nodes_.push_back(p_.cast(p_.binary(Op::Mul, narrow, narrow), DType::Float32));
      return nodes_.back();
    }
    if (chance(10)) {
      const uint32_t whole = p_.input(random_array(shape, random_(), DType::Int32, -9, 9));
      nodes_.push_back(
          p_.cast(p_.binary(Op::Maximum, whole, p_.scalar(2, DType::Int32)), DType::Float32));
      return nodes_.back();
    }
    if (shape.size() >= 2 && chance(20)) {
      Ints order;
      for (size_t d = 0; d < shape.size(); ++d)
        order.insert(order.begin(), static_cast<int64_t>(d));
      nodes_.push_back(p_.input_strided(array, order));
    } else {
      nodes_.push_back(p_.input(array));
    }
    return nodes_.back();
  }
  // Some node that broadcasts with x, or x itself.
  uint32_t partner(uint32_t x) {
    for (int i = 0; i < 8; ++i) {
      const uint32_t y = any();
      const Ints a = dims(x), b = dims(y);
      bool fits = true;
      for (size_t d = 1; d <= std::min(a.size(), b.size()); ++d) {
        const int64_t m = a[a.size() - d], n = b[b.size() - d];
        fits = fits && (m == n || m == 1 || n == 1);
      }
      if (fits) return y;
    }
    return chance(50) ? p_.scalar(0.5) : x;
  }
  Ints some_axes(size_t rank) {
    Ints axes;
    for (size_t d = 0; d < rank; ++d) {
      if (chance(50)) axes.push_back(static_cast<int64_t>(d));
    }
    if (axes.empty()) axes.push_back(pick(static_cast<int64_t>(rank)));
    return axes;
  }
  uint32_t bounded(uint32_t x) { return p_.unary(Op::Tanh, x); }

  uint32_t step() {
    const uint32_t x = any();
    const Ints shape = dims(x);
    const size_t rank = shape.size();
    const int64_t axis = rank ? pick(static_cast<int64_t>(rank)) : 0;
    switch (pick(25)) {
      case 0:
      case 1: {
        constexpr Op kOps[] = {Op::Neg, Op::Tanh, Op::Sin, Op::Abs, Op::Exp, Op::Floor, Op::Erf};
        const Op op = kOps[pick(7)];
        return op == Op::Exp ? p_.unary(op, bounded(x)) : p_.unary(op, x);
      }
      case 2:
      case 3:
      case 4: {
        constexpr Op kOps[] = {Op::Add, Op::Sub, Op::Mul, Op::Maximum, Op::Minimum};
        const uint32_t y = p_.binary(kOps[pick(5)], x, partner(x));
        return chance(30) ? bounded(y) : y;
      }
      case 5: {
        const uint32_t y = partner(x);
        return p_.node(Op::Select, {p_.binary(Op::Lt, x, y), y, x});
      }
      case 6:
      case 7: {
        if (rank == 0) return add_input();
        constexpr Op kOps[] = {Op::ReduceSum, Op::ReduceSum, Op::ReduceMax, Op::ReduceMin};
        const Op op = kOps[pick(4)];
        Ints axes = some_axes(rank);
        if (chance(60)) axes = {static_cast<int64_t>(rank) - 1};
        return bounded(chance(60) ? p_.reduce_keep(op, x, axes) : p_.reduce(op, x, axes));
      }
      case 8: {
        Ints order(rank);
        for (size_t d = 0; d < rank; ++d) order[d] = static_cast<int64_t>(d);
        std::shuffle(order.begin(), order.end(), random_);
        return p_.node(Op::Permute, {x}, order);
      }
      case 9: {
        Ints sizes(3 * rank);
        for (size_t d = 0; d < rank; ++d) {
          const bool whole = chance(50);
          const int64_t step = whole ? 1 : 1 + pick(2);
          const int64_t n = whole ? shape[d] : 1 + pick((shape[d] + step - 1) / step);
          const int64_t span = (n - 1) * step + 1;
          sizes[d] = whole ? 0 : pick(shape[d] - span + 1);
          sizes[rank + d] = step;
          sizes[2 * rank + d] = n;
          if (!whole && chance(30)) {
            sizes[d] += span - 1;
            sizes[rank + d] = -step;
          }
        }
        return p_.node(Op::Slice, {x}, {}, sizes);
      }
      case 10: {
        Ints sizes(3 * rank);
        for (size_t d = 0; d < rank; ++d) {
          if (chance(50)) continue;
          sizes[d] = pick(3);
          sizes[rank + d] = pick(3);
          sizes[2 * rank + d] = pick(2);
        }
        return p_.node(Op::Pad, {x, chance(50) ? p_.literal(0) : p_.scalar(1)}, {}, sizes);
      }
      case 11: {
        if (rank == 0) return add_input();
        std::vector<uint32_t> parts{x, bounded(x)};
        for (int64_t k = pick(4); k > 0; --k) parts.push_back(x);
        return p_.node(Op::Concatenate, parts, {axis});
      }
      case 12:
      case 13: {  // merge neighbours, split one
        Ints to;
        for (size_t d = 0; d < rank; ++d) {
          if (!to.empty() && chance(40))
            to.back() *= shape[d];
          else
            to.push_back(shape[d]);
        }
        for (size_t d = 0; d < to.size(); ++d) {
          for (int64_t f : {2, 3, 4}) {
            if (to[d] % f == 0 && to[d] > f && chance(30)) {
              to[d] /= f;
              to.insert(to.begin() + static_cast<int64_t>(d), f);
              break;
            }
          }
        }
        if (chance(20)) to.insert(to.begin() + pick(static_cast<int64_t>(to.size()) + 1), 1);
        return p_.reshape(x, to);
      }
      case 14: {
        Ints to = shape;
        for (int64_t& d : to) {
          if (d == 1 && chance(60)) d = extent();
        }
        if (chance(30)) to.insert(to.begin(), 1 + pick(4));
        return p_.expand(x, to);
      }
      case 15: {
        if (rank == 0) return add_input();
        Ints index_shape;
        for (int64_t r = pick(3); r > 0; --r) index_shape.push_back(1 + pick(20));
        const uint32_t index = p_.input(random_index(index_shape, random_(), shape[axis]));
        return p_.node(Op::Gather, {x, index}, {axis});
      }
      case 16: {
        if (rank == 0) return add_input();
        Ints index_shape = shape;
        index_shape[axis] = 1 + pick(20);
        const uint32_t index = p_.input(random_index(index_shape, random_(), shape[axis]));
        const uint32_t taken = p_.node(Op::TakeAlong, {x, index}, {axis});
        if (chance(50)) return taken;
        return bounded(
            p_.node(chance(50) ? Op::PutAlongAdd : Op::PutAlongSet, {x, index, taken}, {axis}));
      }
      case 17: {
        if (rank == 0) return add_input();
        const uint32_t index = p_.input(random_index({1 + pick(20)}, random_(), shape[axis]));
        const uint32_t rows = p_.unary(Op::Neg, p_.node(Op::Gather, {x, index}, {axis}));
        return bounded(
            p_.node(chance(50) ? Op::ScatterAdd : Op::ScatterSet, {x, index, rows}, {axis}));
      }
      case 18: {
        Ints sizes(2 * rank), part(3 * rank);
        for (size_t d = 0; d < rank; ++d) {
          const int64_t n = chance(50) ? shape[d] : 1 + pick(shape[d]);
          sizes[d] = pick(shape[d] - n + 1);
          sizes[rank + d] = 1;
          part[rank + d] = 1;
          part[2 * rank + d] = n;
        }
        const uint32_t value = bounded(p_.node(Op::Slice, {x}, {}, part));
        return p_.node(Op::UpdateSlice, {x, value}, {}, sizes);
      }
      case 19: {
        if (rank == 0) return add_input();
        return bounded(p_.node(chance(50) ? Op::Cumsum : Op::Cummax, {x}, {axis}));
      }
      case 20: {
        if (rank == 0) return add_input();
        return p_.cast(p_.node(chance(50) ? Op::Argmax : Op::Argmin, {x}, {axis}), DType::Float32);
      }
      case 21: {  // half types round after every operation
        const DType half = chance(50) ? DType::BFloat16 : DType::Float16;
        const uint32_t y = p_.cast(x, half);
        return p_.cast(p_.binary(Op::Add, bounded(y), y), DType::Float32);
      }
      case 22:
        return p_.binary(Op::Mul, x,
                         p_.cast(p_.iota(shape.empty() ? Ints{3} : shape, axis), DType::Float32));
      case 23: {  // rows as signals of one channel, with a small kernel from their first elements
        if (rank != 2 || shape[0] == 0 || shape[1] < 2) return add_input();
        const uint32_t signals = p_.reshape(x, {shape[0], 1, shape[1]});
        const uint32_t kernel =
            bounded(p_.node(Op::Slice, {signals}, {}, {0, 0, 0, 1, 1, 1, 1, 1, 2}));
        const int64_t stride = 1 + pick(2);
        const int64_t count = (shape[1] - 1) / stride + 1;  // padded by one in front
        return bounded(
            p_.reshape(p_.node(Op::Convolution, {signals, kernel}, {2}, {1, stride, 1, 1, count}),
                       {shape[0], count}));
      }
      default: {
        if (rank < 2) return add_input();
        // x x^T over the last dimension, the first ones batched or not.
        const int64_t last = static_cast<int64_t>(rank) - 1;
        if (rank >= 3 && chance(50)) {
          return bounded(p_.node(Op::DotGeneral, {x, x}, {1, 0, 0, 1, last, last}));
        }
        return bounded(p_.node(Op::DotGeneral, {x, bounded(x)}, {0, 1, last, last}));
      }
    }
  }

  ProgramBuilder& p_;
  std::mt19937_64 random_;
  std::vector<uint32_t> nodes_;
};

}  // namespace

TEST_CASE("random programs have the same bits however they run") {
  const int64_t first = env_int("TENON_FUZZ_SEED", 1, 0, INT64_MAX);
  const int64_t count = env_int("TENON_FUZZ_COUNT", 60, 1, INT64_MAX);
  for (int64_t seed = first; seed < first + count; ++seed) {
    INFO("TENON_FUZZ_SEED=", seed);
    const Build build = [&](ProgramBuilder& p) {
      RandomProgram(p, static_cast<uint64_t>(seed)).make(30);
    };
    if (other_check) {
      other_check(build);
      continue;
    }
    const std::string bits = bits_of(run(build, jit::Mode::Unfused));
    CHECK_MESSAGE(bits_of(run(build, jit::Mode::Fused)) == bits, "fused differs from unfused");
    CHECK_MESSAGE(bits_of(run(build, jit::Mode::Fused, 2)) == bits, "two threads differ");
    CHECK_MESSAGE(bits_of(run(build, jit::Mode::Interpret)) == bits, "interpreted differs");
    CHECK_MESSAGE(bits_of(run_recomputing(build)) == bits, "recomputing differs");
  }
}
