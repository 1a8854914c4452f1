// Emits the values of a group's nodes into one kernel, on demand.
//
// value(n, access) emits what computes element `access` of node n, unless it is in scope already.
// Its operations go where the builder stands, so hoist() is called before a loop opens: it emits
// what the loop's body will ask for and doesn't depend on the loop.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "jit/loop/builder.h"
#include "jit/loop/math.h"
#include "jit/schedule/access.h"
#include "jit/schedule/cost.h"
#include "jit/schedule/schedule.h"

namespace tenon::jit {

struct AccessKey {
  NodeIndex node;
  IndexId index;
  ConditionId condition;
  bool operator==(const AccessKey&) const = default;
};
struct AccessKeyHash {
  size_t operator()(const AccessKey& key) const {
    return (key.node * 0x9e3779b97f4a7c15ull) ^ (key.index * 0xc2b2ae3d27d4eb4full) ^
           (uint64_t{key.condition} << 40);
  }
};

struct Root {
  NodeIndex node;
  Access access;
};

class Emitter {
 public:
  using Pack = loop::Pack;

  Emitter(const Placement& placement, Algebra& algebra, uint32_t group);

  bool does(Optimization o) const { return !contains(grouping.off, o); }

  // ---- parameters ----
  uint32_t buffer(NodeIndex node, loop::Access access, bool partial = false);
  Pack int_param(PolyId p);

  // ---- indices ----
  void set_loop(uint32_t loop, Pack value) { loop_values_[loop] = value; }
  // Loop `loop` is the vectorised one: `base` are first elements of vectors; mask: lanes in range.
  void set_vector(uint32_t loop, Pack base, Pack mask);
  void clear_vector() { vector_loop_ = kNone, vector_base_ = {}, mask_ = {}; }
  Pack scalar_expr(ExprId e);  // of loops other than the vectorised one
  Pack expr(ExprId e);         // 16 lanes if it depends on the vectorised loop
  bool is_vector(uint64_t loops) const {
    return vector_loop_ != kNone && ((loops >> vector_loop_) & 1);
  }
  Pack mask() const { return mask_; }
  int vector_count() const { return vector_base_ ? vector_base_.count : 1; }

  // ---- values ----
  Pack value(NodeIndex n, Access at);
  void store(NodeIndex n, ExprId address, Pack value, bool partial = false);
  void store_at(uint32_t buffer, ExprId address, Pack value);
  void define(NodeIndex n, Access at, Pack value) { remember({n, at.index, at.condition}, value); }
  void hoist(std::span<const Root> roots, std::span<const ExprId> exprs, uint64_t loops);
  // The checked index that a gather or scatter reads at `at` of its index operand.
  Pack checked(NodeIndex gather, Access at) { return checked_index(gather, at); }
  Pack load_from(uint32_t buffer, ExprId address) { return load_at(buffer, address, 0); }
  bool is_loaded(NodeIndex n) const;  // from a buffer, rather than computed here

  struct Scope {
    explicit Scope(Emitter& emitter) : emitter(emitter), size(emitter.order_.size()) {}
    ~Scope() { emitter.forget(size); }
    Emitter& emitter;
    size_t size;
  };

  // ---- analysis without emission ----
  // Every index expression that computing the roots evaluates.
  void collect(std::span<const Root> roots, std::vector<ExprId>& exprs);
  uint32_t collected_cost() const { return collected_cost_; }
  // Merges neighbouring loops where every expression allows: merged[l] is the first loop of the run
  // that ends with l, for loops [begin, end).
  bool can_merge(uint32_t outer, std::span<const uint32_t> inner, std::span<const ExprId> exprs);

  // Values kept from an earlier pass over the row, in scratch or in an output.
  struct Kept {
    int pass;
    bool in_scratch;
    PolyId offset;  // bytes
  };
  std::unordered_map<AccessKey, Kept, AccessKeyHash> kept;
  int pass = 0;
  bool has_stored = false;  // in this iteration of the loops
  ExprId row_index = 0;     // element of the row, for scratch

  const Graph& graph;
  const Grouping& grouping;
  const Placement& placement;
  Algebra& algebra;
  const Group& group;
  const uint32_t group_index;
  Symbols loops;  // the extent of each loop: the group's, unless a kernel has its own
  KernelCode code;
  loop::Builder b;

 private:
  friend struct Scope;
  Pack compute(NodeIndex n, Access at);
  Pack load(NodeIndex n, Access at);
  Pack load_at(uint32_t buffer, ExprId address, ConditionId condition);
  Pack constant(const GraphNode& node);
  Pack elementwise(NodeIndex n, Access at);
  Pack term(TermId t);
  Pack condition_mask(ConditionId c);
  Pack access_mask(ConditionId c, bool vector);
  Pack checked_index(NodeIndex gather, Access at);
  uint32_t site(NodeIndex n);
  bool term_can_merge(ExprId e, uint32_t outer, uint32_t inner, PolyId extent);
  void remember(const AccessKey& key, Pack value);
  void forget(size_t size);
  void hoist(NodeIndex n, Access at, uint64_t loops);
  void hoist_expr(ExprId e, uint64_t loops);
  void collect(NodeIndex n, Access at, std::vector<ExprId>& exprs);
  void collect_expr(ExprId e, std::vector<ExprId>& exprs);
  int operand_count(NodeIndex n) const { return static_cast<int>(graph[n].operands.size()); }

  std::unordered_map<uint32_t, uint32_t> buffers_;  // node * 2 + partial -> parameter
  std::unordered_map<PolyId, uint32_t> ints_;
  std::unordered_map<uint32_t, uint32_t> scalars_;
  std::unordered_map<NodeIndex, uint32_t> sites_;
  std::array<Pack, kMaxLoops> loop_values_;
  uint32_t vector_loop_ = kNone;
  Pack vector_base_, mask_;
  std::unordered_map<AccessKey, Pack, AccessKeyHash> known_;
  std::vector<AccessKey> order_;  // of known_, for scopes
  std::unordered_set<AccessKey, AccessKeyHash> seen_;
  std::unordered_set<ExprId> seen_exprs_;
  uint32_t collected_cost_ = 0;
};

// The identity of a reduction, its combining operation and the type it accumulates in.
struct Reducer {
  loop::ReduceOp op;
  loop::BinaryOp combine;
  loop::Scalar accumulate;
  loop::Scalar result;
};
Reducer reducer_of(const Graph& graph, NodeIndex n);
loop::Pack identity_of(loop::Builder& b, const Reducer& reducer, int lanes);
loop::Pack to_accumulator(loop::Builder& b, const Reducer& reducer, loop::Pack x);

}  // namespace tenon::jit
