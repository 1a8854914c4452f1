// Structural primitives of the reference executor, straight from their definitions.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/philox.h"
#include "tests/attention_terms.h"
#include "tests/convolution_terms.h"
#include "tests/trace/reference/array.h"
#include "trace/executor.h"

namespace tenon::reference {
namespace {

using Index = std::span<const int64_t>;

int64_t place(Index index, const Dims& strides) {
  int64_t at = 0;
  for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[d];
  return at;
}

// result[index] = x[from(index)], where `from` gives the place of an element.
template <class From>
void pick(Array& out, const Array& x, From&& from) {
  int64_t at = 0;
  for_each_index(out.dims, [&](Index index) {
    const int64_t source = from(index);
    with_elements([&](auto& to, const auto& values) { to[at] = values[source]; }, out, x);
    ++at;
  });
}

Array movement(const Operation& o) {
  Array out = make_array(o.node.type);
  const Array& x = *o.operands[0];
  const Dims strides = strides_of(x.dims);
  const size_t rank = out.dims.size();
  switch (o.node.op) {
    case Op::Expand: {
      const size_t shift = rank - x.dims.size();
      pick(out, x, [&](Index index) {
        int64_t at = 0;
        for (size_t d = 0; d < x.dims.size(); ++d) {
          if (x.dims[d] != 1) at += index[shift + d] * strides[d];
        }
        return at;
      });
      return out;
    }
    case Op::Permute:
      pick(out, x, [&](Index index) {
        int64_t at = 0;
        for (size_t d = 0; d < rank; ++d) at += index[d] * strides[o.axes[d]];
        return at;
      });
      return out;
    case Op::Slice:
      pick(out, x, [&](Index index) {
        int64_t at = 0;
        for (size_t d = 0; d < rank; ++d) {
          at += (o.sizes[d] + index[d] * o.sizes[rank + d]) * strides[d];
        }
        return at;
      });
      return out;
    default:  // Reshape, Alias, Redirect
      out.real = x.real;
      out.whole = x.whole;
      return out;
  }
}

// Copies x into a box of out that starts at `start` and goes by `step`.
void put_box(Array& out, const Array& x, Index start, Index step) {
  const Dims strides = strides_of(out.dims);
  int64_t from = 0;
  for_each_index(x.dims, [&](Index index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += (start[d] + index[d] * step[d]) * strides[d];
    with_elements([&](auto& to, const auto& values) { to[at] = values[from]; }, out, x);
    ++from;
  });
}

Array pad(const Operation& o) {
  Array out = make_array(o.node.type);
  const size_t rank = out.dims.size();
  with_elements([](auto& to, const auto& fill) { std::ranges::fill(to, fill[0]); }, out,
                *o.operands[1]);
  Dims step(o.sizes.subspan(2 * rank));
  for (int64_t& s : step) ++s;
  put_box(out, *o.operands[0], o.sizes.first(rank), step);
  return out;
}

Array concatenate(const Operation& o) {
  Array out = make_array(o.node.type);
  Dims start(out.dims.size(), 0);
  const Dims step(out.dims.size(), 1);
  for (const Array* x : o.operands) {
    put_box(out, *x, start, step);
    start[o.axes[0]] += x->dims[o.axes[0]];
  }
  return out;
}

int64_t checked(const Operation& o, int64_t index, int64_t extent) {
  if (index < 0 || index >= extent) {
    throw DataError(ErrorKind::IndexOutOfRange,
                    fmt::format("index {} is out of bounds for dimension {} with size {}", index,
                                o.axes[0], extent),
                    o.node.origin);
  }
  return index;
}

// Visits (place in the base, place in the result or updates) of gather and scatter.
template <class Visit>
void for_each_gathered(const Operation& o, const Array& base, const Array& index, Visit&& visit) {
  const auto axis = static_cast<size_t>(o.axes[0]);
  Dims dims(Index(base.dims).first(axis));
  dims.append(index.dims.begin(), index.dims.end());
  dims.append(base.dims.begin() + axis + 1, base.dims.end());
  const Dims strides = strides_of(base.dims), index_strides = strides_of(index.dims);
  const size_t index_rank = index.dims.size();
  int64_t other = 0;
  for_each_index(dims, [&](Index at) {
    const int64_t i = index.whole[place(at.subspan(axis, index_rank), index_strides)];
    int64_t from = checked(o, i, base.dims[axis]) * strides[axis];
    for (size_t d = 0; d < axis; ++d) from += at[d] * strides[d];
    for (size_t d = axis + 1; d < base.dims.size(); ++d) {
      from += at[d + index_rank - 1] * strides[d];
    }
    visit(from, other++);
  });
}

// The same for take_along and put_along.
template <class Visit>
void for_each_along(const Operation& o, const Array& base, const Array& index, Visit&& visit) {
  const auto axis = static_cast<size_t>(o.axes[0]);
  const Dims strides = strides_of(base.dims);
  int64_t other = 0;
  for_each_index(index.dims, [&](Index at) {
    const int64_t i = checked(o, index.whole[other], base.dims[axis]);
    visit(place(at, strides) + (i - at[axis]) * strides[axis], other);
    ++other;
  });
}

Array indexing(const Operation& o) {
  const Array& base = *o.operands[0];
  const Array& index = *o.operands[1];
  Array out = make_array(o.node.type);
  const auto each = [&](auto&& visit) {
    const bool along =
        o.node.op == Op::TakeAlong || o.node.op == Op::PutAlongAdd || o.node.op == Op::PutAlongSet;
    along ? for_each_along(o, base, index, visit) : for_each_gathered(o, base, index, visit);
  };
  if (o.operands.size() == 2) {
    each([&](int64_t from, int64_t at) {
      with_elements([&](auto& to, const auto& x) { to[at] = x[from]; }, out, base);
    });
    return out;
  }
  out = base;
  const bool adds = o.node.op == Op::ScatterAdd || o.node.op == Op::PutAlongAdd;
  each([&](int64_t to, int64_t at) {
    with_elements(
        [&](auto& values, const auto& updates) {
          values[to] = adds ? round_to(out.dtype, values[to] + updates[at]) : updates[at];
        },
        out, *o.operands[2]);
  });
  return out;
}

template <class T>
bool is_nan(T x) {
  return x != x;
}

// max and min with NaN winning.
template <class T>
T extreme(bool largest, T a, T b) {
  if (is_nan(a)) return a;
  if (is_nan(b)) return b;
  return (largest ? b > a : b < a) ? b : a;
}

template <class T>
T combine(Op op, T a, T b) {
  switch (op) {
    case Op::ReduceSum:
    case Op::Cumsum:
      return a + b;
    case Op::ReduceProd:
    case Op::Cumprod:
      return a * b;
    case Op::ReduceAny:
      return a != T(0) || b != T(0);
    case Op::ReduceAll:
      return a != T(0) && b != T(0);
    case Op::ReduceMax:
    case Op::Cummax:
      return extreme(true, a, b);
    default:
      return extreme(false, a, b);
  }
}

template <class T>
T identity(Op op) {
  switch (op) {
    case Op::ReduceSum:
      return T(-0.0);
    case Op::ReduceProd:
    case Op::ReduceAll:
      return T(1);
    case Op::ReduceMax:
      return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                  : std::numeric_limits<T>::lowest();
    case Op::ReduceMin:
      return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity()
                                                  : std::numeric_limits<T>::max();
    default:
      return T(0);
  }
}

Array reduction(const Operation& o) {
  const Array& x = *o.operands[0];
  Array out = make_array(o.node.type);
  Dims into(x.dims.size(), 0);  // the result's stride of each dimension; 0 where it is reduced
  const Dims strides = strides_of(out.dims);
  for (size_t d = 0, kept = 0; d < x.dims.size(); ++d) {
    if (std::ranges::find(o.axes, static_cast<int64_t>(d)) == o.axes.end()) {
      into[d] = strides[kept++];
    }
  }
  with_elements(
      [&](auto& to, const auto& from) {
        using T = typename std::decay_t<decltype(to)>::value_type;
        std::ranges::fill(to, identity<T>(o.node.op));
        int64_t at = 0;
        for_each_index(x.dims, [&](Index index) {
          T& result = to[place(index, into)];
          result = combine(o.node.op, result, from[at++]);
        });
        for (T& value : to) value = round_to(out.dtype, value);
      },
      out, x);
  return out;
}

// Calls visit(first place, stride, extent, number) for each line along an axis.
template <class Visit>
void for_each_line(const Array& x, size_t axis, Visit&& visit) {
  Dims outer(x.dims);
  outer[axis] = 1;
  const Dims strides = strides_of(x.dims);
  int64_t number = 0;
  for_each_index(outer, [&](Index index) {
    visit(place(index, strides), strides[axis], x.dims[axis], number++);
  });
}

Array scan(const Operation& o) {
  const Array& x = *o.operands[0];
  Array out = make_array(o.node.type);
  with_elements(
      [&](auto& to, const auto& from) {
        for_each_line(x, o.axes[0], [&](int64_t first, int64_t stride, int64_t extent, int64_t) {
          for (int64_t i = 0; i < extent; ++i) {
            const int64_t at = first + i * stride;
            to[at] = i == 0 ? from[at]
                            : round_to(out.dtype, combine(o.node.op, to[at - stride], from[at]));
          }
        });
      },
      out, x);
  return out;
}

Array argument(const Operation& o) {
  const Array& x = *o.operands[0];
  Array out = make_array(o.node.type);
  const bool largest = o.node.op == Op::Argmax;
  const auto find = [&](const auto& values) {
    for_each_line(x, o.axes[0], [&](int64_t first, int64_t stride, int64_t extent, int64_t line) {
      int64_t best = 0;
      for (int64_t i = 1; i < extent; ++i) {
        const auto a = values[first + best * stride], b = values[first + i * stride];
        if (!is_nan(a) && (is_nan(b) || (largest ? b > a : b < a))) best = i;
      }
      out.whole[line] = best;
    });
  };
  x.is_real() ? find(x.real) : find(x.whole);
  return out;
}

Array sort(const Operation& o) {
  const Array& x = *o.operands[0];
  Array out = make_array(o.node.type);
  const bool descending = o.axes[1] != 0;
  const auto order = [&](const auto& values) {
    for_each_line(x, o.axes[0], [&](int64_t first, int64_t stride, int64_t extent, int64_t) {
      std::vector<int64_t> index(extent);
      std::iota(index.begin(), index.end(), 0);
      std::ranges::stable_sort(index, [&](int64_t i, int64_t j) {
        auto a = values[first + i * stride], b = values[first + j * stride];
        if (descending) std::swap(a, b);
        return !is_nan(a) && (is_nan(b) || a < b);
      });
      for (int64_t i = 0; i < extent; ++i) out.whole[first + i * stride] = index[i];
    });
  };
  x.is_real() ? order(x.real) : order(x.whole);
  return out;
}

Array contraction(const Operation& o) {
  const Array &a = *o.operands[0], &b = *o.operands[1];
  const int64_t nb = o.axes[0], nc = o.axes[1 + 2 * nb];
  const Index batch_a = o.axes.subspan(1, nb), batch_b = o.axes.subspan(1 + nb, nb);
  const Index contract_a = o.axes.subspan(2 + 2 * nb, nc),
              contract_b = o.axes.subspan(2 + 2 * nb + nc);
  const Dims strides_a = strides_of(a.dims), strides_b = strides_of(b.dims);
  Array out = make_array(o.node.type);
  // The strides of each operand over the result's dims, then over the contracted ones.
  Dims into_a, into_b, contracted, along_a, along_b;
  for (int64_t i = 0; i < nb; ++i) {
    into_a.push_back(strides_a[batch_a[i]]);
    into_b.push_back(strides_b[batch_b[i]]);
  }
  const auto add_free = [](const Array& x, const Dims& strides, Index batch, Index contract,
                           Dims& own, Dims& other) {
    for (size_t d = 0; d < x.dims.size(); ++d) {
      const auto axis = static_cast<int64_t>(d);
      if (std::ranges::find(batch, axis) != batch.end()) continue;
      if (std::ranges::find(contract, axis) != contract.end()) continue;
      own.push_back(strides[d]);
      other.push_back(0);
    }
  };
  add_free(a, strides_a, batch_a, contract_a, into_a, into_b);
  add_free(b, strides_b, batch_b, contract_b, into_b, into_a);
  for (int64_t i = 0; i < nc; ++i) {
    contracted.push_back(a.dims[contract_a[i]]);
    along_a.push_back(strides_a[contract_a[i]]);
    along_b.push_back(strides_b[contract_b[i]]);
  }
  int64_t at = 0;
  with_elements(
      [&](auto& to, const auto& x, const auto& y) {
        for_each_index(out.dims, [&](Index index) {
          const int64_t from_a = place(index, into_a), from_b = place(index, into_b);
          auto sum = to[at] * 0;
          for_each_index(contracted, [&](Index k) {
            sum += x[from_a + place(k, along_a)] * y[from_b + place(k, along_b)];
          });
          to[at++] = round_to(out.dtype, sum);
        });
      },
      out, a, b);
  return out;
}

Array source(const Operation& o) {
  Array out = make_array(o.node.type);
  if (o.node.op == Op::RandomBits) {
    const size_t rank = o.sizes.size() - 2;
    for (size_t i = 0; i < out.whole.size(); ++i) {
      out.whole[i] = philox_bits(o.sizes[rank], o.sizes[rank + 1], i);
    }
  } else if (o.node.op == Op::Iota) {
    int64_t at = 0;
    for_each_index(out.dims, [&](Index index) {
      with_elements([&](auto& to) { to[at] = index[o.axes[0]]; }, out);
      ++at;
    });
  } else {
    const int64_t bits = o.axes[0] ? o.axes[1] : o.sizes[0];
    if (out.is_real()) {
      out.real[0] = round_to(out.dtype, std::bit_cast<double>(bits));
    } else {
      out.whole[0] = round_to(out.dtype, bits);
    }
  }
  return out;
}

Array convolution(const Operation& o) {
  Array out = make_array(o.node.type);
  const Array *a = o.operands[0], *b = o.operands[1];
  const int64_t role = o.axes[0];
  const Array& x = role == 0 ? out : *a;
  const Array& w = role == 1 ? out : role == 0 ? *a : *b;
  const Array& y = role == 2 ? out : *b;
  with_elements(
      [&](auto& to, const auto& from_a, const auto& from_b) {
        test::for_each_convolution_term(
            x.dims, w.dims, y.dims, o.sizes, [&](int64_t at_x, int64_t at_w, int64_t at_y) {
              const int64_t places[] = {at_x, at_w, at_y};
              to[places[role]] +=
                  from_a[places[role == 0 ? 1 : 0]] * from_b[places[role == 2 ? 1 : 2]];
            });
        for (auto& value : to) value = round_to(out.dtype, value);
      },
      out, *a, *b);
  return out;
}

Array attention(const Operation& o) {
  std::vector<test::AttentionOperand> operands;
  for (const Array* x : o.operands) {
    std::vector<double> values(x->whole.begin(), x->whole.end());
    operands.push_back({x->dims, x->is_real() ? x->real : values, !x->is_real()});
  }
  Array out = make_array(o.node.type);
  out.real = test::attention_values(o.node.op, o.axes, operands);
  for (double& value : out.real) value = round_to(out.dtype, value);
  return out;
}

}  // namespace

Array run_structural(const Operation& o) {
  switch (info(o.node.op).group) {
    case PrimitiveClass::Source:
      return source(o);
    case PrimitiveClass::Index:
      return indexing(o);
    case PrimitiveClass::Reduction:
      return reduction(o);
    case PrimitiveClass::Argument:
      return argument(o);
    case PrimitiveClass::Scan:
      return scan(o);
    case PrimitiveClass::Contraction:
      return contraction(o);
    case PrimitiveClass::Convolution:
      return convolution(o);
    case PrimitiveClass::Attention:
      return attention(o);
    case PrimitiveClass::Sort:
      return sort(o);
    default:
      break;
  }
  if (o.node.op == Op::Pad) return pad(o);
  if (o.node.op == Op::Concatenate) return concatenate(o);
  if (o.node.op == Op::UpdateSlice) {
    Array out = *o.operands[0];
    const size_t rank = out.dims.size();
    put_box(out, *o.operands[1], o.sizes.first(rank), o.sizes.subspan(rank));
    return out;
  }
  return movement(o);
}

}  // namespace tenon::reference
