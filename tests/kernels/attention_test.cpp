#include "kernels/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "core/threads.h"

using namespace tenon;
using namespace tenon::kernels;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
using Accumulated = std::conditional_t<std::is_same_v<T, double>, double, float>;

enum class Masking { None, Bool, Additive };

// A matrix for each head, with a layout of its own.
template <class T>
struct Operand {
  std::vector<T> data;
  std::vector<std::int64_t> offsets;
  HeadMatrix matrix;

  double at(std::int64_t head, std::int64_t r, std::int64_t c) const {
    const std::int64_t at =
        offsets[static_cast<std::size_t>(head)] + r * matrix.row_stride + c * matrix.column_stride;
    return static_cast<double>(static_cast<Accumulated<T>>(data[static_cast<std::size_t>(at)]));
  }
};

enum class Layout { Dense, Transposed, Spaced, OneRow, OneColumn, OneHead };

template <class T>
Operand<T> operand(std::mt19937& random, std::int64_t heads, std::int64_t rows,
                   std::int64_t columns, Layout layout) {
  Operand<T> made;
  std::int64_t row = columns, column = 1, head = rows * columns;
  if (layout == Layout::Transposed) row = 1, column = rows;
  if (layout == Layout::Spaced) row = heads * columns + 3, head = columns;
  if (layout == Layout::OneRow) row = 0, head = columns;
  if (layout == Layout::OneColumn) row = 1, column = 0, head = rows;
  if (layout == Layout::OneHead) head = 0;
  const std::int64_t size = heads * head + rows * row + columns * column + 1;
  std::normal_distribution<double> normal;
  for (std::int64_t i = 0; i < size; ++i) {
    made.data.push_back(T(static_cast<Accumulated<T>>(normal(random))));
  }
  for (std::int64_t h = 0; h < heads; ++h) made.offsets.push_back(h * head);
  made.matrix = {nullptr, nullptr, row, column};
  return made;
}

template <class T>
HeadMatrix matrix_of(const Operand<T>& operand) {
  HeadMatrix matrix = operand.matrix;
  matrix.data = operand.data.data();
  matrix.offsets = operand.offsets.data();
  return matrix;
}

struct Case {
  std::int64_t heads = 2, queries = 5, keys = 7, depth = 4, width = 3;
  bool causal = false;
  Masking masking = Masking::None;
  double scale = 0.5;
  Layout query = Layout::Dense, key = Layout::Dense, value = Layout::Dense, mask = Layout::Dense,
         gradient = Layout::Dense;
};

template <class T>
struct Problem {
  using A = Accumulated<T>;

  explicit Problem(const Case& c, unsigned seed = 7) : c(c) {
    std::mt19937 random(seed);
    query = operand<T>(random, c.heads, c.queries, c.depth, c.query);
    key = operand<T>(random, c.heads, c.keys, c.depth, c.key);
    value = operand<T>(random, c.heads, c.keys, c.width, c.value);
    gradient = operand<T>(random, c.heads, c.queries, c.width, c.gradient);
    added = operand<T>(random, c.heads, c.queries, c.keys, c.mask);
    chosen.matrix = added.matrix;
    chosen.offsets = added.offsets;
    for (std::size_t i = 0; i < added.data.size(); ++i) {
      chosen.data.push_back(static_cast<float>(added.data[i]) > -0.3F);
      if (static_cast<float>(added.data[i]) < -1) added.data[i] = T(static_cast<A>(-kInfinity));
    }
    out.assign(size(c.queries, c.width), T{});
    normalizer.assign(size(c.queries, 1), A{});
    query_gradient.assign(size(c.queries, c.depth), T{});
    key_gradient.assign(size(c.keys, c.depth), T{});
    value_gradient.assign(size(c.keys, c.width), T{});
  }

  std::size_t size(std::int64_t rows, std::int64_t columns) const {
    return static_cast<std::size_t>(c.heads * rows * columns);
  }

  AttentionInputs inputs() const {
    AttentionInputs in;
    in.dtype = dtype_of<T>;
    in.shape = {c.heads, c.queries, c.keys, c.depth, c.width, c.scale, c.causal};
    in.query = matrix_of(query);
    in.key = matrix_of(key);
    in.value = matrix_of(value);
    if (c.masking == Masking::Additive) in.mask = matrix_of(added);
    if (c.masking == Masking::Bool) in.mask = matrix_of(chosen);
    in.bool_mask = c.masking == Masking::Bool;
    return in;
  }

  void forward() { attention(inputs(), out.data(), normalizer.data()); }

  void backward(bool for_query = true, bool for_key = true, bool for_value = true) {
    out_offsets.clear();
    for (std::int64_t h = 0; h < c.heads; ++h) out_offsets.push_back(h * c.queries * c.width);
    AttentionGradients g;
    g.out = {out.data(), out_offsets.data(), c.width, 1};
    g.gradient = matrix_of(gradient);
    g.normalizer = normalizer.data();
    if (for_query) g.query = query_gradient.data();
    if (for_key) g.key = key_gradient.data();
    if (for_value) g.value = value_gradient.data();
    attention_gradients(inputs(), g);
  }

  double score(std::int64_t h, std::int64_t i, std::int64_t j) const {
    if (c.causal && j > i) return -kInfinity;
    if (c.masking == Masking::Bool && chosen.at(h, i, j) == 0) return -kInfinity;
    double dot = 0;
    for (std::int64_t d = 0; d < c.depth; ++d) dot += query.at(h, i, d) * key.at(h, j, d);
    return dot * c.scale + (c.masking == Masking::Additive ? added.at(h, i, j) : 0);
  }

  Case c;
  Operand<T> query, key, value, gradient, added;
  Operand<unsigned char> chosen;
  std::vector<T> out, query_gradient, key_gradient, value_gradient;
  std::vector<A> normalizer;
  std::vector<std::int64_t> out_offsets;
};

template <>
double Operand<unsigned char>::at(std::int64_t head, std::int64_t r, std::int64_t c) const {
  return data[static_cast<std::size_t>(offsets[static_cast<std::size_t>(head)] +
                                       r * matrix.row_stride + c * matrix.column_stride)];
}

template <class T>
double tolerance() {
  if (std::is_same_v<T, double>) return 1e-12;
  if (std::is_same_v<T, float>) return 1e-5;
  return std::is_same_v<T, float16> ? 4e-3 : 3e-2;
}

// The largest difference, relative to 1 + |expected|; NaN and infinities must be equal.
template <class T>
double difference(const std::vector<T>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double x = static_cast<double>(static_cast<Accumulated<T>>(got[i]));
    if (x == expected[i] || (std::isnan(x) && std::isnan(expected[i]))) continue;
    const double off = std::abs(x - expected[i]) / (1 + std::abs(expected[i]));
    largest = std::isnan(off) ? kInfinity : std::max(largest, off);
  }
  return largest;
}

// The definition, in double precision.
template <class T>
struct Reference {
  explicit Reference(const Problem<T>& p) {
    const Case& c = p.c;
    const auto at = [](std::vector<double>& v, std::int64_t i) -> double& {
      return v[static_cast<std::size_t>(i)];
    };
    out.resize(p.size(c.queries, c.width));
    normalizer.resize(p.size(c.queries, 1));
    query.resize(p.size(c.queries, c.depth));
    key.resize(p.size(c.keys, c.depth));
    value.resize(p.size(c.keys, c.width));
    std::vector<double> weights(static_cast<std::size_t>(c.keys));
    for (std::int64_t h = 0; h < c.heads; ++h) {
      for (std::int64_t i = 0; i < c.queries; ++i) {
        const std::int64_t row = h * c.queries + i;
        double largest = -kInfinity, sum = 0;
        for (std::int64_t j = 0; j < c.keys; ++j) {
          at(weights, j) = p.score(h, i, j);
          largest = std::max(largest, at(weights, j));
        }
        for (std::int64_t j = 0; j < c.keys; ++j) {
          double& w = at(weights, j);
          w = w == -kInfinity ? 0 : std::exp(w - largest);
          sum += w;
        }
        at(normalizer, row) = sum == 0 ? kInfinity : largest + std::log(sum);
        for (std::int64_t j = 0; j < c.keys; ++j) {
          if (sum != 0) at(weights, j) /= sum;
          for (std::int64_t w = 0; w < c.width; ++w) {
            at(out, row * c.width + w) += at(weights, j) * p.value.at(h, j, w);
          }
        }
        // The gradient of a score is weight * (gradient of the weight - their weighted mean).
        double mean = 0;
        for (std::int64_t w = 0; w < c.width; ++w) {
          mean += p.gradient.at(h, i, w) * at(out, row * c.width + w);
        }
        for (std::int64_t j = 0; j < c.keys; ++j) {
          double of_weight = 0;
          for (std::int64_t w = 0; w < c.width; ++w) {
            of_weight += p.gradient.at(h, i, w) * p.value.at(h, j, w);
            at(value, (h * c.keys + j) * c.width + w) += at(weights, j) * p.gradient.at(h, i, w);
          }
          const double of_score = at(weights, j) * (of_weight - mean) * c.scale;
          for (std::int64_t d = 0; d < c.depth; ++d) {
            at(query, row * c.depth + d) += of_score * p.key.at(h, j, d);
            at(key, (h * c.keys + j) * c.depth + d) += of_score * p.query.at(h, i, d);
          }
        }
      }
    }
  }
  std::vector<double> out, normalizer, query, key, value;
};

template <class T>
void check_case(const Case& c) {
  CAPTURE(name_of(dtype_of<T>));
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.depth);
  CAPTURE(c.width);
  CAPTURE(c.causal);
  CAPTURE(static_cast<int>(c.masking));
  Problem<T> p(c);
  const Reference<T> expected(p);
  p.forward();
  p.backward();
  CHECK(difference(p.out, expected.out) < tolerance<T>());
  CHECK(difference(p.normalizer, expected.normalizer) < 1e-5);
  const double looser = 4 * tolerance<T>();
  CHECK(difference(p.query_gradient, expected.query) < looser);
  CHECK(difference(p.key_gradient, expected.key) < looser);
  CHECK(difference(p.value_gradient, expected.value) < looser);
}

void check_all_dtypes(const Case& c) {
  check_case<float>(c);
  check_case<double>(c);
  check_case<float16>(c);
  check_case<bfloat16>(c);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Threads {
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};

const Case kUneven{.heads = 3, .queries = 211, .keys = 307, .depth = 19, .width = 37};

Case with(Case c, bool causal, Masking masking) {
  c.causal = causal;
  c.masking = masking;
  return c;
}

}  // namespace

TEST_CASE("attention is softmax(scale * Q K^T + mask) V, and its gradients, in every dtype") {
  for (const bool causal : {false, true}) {
    for (const Masking masking : {Masking::None, Masking::Bool, Masking::Additive}) {
      check_all_dtypes(with({}, causal, masking));
      check_all_dtypes(with(kUneven, causal, masking));
    }
  }
}

TEST_CASE("attention of odd sizes") {
  for (const bool causal : {false, true}) {
    for (const std::int64_t n : {1, 2, 6, 31, 97, 257}) {
      for (const std::int64_t m : {1, 5, 17, 96, 128, 300}) {
        check_case<float>({.heads = 1, .queries = n, .keys = m, .causal = causal});
      }
    }
    for (const std::int64_t n : {1, 8, 16, 33, 64, 65, 130, 200}) {
      check_case<float>({.queries = 20, .keys = 30, .depth = n, .width = 7, .causal = causal});
      check_case<double>({.queries = 20, .keys = 30, .depth = 7, .width = n, .causal = causal});
    }
  }
}

TEST_CASE("attention of operands with any strides") {
  using enum Layout;
  for (const Layout layout : {Transposed, Spaced, OneRow, OneColumn, OneHead}) {
    CAPTURE(static_cast<int>(layout));
    for (const Masking masking : {Masking::Bool, Masking::Additive}) {
      Case c = with(kUneven, false, masking);
      c.query = c.key = layout;
      // Where all columns are alike, gradients are differences of large numbers.
      c.value = c.gradient = layout == OneColumn ? Dense : layout;
      c.mask = layout == OneColumn ? Dense : layout;  // a whole row may be -inf
      check_all_dtypes(c);
      c = with({}, true, masking);
      c.value = c.mask = layout;
      check_all_dtypes(c);
    }
  }
}

TEST_CASE("a scale may be zero or negative") {
  for (const double scale : {0.0, -0.7}) {
    for (const Masking masking : {Masking::None, Masking::Bool}) {
      Case c = with(kUneven, true, masking);
      c.scale = scale;
      check_case<float>(c);
      check_case<double>(c);
    }
  }
}

TEST_CASE("a row without keys has weights, results and gradients 0") {
  for (const Masking masking : {Masking::Bool, Masking::Additive}) {
    Problem<float> p(with({.queries = 9, .keys = 20}, false, masking));
    for (std::int64_t j = 0; j < 20; ++j) {
      p.chosen.data[static_cast<std::size_t>(3 * 20 + j)] = 0;
      p.added.data[static_cast<std::size_t>(3 * 20 + j)] = -std::numeric_limits<float>::infinity();
    }
    p.forward();
    p.backward();
    for (std::size_t w = 0; w < 3; ++w) CHECK(p.out[3 * 3 + w] == 0);
    for (std::size_t d = 0; d < 4; ++d) CHECK(p.query_gradient[3 * 4 + d] == 0);
    CHECK(p.normalizer[3] == kInfinity);
    CHECK(difference(p.key_gradient, Reference<float>(p).key) < 1e-5);
  }
}

TEST_CASE("attention without keys, queries, depth, width or heads") {
  for (const bool causal : {false, true}) {
    check_case<float>({.keys = 0, .causal = causal});
    check_case<float>({.queries = 0, .causal = causal});
    check_case<float>({.depth = 0, .causal = causal});
    check_case<double>({.width = 0, .causal = causal});
    check_case<float16>({.heads = 0, .causal = causal});
  }
  for (const int threads : {1, 2}) {
    const Threads scope(threads);
    Problem<float> p({.heads = 1, .keys = 0});
    std::fill(p.query_gradient.begin(), p.query_gradient.end(), 5.0F);
    p.out.assign(p.out.size(), 5.0F);
    p.forward();
    p.backward();
    CHECK(p.out == std::vector<float>(15, 0.0F));
    CHECK(p.query_gradient == std::vector<float>(20, 0.0F));
  }
}

TEST_CASE("NaN and infinite scores give what softmax gives") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float special : {nan, infinity, -infinity}) {
    CAPTURE(special);
    Problem<float> p({.heads = 1, .queries = 20, .keys = 300, .depth = 1, .width = 3});
    for (float& k : p.key.data) k = std::abs(k);
    p.query.data[4] = special;
    p.forward();
    for (std::size_t i = 0; i < 20; ++i) {
      // With -inf as each of its scores a row has no keys.
      CHECK(std::isnan(p.out[i * 3]) == (i == 4 && special != -infinity));
    }
    // A score of -inf among others is a weight of 0.
    if (special != -infinity) continue;
    Problem<float> q({.heads = 1, .queries = 20, .keys = 300, .depth = 1, .width = 3});
    for (float& x : q.query.data) x = std::abs(x);
    q.key.data[7] = special;
    q.forward();
    CHECK(difference(q.out, Reference<float>(q).out) < 1e-5);
  }
}

TEST_CASE("scores that are far apart") {
  Problem<float> p(kUneven);
  for (float& q : p.query.data) q *= 300;
  const Reference<float> expected(p);
  p.forward();
  CHECK(difference(p.out, expected.out) < 5e-3);  // scores of thousands are rounded
  for (const float x : p.out) CHECK(std::isfinite(x));
}

TEST_CASE("the bits of attention do not depend on the number of threads") {
  for (const std::int64_t heads : {1, 3, 10}) {
    for (const std::int64_t queries : {2, 211}) {
      Case c = with(kUneven, queries > 2, Masking::Bool);
      c.heads = heads;
      c.queries = queries;
      Problem<float> first(c);
      {
        const Threads one(1);
        first.forward();
        first.backward();
      }
      for (const int threads : {2, 5}) {
        CAPTURE(heads);
        CAPTURE(queries);
        CAPTURE(threads);
        const Threads scope(threads);
        Problem<float> p(c);
        p.forward();
        p.backward();
        CHECK(same_bits(p.out, first.out));
        CHECK(same_bits(p.normalizer, first.normalizer));
        CHECK(same_bits(p.query_gradient, first.query_gradient));
        CHECK(same_bits(p.key_gradient, first.key_gradient));
        CHECK(same_bits(p.value_gradient, first.value_gradient));
      }
    }
  }
}

TEST_CASE("a result alone has the same bits as with the others") {
  for (const int threads : {1, 2}) {
    const Threads scope(threads);
    for (const std::int64_t heads : {1, 4}) {
      Case c = with(kUneven, true, Masking::None);
      c.heads = heads;
      Problem<float> all(c), alone(c), parts(c);
      all.forward();
      all.backward();
      attention(alone.inputs(), alone.out.data(), nullptr);
      attention(alone.inputs(), nullptr, alone.normalizer.data());
      CHECK(same_bits(alone.out, all.out));
      CHECK(same_bits(alone.normalizer, all.normalizer));
      alone.backward(true, false, false);
      alone.backward(false, true, false);
      alone.backward(false, false, true);
      CHECK(same_bits(alone.query_gradient, all.query_gradient));
      CHECK(same_bits(alone.key_gradient, all.key_gradient));
      CHECK(same_bits(alone.value_gradient, all.value_gradient));
    }
  }
}
