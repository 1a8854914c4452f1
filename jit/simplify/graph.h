// A program without its extents: what plans are made from.
//
// In: a Program. Out: a Graph of its nodes, in topological order, in which every dimension is a
// Symbol. What must hold: a graph depends on the program's structure only (what enters the plan's
// key, see plan/key.h), never on an extent, an offset or a scalar. Two dimensions share a symbol
// only because a type rule made them equal; a dimension known to be 1 is kOne. Each node names the
// program node (`source`) whose type and sizes give it its numbers when a plan is bound.
//
// A reshape may say that a symbol is a product (C = H * D). Symbols that are no products are atoms;
// a node's atoms, in order, are the mixed radix of its row-major elements, and a reshape between
// equal atoms changes nothing but how they are bracketed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/small_vector.h"
#include "trace/program.h"

namespace tenon::jit {

using NodeIndex = uint32_t;
using Symbol = uint32_t;
inline constexpr Symbol kOne = 0;
inline constexpr uint32_t kNone = ~uint32_t{0};

using Symbols = SmallVector<Symbol, 6>;

// How the elements of a buffer lie in memory, as far as structure says.
struct Layout {
  enum Kind : uint8_t { Contiguous, Permuted, Strided } kind = Contiguous;
  SmallVector<uint8_t, 6> order;    // Permuted: dims from the outermost in memory to the innermost
  SmallVector<uint8_t, 6> classes;  // Strided: 0, 1, or 2 (any other stride), one a dimension
  friend bool operator==(const Layout&, const Layout&) = default;
};
Layout layout_of(const Type& type);
// That of a new buffer for the type: contiguous where its strides are not dense.
Layout dense_layout_of(const Type& type);

// Which of a product's dimensions lies innermost in an operand, as the program recorded it. A
// DotGeneral's axes end with those of its two operands.
enum class Orientation : uint8_t { Any, ContractInnermost, FreeInnermost };

struct GraphNode {
  Op op = Op::Constant;
  DType dtype = DType::Float32;
  bool empty = false;   // no elements: its value is never read
  uint32_t source = 0;  // the program node that binds it
  uint32_t input = 0;   // Op::Input: position in Program::inputs
  SmallVector<NodeIndex, 4> operands;
  SmallVector<int64_t, 6> axes;    // as the program's, then what structure_of() adds
  Layout layout;                   // of its buffer, should it have one
  Symbols dims;                    // one a dimension
  Symbols atoms;                   // the atoms of all dims, in order
  SmallVector<uint8_t, 6> starts;  // starts[d]: first atom of dimension d; one more at the end
  // Joins no group that a node before this one began: what is computed again late stays there.
  NodeIndex not_before = 0;

  int rank() const { return static_cast<int>(dims.size()); }
  int atoms_in(int dim) const { return starts[dim + 1] - starts[dim]; }
};

struct SymbolInfo {
  uint32_t source;  // program node and dimension that have the extent
  uint8_t dim;
  Symbols factors;  // a product of these, if not empty
};

struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<NodeIndex> outputs;   // one a program output
  std::vector<SymbolInfo> symbols;  // [0] is kOne

  const GraphNode& operator[](NodeIndex n) const { return nodes[n]; }
};

// Library calls that read their operands with any strides, and from dense memory.
inline bool takes_strides(Op op) {
  return op == Op::DotGeneral || info(op).group == PrimitiveClass::Attention;
}
inline bool reads_dense(Op op) {
  return op == Op::Argsort || op == Op::Convolution || info(op).group == PrimitiveClass::Routine;
}

// Whether dimension 1 of the node's buffer lies innermost, inside of those after it.
bool has_channels_last(const GraphNode& node);

// What the concrete extents and sizes of a node add to its structure, as words: how a reshape
// groups its dimensions, which dimensions a slice, pad or update leaves alone or steps through one
// by one. The only place, with the patterns of 0 and 1, where extents influence a plan.
void structure_of(const Program& program, const ProgramNode& node, SmallVector<int64_t, 16>& words);

// Bits of the dimensions that are 1.
uint64_t ones_mask(const Type& type);
bool has_zero(const Type& type);

Graph make_graph(const Program& program);

// Readable text, one node a line: "%3 = add(%1, %2): float32[s4, 1]".
std::string print(const Graph& graph);

}  // namespace tenon::jit
