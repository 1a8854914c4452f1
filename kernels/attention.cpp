#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/size_classes.h"
#include "core/threads.h"
#include "kernels/attention_kernel.h"
#include "kernels/attention_operands.h"

namespace tenon::kernels {

extern const AttentionKernels attention_any;
#if TENON_HAVE_X86_KERNELS
extern const AttentionKernels attention_avx2, attention_avx512;
#endif

const AttentionKernels& attention_kernels() {
#if TENON_HAVE_X86_KERNELS
  static const AttentionKernels& host =
      __builtin_cpu_supports("avx512f")                                 ? attention_avx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? attention_avx2
                                                                        : attention_any;
  return host;
#else
  return attention_any;
#endif
}

namespace {

using namespace detail;

// How the matrix of scores is cut: multiples of a micro-tile, so that a tile of scores and its
// operands stay in the second-level cache.
constexpr std::int64_t kForwardQueries = 96, kForwardKeys = 512;
constexpr std::int64_t kBackwardQueries = 96, kBackwardKeys = 256;
// Of so few, a transpose of the keys doesn't pay: scores are sums of products of two rows.
constexpr std::int64_t kFewQueries = 2;
// Multiplications worth a thread's start.
constexpr double kWorthStarting = 1 << 19;

// The scores of a block of queries and a block of keys.
template <class T>
class Scores {
 public:
  explicit Scores(const AttentionInputs& inputs)
      : inputs_(inputs),
        query_(inputs.query, inputs.dtype, inputs.shape.queries, inputs.shape.depth),
        key_(inputs.key, inputs.dtype, inputs.shape.keys, inputs.shape.depth) {}

  void load(std::int64_t head) {
    head_ = head;
    query_.load(head);
    key_.load(head);
    load_transpose(keys_, key_);
  }

  // For `multiply`.
  void load_transpose(Panels<T>& to, const Rows<T>& from) const {
    if (inputs_.shape.queries > kFewQueries) to.load_transpose(from);
  }

  // Whether a query sees a key at all.
  bool any_seen(Range queries, Range keys) const {
    return !inputs_.shape.causal || keys.begin < queries.end;
  }

  ScoreTile<T> tile(Range queries, Range keys, T* scores, std::int64_t row) const {
    ScoreTile<T> tile;
    tile.scores = scores;
    tile.row = row;
    tile.rows = queries.size();
    tile.columns = keys.size();
    tile.visible = queries.begin + 1 - keys.begin;
    tile.causal = inputs_.shape.causal && tile.visible < tile.columns;
    tile.factor = static_cast<T>(inputs_.shape.scale / std::log(2.0));
    multiply(tile, queries, query_, keys, key_, keys_, scores);
    // Elsewhere, hidden scores are marked before they are scaled: the factor must be positive.
    if (inputs_.mask.data == nullptr && tile.factor > 0) return tile;
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      const std::int64_t seen = std::clamp<std::int64_t>(tile.visible + r, 0, tile.columns);
      table<T>().add_mask(scores + r * row, tile.causal ? seen : tile.columns, tile.factor,
                          mask_element(), mask(queries.begin + r, keys.begin),
                          inputs_.mask.column_stride);
    }
    tile.factor = static_cast<T>(1);
    return tile;
  }

  // [queries, keys] = rows of the one times rows of the other (of which `transpose` is the
  // transpose), where `tile` is seen.
  void multiply(const ScoreTile<T>& tile, Range queries, const Rows<T>& a, Range keys,
                const Rows<T>& b, const Panels<T>& transpose, T* c) const {
    if (inputs_.shape.queries <= kFewQueries) {
      for (std::int64_t j = 0; j < keys.size(); ++j) {
        for (std::int64_t i = 0; i < queries.size(); ++i) {
          c[i * tile.row + j] =
              table<T>().dot(a.row(queries.begin + i), b.row(keys.begin + j), a.columns());
        }
      }
      return;
    }
    TileProduct<T> product;
    product.a = a.row(queries.begin);
    product.a_row = a.columns();
    transpose.set_from_column(product, keys.begin);
    product.c = c;
    product.c_row = tile.row;
    product.rows = queries.size();
    product.columns = keys.size();
    product.terms = a.columns();
    product.causality = tile.causal ? Causality::Columns : Causality::None;
    product.visible = tile.visible;
    table<T>().multiply(product);
  }

  const Rows<T>& query() const { return query_; }
  const Rows<T>& key() const { return key_; }

 private:
  DType mask_dtype() const { return inputs_.bool_mask ? DType::Bool : inputs_.dtype; }
  Element mask_element() const {
    return inputs_.bool_mask ? Element::Bool : element_of(inputs_.dtype);
  }
  const void* mask(std::int64_t query, std::int64_t key) const {
    const HeadMatrix& m = inputs_.mask;
    if (m.data == nullptr) return nullptr;
    return element(m.data, mask_dtype(),
                   m.offsets[head_] + query * m.row_stride + key * m.column_stride);
  }

  const AttentionInputs& inputs_;
  std::int64_t head_ = 0;
  Rows<T> query_, key_;
  Panels<T> keys_;  // transposed
};

// C += weights * B, rows of C being queries or, transposed, keys. `b_row`: where rows of B begin.
template <class T>
void add_product(const ScoreTile<T>& tile, const T* weights, bool transposed, const Panels<T>& b,
                 std::int64_t b_row, T* c, std::int64_t c_row, std::int64_t columns) {
  TileProduct<T> product;
  product.a = weights;
  product.a_row = transposed ? 1 : tile.row;
  product.a_step = transposed ? tile.row : 1;
  b.set_from_row(product, b_row);
  product.c = c;
  product.c_row = c_row;
  product.rows = transposed ? tile.columns : tile.rows;
  product.columns = columns;
  product.terms = transposed ? tile.rows : tile.columns;
  product.add = true;
  product.causality = !tile.causal ? Causality::None
                      : transposed ? Causality::FirstTerms
                                   : Causality::LastTerms;
  product.visible = tile.visible;
  table<T>().multiply(product);
}

// ---- the passes ----

template <class T>
class Forward {
 public:
  Forward(const AttentionInputs& inputs, void* out, void* normalizer)
      : inputs_(inputs),
        shape_(inputs.shape),
        out_(out),
        normalizer_(static_cast<T*>(normalizer)),
        scores_(inputs),
        value_(inputs.value, inputs.dtype, shape_.keys, shape_.width) {}

  void run(std::int64_t head) {
    scores_.load(head);
    value_.load(head);
    values_.load(value_);
    const std::int64_t count = blocks(shape_.queries, kForwardQueries);
    parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      Workspace work(shape_);
      for (std::int64_t i = begin; i < end; ++i) {
        // Late queries see most keys: the longest first.
        run_block(head, block_of(count - 1 - i, kForwardQueries, shape_.queries), work);
      }
    });
  }

 private:
  struct Workspace {
    explicit Workspace(const AttentionShape& shape)
        : rows(padded<T>(std::min(kForwardQueries, shape.queries))),
          row(padded<T>(std::min(kForwardKeys, shape.keys)) + table<T>().lanes),
          width(padded<T>(shape.width)),
          scores(rows, row),
          out(rows, width),
          maximum(rows, 1),
          sum(rows, 1),
          rescale(rows, 1) {}
    std::int64_t rows, row, width;
    Buffer<T> scores, out, maximum, sum, rescale;
  };

  void run_block(std::int64_t head, Range queries, Workspace& work) {
    T *out = work.out.data(), *maximum = work.maximum.data(), *sum = work.sum.data();
    std::fill_n(out, work.rows * work.width, T{0});
    std::fill_n(maximum, work.rows, -std::numeric_limits<T>::infinity());
    std::fill_n(work.rescale.data(), work.rows, -std::numeric_limits<T>::infinity());
    std::fill_n(sum, work.rows, T{0});
    prefetch_out(head, queries);
    for (std::int64_t j = 0; j < blocks(shape_.keys, kForwardKeys); ++j) {
      const Range keys = block_of(j, kForwardKeys, shape_.keys);
      if (!scores_.any_seen(queries, keys)) break;
      SoftmaxStep<T> step;
      step.tile = scores_.tile(queries, keys, work.scores.data(), work.row);
      step.maximum = maximum;
      step.sum = sum;
      step.rescale = work.rescale.data();
      step.out = out;
      step.out_row = step.width = work.width;
      table<T>().softmax_step(step);
      add_product(step.tile, step.tile.scores, false, values_, keys.begin, out, work.width,
                  shape_.width);
    }
    for (std::int64_t r = 0; r < queries.size(); ++r) {
      const std::int64_t row = head * shape_.queries + queries.begin + r;
      const bool none = sum[r] == 0;
      if (normalizer_ != nullptr) {
        normalizer_[row] =
            none ? std::numeric_limits<T>::infinity()
                 : static_cast<T>((maximum[r] + std::log2(double{sum[r]})) * std::log(2.0));
      }
      if (out_ == nullptr) continue;
      table<T>().divide(out + r * work.width, none ? T{1} : sum[r], shape_.width,
                        element_of(inputs_.dtype),
                        element(out_, inputs_.dtype, row * shape_.width));
    }
  }

  // Results are written at the end; that their memory is there by then costs nothing here.
  void prefetch_out(std::int64_t head, Range queries) {
    if (out_ == nullptr) return;
    const std::int64_t first = (head * shape_.queries + queries.begin) * shape_.width;
    const char* begin = element(out_, inputs_.dtype, first);
    const char* end = element(out_, inputs_.dtype, first + queries.size() * shape_.width);
    for (; begin < end; begin += 64) __builtin_prefetch(begin, 1);
  }

  const AttentionInputs& inputs_;
  const AttentionShape& shape_;
  void* out_;
  T* normalizer_;
  Scores<T> scores_;
  Rows<T> value_;
  Panels<T> values_;
};

template <class T>
class Backward {
 public:
  Backward(const AttentionInputs& inputs, const AttentionGradients& g)
      : shape_(inputs.shape),
        normalizer_(static_cast<const T*>(g.normalizer)),
        scores_(inputs),
        value_(inputs.value, inputs.dtype, shape_.keys, shape_.width),
        gradient_(g.gradient, inputs.dtype, shape_.queries, shape_.width),
        out_(g.out, inputs.dtype, shape_.queries, shape_.width),
        delta_(shape_.queries, 1),
        query_sums_(g.query, inputs.dtype, shape_.queries, shape_.depth),
        key_sums_(g.key, inputs.dtype, shape_.keys, shape_.depth),
        value_sums_(g.value, inputs.dtype, shape_.keys, shape_.width) {}

  void run(std::int64_t head) {
    load(head);
    // Each block's sums are in the order of the other operand's blocks, however they are cut. In
    // one go, a tile is made once for all results.
    if (in_parallel_region() || num_threads() == 1) {
      Workspace work;
      if (query_sums_) query_sums_.clear(head, {0, shape_.queries});
      for (std::int64_t j = 0; j < key_blocks(); ++j) run_keys(head, j, bool(query_sums_), work);
      if (query_sums_) query_sums_.finish(head, {0, shape_.queries});
      return;
    }
    if (key_sums_ || value_sums_) {
      parallel_for(key_blocks(), 1, [&](std::int64_t begin, std::int64_t end) {
        Workspace work;
        for (std::int64_t j = begin; j < end; ++j) run_keys(head, j, false, work);
      });
    }
    if (!query_sums_) return;
    parallel_for(query_blocks(), 1, [&](std::int64_t begin, std::int64_t end) {
      Workspace work;
      for (std::int64_t n = begin; n < end; ++n) {
        const Range queries = queries_of(query_blocks() - 1 - n);
        query_sums_.clear(head, queries);
        for (std::int64_t j = 0; j < key_blocks(); ++j) {
          run_tile(head, queries, keys_of(j), true, false, work);
        }
        query_sums_.finish(head, queries);
      }
    });
  }

 private:
  struct Workspace {
    std::int64_t row = kBackwardKeys + table<T>().lanes;
    Buffer<T> scores{kBackwardQueries, row}, gradients{kBackwardQueries, row};
  };

  std::int64_t query_blocks() const { return blocks(shape_.queries, kBackwardQueries); }
  std::int64_t key_blocks() const { return blocks(shape_.keys, kBackwardKeys); }
  Range queries_of(std::int64_t i) const { return block_of(i, kBackwardQueries, shape_.queries); }
  Range keys_of(std::int64_t j) const { return block_of(j, kBackwardKeys, shape_.keys); }

  void load(std::int64_t head) {
    scores_.load(head);
    gradient_.load(head);
    if (value_sums_) gradients_.load(gradient_);
    if (key_sums_) queries_.load(scores_.query());
    if (query_sums_) keys_.load(scores_.key());
    if (!query_sums_ && !key_sums_) return;
    value_.load(head);
    scores_.load_transpose(values_, value_);
    out_.load(head);
    for (std::int64_t r = 0; r < shape_.queries; ++r) {
      delta_.data()[r] = table<T>().dot(gradient_.row(r), out_.row(r), shape_.width);
    }
  }

  // All that a block of keys has part in.
  void run_keys(std::int64_t head, std::int64_t j, bool for_query, Workspace& work) {
    const Range keys = keys_of(j);
    if (key_sums_) key_sums_.clear(head, keys);
    if (value_sums_) value_sums_.clear(head, keys);
    for (std::int64_t i = 0; i < query_blocks(); ++i) {
      run_tile(head, queries_of(i), keys, for_query, true, work);
    }
    if (key_sums_) key_sums_.finish(head, keys);
    if (value_sums_) value_sums_.finish(head, keys);
  }

  void run_tile(std::int64_t head, Range queries, Range keys, bool for_query, bool for_key,
                Workspace& work) {
    if (!scores_.any_seen(queries, keys)) return;
    GradientStep<T> step;
    step.tile = scores_.tile(queries, keys, work.scores.data(), work.row);
    step.normalizer = normalizer_ + head * shape_.queries + queries.begin;
    step.scale = static_cast<T>(shape_.scale);
    if (for_query || key_sums_) {
      step.gradients = work.gradients.data();
      step.delta = delta_.data() + queries.begin;
      scores_.multiply(step.tile, queries, gradient_, keys, value_, values_, step.gradients);
    }
    table<T>().gradient_step(step);
    if (for_key && value_sums_) {
      add_product(step.tile, step.tile.scores, true, gradients_, queries.begin,
                  value_sums_.row(head, keys.begin), value_sums_.width(), shape_.width);
    }
    if (for_key && key_sums_) {
      add_product(step.tile, step.gradients, true, queries_, queries.begin,
                  key_sums_.row(head, keys.begin), key_sums_.width(), shape_.depth);
    }
    if (for_query) {
      add_product(step.tile, step.gradients, false, keys_, keys.begin,
                  query_sums_.row(head, queries.begin), query_sums_.width(), shape_.depth);
    }
  }

  const AttentionShape& shape_;
  const T* normalizer_;
  Scores<T> scores_;
  Rows<T> value_, gradient_, out_;
  Panels<T> values_, keys_, queries_, gradients_;  // the values transposed
  Buffer<T> delta_;                                // of each query: sum of gradient * out
  Sums<T> query_sums_, key_sums_, value_sums_;
};

// What cutting a head costs, as a factor.
constexpr double kForwardSpare = 1.1, kBackwardSpare = 1.4;

bool can_share_heads(const AttentionShape& shape, double spare) {
  const std::int64_t threads = num_threads();
  const double even = static_cast<double>(shape.heads) / static_cast<double>(threads);
  return static_cast<double>(blocks(shape.heads, threads)) <= spare * even;
}

// Heads in parallel, or one after the other, each cut in blocks: where heads can't be shared out
// evenly.
void run_heads(const AttentionShape& shape, double spare, const auto& make) {
  const auto some = [&](std::int64_t begin, std::int64_t end) {
    auto pass = make();
    for (std::int64_t head = begin; head < end; ++head) pass.run(head);
  };
  const double work = static_cast<double>(shape.queries) * static_cast<double>(shape.keys) *
                      static_cast<double>(shape.depth + shape.width);
  const std::int64_t grain =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kWorthStarting / std::max(work, 1.0)));
  if (can_share_heads(shape, spare)) {
    parallel_for(shape.heads, grain, some);
  } else {
    some(0, shape.heads);
  }
}

}  // namespace

std::int64_t attention_scratch(DType dtype, const AttentionShape& s, bool has_dense_rows,
                               bool is_gradient) {
  const auto of = [&]<class T>(T) {
    const auto bytes = [](std::int64_t rows, std::int64_t columns) {
      return class_bytes(static_cast<std::size_t>(rows * columns) * sizeof(T));
    };
    const auto rows = [&](std::int64_t count, std::int64_t columns) {
      return has_dense_rows && dtype == dtype_of<T> ? 0 : bytes(count, columns);
    };
    const auto panels = [&](std::int64_t count, std::int64_t columns) {
      const std::int64_t width = padded<T>(columns);
      return columns == width && width <= table<T>().panel ? 0 : bytes(count, width);
    };
    const auto sums = [&](std::int64_t count, std::int64_t columns) {
      return dtype == dtype_of<T> && columns == padded<T>(columns)
                 ? 0
                 : bytes(count, padded<T>(columns));
    };
    const std::int64_t lanes = table<T>().lanes;
    std::size_t head = rows(s.queries, s.depth) + rows(s.keys, s.depth) + rows(s.keys, s.width) +
                       bytes(s.depth, padded<T>(s.keys));
    std::size_t block = 0;
    if (is_gradient) {
      head += 2 * rows(s.queries, s.width) + bytes(s.width, padded<T>(s.keys)) +
              panels(s.keys, s.depth) + panels(s.queries, s.depth) + panels(s.queries, s.width) +
              bytes(s.queries, 1) + sums(s.queries, s.depth) + sums(s.keys, s.depth) +
              sums(s.keys, s.width);
      block = 2 * bytes(kBackwardQueries, kBackwardKeys + lanes);
    } else {
      head += panels(s.keys, s.width);
      const std::int64_t queries = padded<T>(std::min(kForwardQueries, s.queries));
      block = bytes(queries, padded<T>(std::min(kForwardKeys, s.keys)) + lanes) +
              bytes(queries, padded<T>(s.width)) + 3 * bytes(queries, 1);
    }
    const std::int64_t threads = num_threads();
    const bool shares_heads = can_share_heads(s, is_gradient ? kBackwardSpare : kForwardSpare);
    const auto heads = static_cast<std::size_t>(shares_heads ? std::min(s.heads, threads) : 1);
    return static_cast<std::int64_t>(heads * head + static_cast<std::size_t>(threads) * block);
  };
  return dtype == DType::Float64 ? of(double{}) : of(float{});
}

void attention(const AttentionInputs& inputs, void* out, void* normalizer) {
  const auto run = [&]<class T>(T) {
    run_heads(inputs.shape, kForwardSpare, [&] { return Forward<T>(inputs, out, normalizer); });
  };
  inputs.dtype == DType::Float64 ? run(double{}) : run(float{});
}

void attention_gradients(const AttentionInputs& inputs, const AttentionGradients& gradients) {
  const auto run = [&]<class T>(T) {
    run_heads(inputs.shape, kBackwardSpare, [&] { return Backward<T>(inputs, gradients); });
  };
  inputs.dtype == DType::Float64 ? run(double{}) : run(float{});
}

}  // namespace tenon::kernels
