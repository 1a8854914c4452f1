// Program to Graph: symbols by the type rules of the primitives.
#include <map>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "jit/simplify/graph.h"
#include "trace/region.h"

namespace tenon::jit {
namespace {

// A reshape's claim that two products of dimensions are equal.
struct Product {
  Symbols left, right;
};

class GraphMaker {
 public:
  explicit GraphMaker(const Program& program) : program_(program) {}

  Graph make() {
    symbol(0, 0);  // kOne
    graph_.nodes.reserve(program_.nodes.size());
    placed_.reserve(program_.nodes.size());
    for (uint32_t i = 0; i < program_.nodes.size(); ++i) add(i);
    for (uint32_t output : program_.outputs) {
      graph_.outputs.push_back(placed_[output]);
    }
    for (size_t k = 0; k < graph_.outputs.size(); ++k) {
      // An input, or what an alias names, may lie in another order than the output is shown in.
      if (graph_.nodes[graph_.outputs[k]].empty) continue;
      const Layout wanted = layout_of(type_of(program_.nodes[program_.outputs[k]].type));
      graph_.outputs[k] = laid_out(graph_.outputs[k], wanted);
    }
    for (GraphNode& node : graph_.nodes) {
      for (Symbol& s : node.dims) s = find(s);
    }
    for (const Product& product : products_) relate(product);
    for (GraphNode& node : graph_.nodes) place_atoms(node);
    return std::move(graph_);
  }

 private:
  Symbol symbol(uint32_t source, int dim) {
    parent_.push_back(static_cast<Symbol>(parent_.size()));
    graph_.symbols.push_back({source, static_cast<uint8_t>(dim), {}});
    return parent_.back();
  }
  Symbol find(Symbol s) {
    while (parent_[s] != s) s = parent_[s] = parent_[parent_[s]];
    return s;
  }
  Symbol unify(Symbol a, Symbol b) {
    a = find(a), b = find(b);
    if (a > b) std::swap(a, b);  // the first that was made stands for all
    parent_[b] = a;
    return a;
  }
  // Dimension d of the node being added; kOne where the program says so.
  Symbol fresh(int d) { return type_->dims_[d] == 1 ? kOne : symbol(source_, d); }

  const Symbols& dims(int k) const { return graph_.nodes[node_.operands[k]].dims; }

  // Result dimensions of operands aligned at the right; `stretch`: the result may have extents of
  // its own where an operand has 1.
  void broadcast() {
    const int rank = type_->rank;
    for (int d = 0; d < rank; ++d) {
      Symbol s = kOne;
      if (type_->dims_[d] != 1) {
        for (NodeIndex operand : node_.operands) {
          const Symbols& from = graph_.nodes[operand].dims;
          const int at = d - (rank - static_cast<int>(from.size()));
          if (at < 0 || from[at] == kOne) continue;
          s = s == kOne ? from[at] : unify(s, from[at]);
        }
        if (s == kOne) s = fresh(d);
      }
      node_.dims.push_back(s);
    }
  }

  void reshape() {
    Symbols in, out;
    for (Symbol s : dims(0)) {
      if (s != kOne) in.push_back(s);
    }
    for (int d = 0; d < type_->rank; ++d) node_.dims.push_back(fresh(d));
    if (node_.empty) return;
    SmallVector<uint8_t, 8> places;
    for (int d = 0; d < type_->rank; ++d) {
      if (node_.dims[d] != kOne) places.push_back(static_cast<uint8_t>(d));
    }
    size_t i = 0, j = 0;
    for (size_t g = 0; g + 1 < node_.axes.size(); g += 2) {
      const size_t n_in = node_.axes[g], n_out = node_.axes[g + 1];
      if (n_in == 1 && n_out == 1) {
        node_.dims[places[j]] = unify(in[i], node_.dims[places[j]]);
      } else {
        Product product;
        for (size_t k = 0; k < n_in; ++k) product.left.push_back(in[i + k]);
        for (size_t k = 0; k < n_out; ++k) product.right.push_back(node_.dims[places[j + k]]);
        products_.push_back(product);
      }
      i += n_in, j += n_out;
    }
  }

  // Dimensions in `mask` are operand k's, the others new.
  void keep(int k, uint64_t mask) {
    for (int d = 0; d < type_->rank; ++d) {
      node_.dims.push_back((mask >> d) & 1 ? dims(k)[d] : fresh(d));
    }
  }

  // Solved for x, w or y (0, 1, 2): x and y share their batch, w and y their channels.
  void convolution(int64_t result) {
    const Symbols &a = dims(0), &b = dims(1);
    if (result == 1) unify_dims(a[0], b[0]);
    if (result == 0) unify_dims(a[0], b[1]);
    node_.dims.push_back(result == 2 ? a[0] : result == 1 ? b[1] : b[0]);
    if (result == 2) {
      node_.dims.push_back(b[0]);
    } else {
      node_.dims.push_back(fresh(1));
    }
    for (int d = 2; d < type_->rank; ++d) node_.dims.push_back(fresh(d));
  }

  // Batch, rows and columns of each operand stand at the end of its dimensions.
  void attention(int64_t which) {
    const auto last = [&](int k, int from_end) { return dims(k)[dims(k).size() - from_end]; };
    const size_t batch = dims(0).size() - 2, mask = node_.op == Op::AttentionGradient ? 7 : 4;
    for (int k = 1; k < static_cast<int>(node_.operands.size()); ++k) {
      if (k == 3) continue;  // the scale
      for (size_t d = 0; d < batch; ++d) unify_dims(dims(0)[d], dims(k)[d]);
    }
    unify_dims(last(0, 1), last(1, 1));
    unify_dims(last(1, 2), last(2, 2));
    if (mask == 7) {
      for (int k : {4, 6}) unify_dims(last(0, 2), last(k, 2)), unify_dims(last(2, 1), last(k, 1));
      unify_dims(last(0, 2), last(5, 1));
    }
    if (node_.operands.size() > mask) {
      const int k = static_cast<int>(mask);
      unify_dims(last(0, 2), last(k, 2)), unify_dims(last(1, 2), last(k, 1));
    }
    if (node_.op == Op::AttentionGradient) {
      node_.dims = dims(static_cast<int>(which));
      return;
    }
    node_.dims = dims(0);
    node_.dims.pop_back();
    if (node_.op == Op::Attention) node_.dims.push_back(last(2, 1));
  }

  // Batch extents are the operands'; those of matrices are known where a matrix is the result.
  void routine(std::span<const int64_t> axes) {
    if (node_.op == Op::Fft) {
      node_.dims = dims(0);
      return;
    }
    const size_t own = node_.op == Op::LuPermutation ? 1 : axes[0] != 0 ? 3 : 2;
    const size_t batch = dims(0).size() - own;
    for (size_t k = 1; k < node_.operands.size(); ++k) {
      for (size_t d = 0; d <= batch; ++d) unify_dims(dims(0)[d], dims(static_cast<int>(k))[d]);
    }
    if (node_.op == Op::TriangularSolve) {
      node_.dims = dims(1);
      return;
    }
    for (int d = 0; d < type_->rank; ++d) {
      node_.dims.push_back(d < static_cast<int>(batch) ? dims(0)[d] : fresh(d));
    }
  }

  void unify_dims(Symbol a, Symbol b) {
    if (a != kOne && b != kOne) unify(a, b);
  }

  void infer(const ProgramNode& source) {
    const auto axes = program_.axes_of(source);
    switch (node_.op) {
      case Op::Expand:
        broadcast();
        return;
      case Op::Reshape:
        reshape();
        return;
      case Op::Permute:
        for (int64_t axis : axes) node_.dims.push_back(dims(0)[axis]);
        return;
      case Op::Slice:
      case Op::Pad:
        keep(0, static_cast<uint64_t>(node_.axes[0]));
        return;
      case Op::UpdateSlice:
        node_.dims = dims(0);
        for (size_t d = 0; d < node_.dims.size(); ++d) {
          if ((node_.axes[0] >> d) & 1) unify_dims(dims(0)[d], dims(1)[d]);
        }
        return;
      case Op::Concatenate:
        for (int d = 0; d < type_->rank; ++d) {
          if (d == axes[0]) {
            node_.dims.push_back(fresh(d));
            continue;
          }
          node_.dims.push_back(dims(0)[d]);
          for (size_t k = 1; k < node_.operands.size(); ++k) {
            unify_dims(node_.dims[d], dims(static_cast<int>(k))[d]);
          }
        }
        return;
      case Op::Gather: {
        const Symbols& x = dims(0);
        for (int d = 0; d < axes[0]; ++d) node_.dims.push_back(x[d]);
        for (Symbol s : dims(1)) node_.dims.push_back(s);
        for (size_t d = axes[0] + 1; d < x.size(); ++d) node_.dims.push_back(x[d]);
        return;
      }
      case Op::TakeAlong:
        node_.dims = dims(1);
        return;
      case Op::ScatterAdd:
      case Op::ScatterSet: {
        node_.dims = dims(0);
        const Symbols &index = dims(1), &updates = dims(2);
        for (size_t d = 0; d < updates.size(); ++d) {
          const size_t axis = axes[0], past = axis + index.size();
          if (d < axis) {
            unify_dims(node_.dims[d], updates[d]);
          } else if (d < past) {
            unify_dims(index[d - axis], updates[d]);
          } else {
            unify_dims(node_.dims[d - index.size() + 1], updates[d]);
          }
        }
        return;
      }
      case Op::PutAlongAdd:
      case Op::PutAlongSet:
        node_.dims = dims(0);
        for (size_t d = 0; d < dims(1).size(); ++d) unify_dims(dims(1)[d], dims(2)[d]);
        return;
      case Op::DotGeneral: {
        const size_t nb = axes[0], nc = axes[1 + 2 * nb];
        const auto batch_a = axes.subspan(1, nb), batch_b = axes.subspan(1 + nb, nb);
        const auto contract_a = axes.subspan(2 + 2 * nb, nc);
        const auto contract_b = axes.subspan(2 + 2 * nb + nc, nc);
        const auto has = [](std::span<const int64_t> list, size_t axis) {
          return std::find(list.begin(), list.end(), static_cast<int64_t>(axis)) != list.end();
        };
        const Symbols &a = dims(0), &b = dims(1);
        for (size_t i = 0; i < nb; ++i) {
          unify_dims(a[batch_a[i]], b[batch_b[i]]);
          node_.dims.push_back(a[batch_a[i]]);
        }
        for (size_t i = 0; i < nc; ++i) unify_dims(a[contract_a[i]], b[contract_b[i]]);
        for (size_t d = 0; d < a.size(); ++d) {
          if (!has(batch_a, d) && !has(contract_a, d)) node_.dims.push_back(a[d]);
        }
        for (size_t d = 0; d < b.size(); ++d) {
          if (!has(batch_b, d) && !has(contract_b, d)) node_.dims.push_back(b[d]);
        }
        return;
      }
      case Op::Convolution:
        convolution(axes[0]);
        return;
      case Op::Attention:
      case Op::AttentionNormalizer:
      case Op::AttentionGradient:
        attention(axes.size() > 1 ? axes[1] : 0);
        return;
      default:
        break;
    }
    switch (info(node_.op).group) {
      case PrimitiveClass::Reduction:
      case PrimitiveClass::Argument:
        for (size_t d = 0; d < dims(0).size(); ++d) {
          if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) {
            node_.dims.push_back(dims(0)[d]);
          }
        }
        return;
      case PrimitiveClass::Scan:
      case PrimitiveClass::Sort:
        node_.dims = dims(0);
        return;
      case PrimitiveClass::Routine:
        routine(axes);
        return;
      case PrimitiveClass::Region:  // what a body gives is known to the body alone
      case PrimitiveClass::Source:
        for (int d = 0; d < type_->rank; ++d) node_.dims.push_back(fresh(d));
        return;
      default:
        check(is_elementwise(node_.op), ErrorKind::Internal, "{}: no rule for its dimensions",
              name_of(node_.op));
        broadcast();
    }
  }

  void add(uint32_t index) {
    const ProgramNode& source = program_.nodes[index];
    if (source.op == Op::Alias || source.op == Op::Redirect || source.op == Op::ToDevice) {
      placed_.push_back(placed_[program_.operands[source.operands]]);
      return;
    }
    if (source.op == Op::RegionOutput) {  // stored once, however many ask
      const NodeIndex region = placed_[program_.operands[source.operands]];
      const auto key = std::pair(region, program_.axes_of(source)[0]);
      const auto [known, is_new] =
          region_outputs_.try_emplace(key, static_cast<NodeIndex>(graph_.nodes.size()));
      if (!is_new) {
        placed_.push_back(known->second);
        return;
      }
    }
    type_ = &type_of(source.type);
    source_ = index;
    node_ = GraphNode{};
    node_.op = source.op;
    node_.dtype = type_->dtype;
    node_.source = index;
    node_.empty = type_->numel == 0;
    for (uint32_t operand : program_.operands_of(source))
      node_.operands.push_back(placed_[operand]);
    SmallVector<int64_t, 16> words;
    structure_of(program_, source, words);
    const auto axes = program_.axes_of(source);
    node_.axes.append(axes.begin(), axes.end());
    node_.axes.append(words.begin(), words.end());
    if (node_.op == Op::DotGeneral) add_orientations(source);
    if (node_.op == Op::Input) {
      node_.input = inputs_++;
      node_.layout = layout_of(type_of(program_.inputs[node_.input].type));
    } else {
      node_.layout = dense_layout_of(*type_);
    }
    infer(source);
    if (reads_dense(node_.op) || is_region(node_.op)) {
      for (NodeIndex& operand : node_.operands) operand = laid_out(operand, Layout{});
    }
    if (node_.empty && node_.op != Op::Input) {
      // Nothing is computed; only its extents matter.
      node_.op = Op::Constant;
      node_.operands.clear();
      node_.axes = {1, 0};
    }
    placed_.push_back(static_cast<NodeIndex>(graph_.nodes.size()));
    graph_.nodes.push_back(std::move(node_));
  }

  // How each operand of a product was recorded to lie, after its axes: a library's bits may depend
  // on it, so it can't be what the operand happens to be read from here.
  void add_orientations(const ProgramNode& source) {
    const auto axes = program_.axes_of(source);
    const size_t nb = axes[0], nc = axes[1 + 2 * nb];
    for (size_t k = 0; k < 2; ++k) {
      const Type& type = type_of(program_.nodes[program_.operands_of(source)[k]].type);
      const auto batch = axes.subspan(1 + k * nb, nb),
                 contract = axes.subspan(2 + 2 * nb + k * nc, nc);
      const Layout layout = layout_of(type);
      Orientation orientation = Orientation::Any;
      for (int i = type.rank; layout.kind != Layout::Strided && i-- > 0;) {  // innermost first
        const int d = layout.kind == Layout::Permuted ? layout.order[i] : i;
        if (type.dims()[d] == 1) continue;
        if (std::ranges::count(contract, d) != 0) {
          orientation = Orientation::ContractInnermost;
        } else if (std::ranges::count(batch, d) == 0) {
          orientation = Orientation::FreeInnermost;
        }
        break;
      }
      node_.axes.push_back(static_cast<int64_t>(orientation));
    }
  }

  // n in that layout: itself, or a copy by a reshape that changes nothing.
  NodeIndex laid_out(NodeIndex n, const Layout& wanted) {
    if (graph_.nodes[n].layout == wanted) return n;
    GraphNode copy = graph_.nodes[n];
    copy.op = Op::Reshape;
    copy.layout = wanted;
    copy.operands = {n};
    copy.axes.clear();
    for (Symbol s : copy.dims) {
      if (s == kOne) continue;
      copy.axes.push_back(1);
      copy.axes.push_back(1);
    }
    graph_.nodes.push_back(std::move(copy));
    return static_cast<NodeIndex>(graph_.nodes.size() - 1);
  }

  void expand_factors(Symbol s, Symbols& out) {
    s = find(s);
    if (graph_.symbols[s].factors.empty()) {
      out.push_back(s);
      return;
    }
    for (Symbol factor : Symbols(graph_.symbols[s].factors)) expand_factors(factor, out);
  }

  // Makes one symbol a product of others where a reshape says so and nothing contradicts.
  void relate(const Product& product) {
    Symbols left, right;
    for (Symbol s : product.left) expand_factors(s, left);
    for (Symbol s : product.right) expand_factors(s, right);
    while (!left.empty() && !right.empty() && left.back() == right.back()) {
      left.pop_back();
      right.pop_back();
    }
    while (!left.empty() && !right.empty() && left[0] == right[0]) {
      left.erase(left.begin());
      right.erase(right.begin());
    }
    if (left.size() > right.size()) std::swap(left, right);
    if (left.size() != 1 || right.size() < 2) return;
    if (std::find(right.begin(), right.end(), left[0]) != right.end()) return;
    graph_.symbols[left[0]].factors = right;
  }

  void place_atoms(GraphNode& node) {
    node.starts.push_back(0);
    for (Symbol s : node.dims) {
      if (s != kOne) expand_factors(s, node.atoms);
      node.starts.push_back(static_cast<uint8_t>(node.atoms.size()));
    }
  }

  const Program& program_;
  Graph graph_;
  std::vector<Symbol> parent_;
  std::vector<NodeIndex> placed_;  // of each program node
  std::map<std::pair<NodeIndex, int64_t>, NodeIndex> region_outputs_;
  std::vector<Product> products_;
  uint32_t inputs_ = 0;
  GraphNode node_;
  const Type* type_ = nullptr;
  uint32_t source_ = 0;
};

}  // namespace

Graph make_graph(const Program& program) { return GraphMaker(program).make(); }

std::string print(const Graph& graph) {
  std::string text;
  for (NodeIndex n = 0; n < graph.nodes.size(); ++n) {
    const GraphNode& node = graph.nodes[n];
    text += fmt::format("%{} = {}(", n, name_of(node.op));
    for (size_t k = 0; k < node.operands.size(); ++k) {
      text += fmt::format("{}%{}", k ? ", " : "", node.operands[k]);
    }
    text += fmt::format("): {}[", name_of(node.dtype));
    for (int d = 0; d < node.rank(); ++d) {
      if (d) text += ", ";
      if (node.dims[d] == kOne) text += "1";
      for (int i = node.starts[d]; i < node.starts[d + 1]; ++i) {
        text += fmt::format("{}s{}", i > node.starts[d] ? "*" : "", node.atoms[i]);
      }
    }
    text += "]";
    if (!node.axes.empty()) {
      text += " {";
      for (size_t k = 0; k < node.axes.size(); ++k) {
        text += fmt::format("{}{}", k ? " " : "", node.axes[k]);
      }
      text += "}";
    }
    text += has_channels_last(node) ? " channels last\n" : "\n";
  }
  text += "return";
  for (NodeIndex output : graph.outputs) text += fmt::format(" %{}", output);
  return text + "\n";
}

}  // namespace tenon::jit
