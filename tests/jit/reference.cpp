// The plain evaluation of a program: one element at a time, in double.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/philox.h"
#include "tests/attention_terms.h"
#include "tests/convolution_terms.h"
#include "tests/jit/program_builder.h"
#include "tests/jit/reference_scalar.h"

namespace tenon::test {
namespace {

using Index = std::vector<int64_t>;

Index unravel(int64_t flat, const std::vector<int64_t>& dims) {
  Index at(dims.size());
  for (size_t d = dims.size(); d-- > 0;) {
    at[d] = flat % dims[d];
    flat /= dims[d];
  }
  return at;
}
int64_t ravel(const Index& at, const std::vector<int64_t>& dims) {
  int64_t flat = 0;
  for (size_t d = 0; d < dims.size(); ++d) flat = flat * dims[d] + at[d];
  return flat;
}
double broadcast(const Array& x, const Index& at) {
  Index mine(x.dims.size());
  for (size_t d = 0; d < mine.size(); ++d) {
    mine[d] = x.dims[d] == 1 ? 0 : at[d + at.size() - mine.size()];
  }
  return x.values[ravel(mine, x.dims)];
}

struct Fold {
  double identity;
  std::function<double(double, double)> combine;
};
Fold fold_of(Op op) {
  const auto max = [](double a, double b) { return a != a ? a : b != b ? b : std::max(a, b); };
  const auto min = [](double a, double b) { return a != a ? a : b != b ? b : std::min(a, b); };
  switch (op) {
    case Op::ReduceSum:
    case Op::Cumsum:
      return {0, std::plus<double>()};
    case Op::ReduceProd:
    case Op::Cumprod:
      return {1, std::multiplies<double>()};
    case Op::ReduceMax:
    case Op::Cummax:
      return {-HUGE_VAL, max};
    case Op::ReduceMin:
    case Op::Cummin:
      return {HUGE_VAL, min};
    case Op::ReduceAny:
      return {0, [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0.0; }};
    default:
      return {1, [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; }};
  }
}

class Evaluator {
 public:
  explicit Evaluator(const Program& program) : p_(program) {}

  std::vector<Array> run() {
    size_t inputs = 0;
    for (const ProgramNode& node : p_.nodes) {
      const Type& type = type_of(node.type);
      Array out{type.dtype, {type.dims().begin(), type.dims().end()}, {}};
      if (node.op == Op::Input) {
        out = to_array(p_.inputs[inputs++]);
      } else {
        out.values.resize(type.numel);
        compute(node, out);
        for (double& v : out.values) v = round_to(type.dtype, v);
      }
      values_.push_back(std::move(out));
    }
    std::vector<Array> outputs;
    for (uint32_t n : p_.outputs) outputs.push_back(values_[n]);
    return outputs;
  }

 private:
  const Array& x(const ProgramNode& node, int k) const {
    return values_[p_.operands[node.operands + k]];
  }
  template <class F>
  void each(Array& out, F&& fn) {
    for (int64_t i = 0; i < out.numel(); ++i) out.values[i] = fn(unravel(i, out.dims));
  }

  void compute(const ProgramNode& node, Array& out) {
    const auto axes = p_.axes_of(node), sizes = p_.sizes_of(node);
    const size_t rank = out.dims.size();
    const int64_t axis = axes.empty() ? 0 : axes[0];
    switch (node.op) {
      case Op::Constant: {
        const int64_t bits = axes[0] == 1 ? axes[1] : sizes[0];
        std::fill(out.values.begin(), out.values.end(),
                  is_floating(out.dtype) ? std::bit_cast<double>(bits) : static_cast<double>(bits));
        return;
      }
      case Op::Iota:
        return each(out, [&](const Index& at) { return static_cast<double>(at[axis]); });
      case Op::RandomBits:
        for (int64_t i = 0; i < out.numel(); ++i) {
          out.values[i] =
              philox_bits(static_cast<uint64_t>(sizes[rank]),
                          static_cast<uint64_t>(sizes[rank + 1]), static_cast<uint64_t>(i));
        }
        return;
      case Op::Alias:
      case Op::ToDevice:
      case Op::Redirect:
      case Op::Cast:
      case Op::Reshape:
        out.values = x(node, 0).values;
        if (node.op == Op::Cast && is_integral(out.dtype, false)) {
          for (double& v : out.values) v = std::trunc(v);
        }
        return;
      case Op::Expand:
        return each(out, [&](const Index& at) { return broadcast(x(node, 0), at); });
      case Op::Permute:
        return each(out, [&](const Index& at) {
          Index from(rank);
          for (size_t d = 0; d < rank; ++d) from[axes[d]] = at[d];
          return x(node, 0).values[ravel(from, x(node, 0).dims)];
        });
      case Op::Slice:
        return each(out, [&](const Index& at) {
          Index from(rank);
          for (size_t d = 0; d < rank; ++d) from[d] = sizes[d] + at[d] * sizes[rank + d];
          return x(node, 0).values[ravel(from, x(node, 0).dims)];
        });
      case Op::Pad: {
        const Array& from = x(node, 0);
        std::fill(out.values.begin(), out.values.end(), x(node, 1).values[0]);
        for (int64_t i = 0; i < from.numel(); ++i) {
          Index at = unravel(i, from.dims);
          for (size_t d = 0; d < rank; ++d) at[d] = sizes[d] + at[d] * (1 + sizes[2 * rank + d]);
          out.values[ravel(at, out.dims)] = from.values[i];
        }
        return;
      }
      case Op::Concatenate:
        return each(out, [&](Index at) {
          int k = 0;
          while (at[axis] >= x(node, k).dims[axis]) at[axis] -= x(node, k++).dims[axis];
          return x(node, k).values[ravel(at, x(node, k).dims)];
        });
      case Op::UpdateSlice: {
        out.values = x(node, 0).values;
        const Array& from = x(node, 1);
        for (int64_t i = 0; i < from.numel(); ++i) {
          Index at = unravel(i, from.dims);
          for (size_t d = 0; d < rank; ++d) at[d] = sizes[d] + at[d] * sizes[rank + d];
          out.values[ravel(at, out.dims)] = from.values[i];
        }
        return;
      }
      case Op::Gather:
        return each(out, [&](const Index& at) {
          return x(node, 0).values[ravel(gathered(node, at), x(node, 0).dims)];
        });
      case Op::TakeAlong:
        return each(out, [&](Index at) {
          at[axis] = static_cast<int64_t>(x(node, 1).values[ravel(at, x(node, 1).dims)]);
          return x(node, 0).values[ravel(at, x(node, 0).dims)];
        });
      case Op::ScatterAdd:
      case Op::ScatterSet:
      case Op::PutAlongAdd:
      case Op::PutAlongSet: {
        out.values = x(node, 0).values;
        const Array& updates = x(node, 2);
        const bool is_put = node.op == Op::PutAlongAdd || node.op == Op::PutAlongSet;
        for (int64_t i = 0; i < updates.numel(); ++i) {
          Index at = unravel(i, updates.dims);
          if (is_put) {
            at[axis] = static_cast<int64_t>(x(node, 1).values[ravel(at, x(node, 1).dims)]);
          } else {
            at = gathered(node, at);
          }
          double& target = out.values[ravel(at, out.dims)];
          const bool adds = node.op == Op::ScatterAdd || node.op == Op::PutAlongAdd;
          target = adds ? target + updates.values[i] : updates.values[i];
        }
        return;
      }
      case Op::DotGeneral:
        return dot(node, out);
      case Op::Convolution:
        return convolution(node, out);
      case Op::Attention:
      case Op::AttentionNormalizer:
      case Op::AttentionGradient:
        return attention(node, out);
      case Op::Argsort: {
        const Array& from = x(node, 0);
        const int64_t n = from.dims[axis];
        for (int64_t i = 0; i < from.numel(); ++i) {
          Index at = unravel(i, from.dims);
          if (at[axis] != 0) continue;
          std::vector<int64_t> order(n);
          std::iota(order.begin(), order.end(), 0);
          const auto value = [&](int64_t j) {
            at[axis] = j;
            return from.values[ravel(at, from.dims)];
          };
          std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            return axes[1] ? value(a) > value(b) : value(a) < value(b);
          });
          for (int64_t j = 0; j < n; ++j) {
            at[axis] = j;
            out.values[ravel(at, out.dims)] = static_cast<double>(order[j]);
          }
        }
        return;
      }
      default:
        break;
    }
    switch (info(node.op).group) {
      case PrimitiveClass::Reduction: {
        const Fold fold = fold_of(node.op);
        std::fill(out.values.begin(), out.values.end(), fold.identity);
        const Array& from = x(node, 0);
        for (int64_t i = 0; i < from.numel(); ++i) {
          const Index at = unravel(i, from.dims);
          Index kept;
          for (size_t d = 0; d < at.size(); ++d) {
            if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) {
              kept.push_back(at[d]);
            }
          }
          double& sum = out.values[ravel(kept, out.dims)];
          sum = fold.combine(sum, from.values[i]);
        }
        return;
      }
      case PrimitiveClass::Argument: {
        const Array& from = x(node, 0);
        std::vector<double> best(out.values.size());
        for (int64_t i = 0; i < from.numel(); ++i) {
          Index at = unravel(i, from.dims);
          const int64_t place = at[axis];
          at.erase(at.begin() + axis);
          const int64_t o = ravel(at, out.dims);
          const double v = from.values[i];
          const bool better = node.op == Op::Argmax ? v > best[o] : v < best[o];
          if (place == 0 || (best[o] == best[o] && (better || v != v))) {
            best[o] = v;
            out.values[o] = static_cast<double>(place);
          }
        }
        return;
      }
      case PrimitiveClass::Scan: {
        const Fold fold = fold_of(node.op);
        for (int64_t i = 0; i < out.numel(); ++i) {
          Index at = unravel(i, out.dims);
          double before = fold.identity;
          if (at[axis] > 0) {
            --at[axis];
            before = out.values[ravel(at, out.dims)];
          }
          out.values[i] = fold.combine(before, x(node, 0).values[i]);
        }
        return;
      }
      case PrimitiveClass::Select:
        return each(out, [&](const Index& at) {
          return broadcast(x(node, broadcast(x(node, 0), at) != 0 ? 1 : 2), at);
        });
      default:
        break;
    }
    const DType dtype = x(node, 0).dtype;
    each(out, [&](const Index& at) {
      const double a = broadcast(x(node, 0), at);
      return node.operand_count == 1 ? unary(node.op, a, dtype)
                                     : binary(node.op, a, broadcast(x(node, 1), at), dtype);
    });
  }

  // Where gather reads, and scatter writes, for an index of its result or updates.
  Index gathered(const ProgramNode& node, const Index& at) const {
    const int64_t axis = p_.axes_of(node)[0];
    const Array& index = x(node, 1);
    const size_t n = index.dims.size();
    Index from(at.begin(), at.begin() + axis);
    const Index middle(at.begin() + axis, at.begin() + axis + n);
    from.push_back(static_cast<int64_t>(index.values[ravel(middle, index.dims)]));
    from.insert(from.end(), at.begin() + axis + n, at.end());
    return from;
  }

  void convolution(const ProgramNode& node, Array& out) {
    const int64_t role = p_.axes_of(node)[0];
    const Array &a = x(node, 0), &b = x(node, 1);
    const Array& input = role == 0 ? out : a;
    const Array& weight = role == 1 ? out : role == 0 ? a : b;
    const Array& output = role == 2 ? out : b;
    for_each_convolution_term(input.dims, weight.dims, output.dims, p_.sizes_of(node),
                              [&](int64_t at_x, int64_t at_w, int64_t at_y) {
                                const int64_t places[] = {at_x, at_w, at_y};
                                out.values[places[role]] += a.values[places[role == 0 ? 1 : 0]] *
                                                            b.values[places[role == 2 ? 1 : 2]];
                              });
    for (double& value : out.values) value = round_to(out.dtype, value);
  }

  void attention(const ProgramNode& node, Array& out) {
    std::vector<AttentionOperand> operands;
    for (size_t k = 0; k < p_.operands_of(node).size(); ++k) {
      const Array& from = x(node, static_cast<int>(k));
      operands.push_back({from.dims, from.values, from.dtype == DType::Bool});
    }
    out.values = attention_values(node.op, p_.axes_of(node), operands);
    for (double& value : out.values) value = round_to(out.dtype, value);
  }

  void dot(const ProgramNode& node, Array& out) {
    const auto axes = p_.axes_of(node);
    const Array &a = x(node, 0), &b = x(node, 1);
    const size_t nb = axes[0], nc = axes[1 + 2 * nb];
    const auto batch_a = axes.subspan(1, nb), batch_b = axes.subspan(1 + nb, nb);
    const auto contract_a = axes.subspan(2 + 2 * nb, nc);
    const auto contract_b = axes.subspan(2 + 2 * nb + nc, nc);
    std::vector<int64_t> contracted;
    for (int64_t d : contract_a) contracted.push_back(a.dims[d]);
    int64_t count = 1;
    for (int64_t d : contracted) count *= d;
    const auto has = [](std::span<const int64_t> list, size_t d) {
      return std::find(list.begin(), list.end(), static_cast<int64_t>(d)) != list.end();
    };
    each(out, [&](const Index& at) {
      Index i(a.dims.size()), j(b.dims.size());
      for (size_t k = 0; k < nb; ++k) i[batch_a[k]] = j[batch_b[k]] = at[k];
      size_t next = nb;
      for (size_t d = 0; d < i.size(); ++d) {
        if (!has(batch_a, d) && !has(contract_a, d)) i[d] = at[next++];
      }
      for (size_t d = 0; d < j.size(); ++d) {
        if (!has(batch_b, d) && !has(contract_b, d)) j[d] = at[next++];
      }
      double sum = 0;
      for (int64_t c = 0; c < count; ++c) {
        const Index k = unravel(c, contracted);
        for (size_t m = 0; m < nc; ++m) i[contract_a[m]] = j[contract_b[m]] = k[m];
        sum += a.values[ravel(i, a.dims)] * b.values[ravel(j, b.dims)];
      }
      return sum;
    });
  }

  const Program& p_;
  std::vector<Array> values_;
};

}  // namespace

std::vector<Array> evaluate(const Program& program) { return Evaluator(program).run(); }

}  // namespace tenon::test
