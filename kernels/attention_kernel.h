// The kernels of kernels/attention.cpp, a table an instruction set. No includes: see
// attention_kernel.cpp.
#pragma once

namespace tenon::kernels {

// Which terms of a tile's product causality leaves out. Row 0 of the tile of scores sees its first
// `visible` keys, and each row one more than the row before.
enum class Causality {
  None,
  Columns,     // columns are keys: those that no row of a micro-tile sees aren't computed
  LastTerms,   // terms are keys: they end with the last one seen
  FirstTerms,  // rows are keys, terms are queries: they begin with the first that sees one
};

// C = A B, or C += A B. An element of A is a[i * a_row + p * a_step]. B is in panels of
// `panel` columns, `b_panel` elements apart: rows without gaps, padded to whole vectors, of which
// `b_first` is the product's first. C's rows, `c_row` elements apart, are padded to vectors, too.
template <class T>
struct TileProduct {
  const T* a = nullptr;
  long a_row = 0, a_step = 1;
  const T* b = nullptr;
  long b_panel = 0, b_first = 0;
  T* c = nullptr;
  long c_row = 0;
  long rows = 0, columns = 0, terms = 0;
  bool add = false;
  Causality causality = Causality::None;
  long visible = 0;
};

// A tile of scores: a row is a query, `row` elements long, whose first `columns` are keys.
template <class T>
struct ScoreTile {
  T* scores = nullptr;
  long row = 0;
  long rows = 0, columns = 0;
  bool causal = false;
  long visible = 0;  // with `causal`: see Causality
  T factor = 1;      // log2(e) * scale, > 0: 2 to the power of factor * score is a weight
};

// One step of softmax(scores) V over blocks of keys. Scores become weights; maxima (of
// factor * score), sums of weights and `out`, a vector a row, are brought to the new maxima.
template <class T>
struct SoftmaxStep {
  ScoreTile<T> tile;
  T *maximum = nullptr, *sum = nullptr, *rescale = nullptr;  // of whole vectors
  T* out = nullptr;
  long out_row = 0, width = 0;
};

// Scores become weights; where there are `gradients` (of the weights), they become those of the
// scores, times `scale`.
template <class T>
struct GradientStep {
  ScoreTile<T> tile;
  const T *normalizer = nullptr, *delta = nullptr;
  T* gradients = nullptr;
  T scale = 1;
};

enum class Element { Float16, BFloat16, Same, Bool };  // Same: of the kernel's own type

template <class T>
struct AttentionTable {
  long lanes = 0, panel = 0;
  void (*multiply)(const TileProduct<T>& product) = nullptr;
  // scores = scores * factor + log2(e) * mask, or -inf where a bool mask is false.
  void (*add_mask)(T* scores, long count, T factor, Element kind, const void* mask,
                   long stride) = nullptr;
  void (*softmax_step)(const SoftmaxStep<T>& step) = nullptr;
  void (*gradient_step)(const GradientStep<T>& step) = nullptr;
  // The transpose of a matrix [rows, columns], in panels.
  void (*transpose)(const T* from, long row, long rows, long columns, T* to) = nullptr;
  void (*widen)(Element kind, const void* from, long stride, long count, T* to) = nullptr;
  // to = from / divisor.
  void (*divide)(const T* from, T divisor, long count, Element kind, void* to) = nullptr;
  T (*dot)(const T* a, const T* b, long count) = nullptr;
};

struct AttentionKernels {
  AttentionTable<float> of_float;
  AttentionTable<double> of_double;
};

}  // namespace tenon::kernels
