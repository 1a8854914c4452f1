// Index arithmetic with unknown extents.
//
// Poly: a polynomial with integer coefficients over parameters (extents of atoms, sizes of program
// nodes, strides of inputs), which have their values when a plan is bound. Expr: an affine form
// over loop variables, with Poly coefficients; what is not affine (a part of a split index, an
// index loaded from memory) is an opaque term of it. All are interned in one Algebra a plan, so
// that equality is equality of ids, and equal ids mean equal values.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/small_vector.h"
#include "jit/simplify/graph.h"

namespace tenon::jit {

using PolyId = uint32_t;       // 0 is 0, 1 is 1
using ExprId = uint32_t;       // 0 is 0
using TermId = uint32_t;       // below kMaxLoops: that loop's variable
using IndexId = uint32_t;      // a list of expressions, one an atom of a node
using ConditionId = uint32_t;  // a conjunction; 0 is true

inline constexpr uint32_t kMaxLoops = 48;

struct Param {
  enum Kind : uint8_t { Extent, Attribute, Stride } kind;
  uint32_t node;  // Extent: the symbol. Attribute: the program node. Stride: the input
  uint32_t at;    // Attribute: position in its sizes. Stride: dimension
  auto operator<=>(const Param&) const = default;
};

struct Term {
  enum Kind : uint8_t {
    Loop,      // a loop variable
    Part,      // digit `part` of the mixed radix `radix` of `whole`: (whole / inner) % extent
    Quotient,  // whole / the polynomial `radix`
    Loaded,    // the checked value of `gather`'s index operand at `index` under `condition`
  } kind;
  ExprId whole = 0;
  uint32_t radix = 0;  // Part: id in Algebra::radices; Loaded: the gather node
  uint32_t part = 0;   // Loaded: condition
  IndexId index = 0;
  auto operator<=>(const Term&) const = default;
};

struct Expr {
  PolyId constant = 0;
  SmallVector<uint64_t, 3> terms;  // TermId << 32 | PolyId, ascending
  uint64_t loops = 0;              // bit of each loop it depends on
};

struct Condition {
  enum Kind : uint8_t { NotNegative, Below, Divisible } kind;  // a >= 0, a < b, a % b == 0
  ConditionId rest;
  ExprId a;
  PolyId b;
  auto operator<=>(const Condition&) const = default;
};

class Algebra {
 public:
  Algebra();

  PolyId constant(int64_t value);
  PolyId param(Param p);
  PolyId extent(Symbol atom) { return param({Param::Extent, atom, 0}); }
  PolyId add(PolyId a, PolyId b);
  PolyId sub(PolyId a, PolyId b) { return add(a, mul(b, constant(-1))); }
  PolyId mul(PolyId a, PolyId b);
  PolyId product(std::span<const Symbol> atoms);
  // Its value if it is a plain number.
  bool is_constant(PolyId p, int64_t* value) const;
  const std::vector<Param>& params() const { return params_; }
  // With the values of params(), in order.
  int64_t evaluate(PolyId p, std::span<const int64_t> values) const;
  template <class Visit>
  void for_each_param(PolyId p, Visit visit) const {
    for (const auto& [monomial, coefficient] : polys_[p].terms) {
      for (uint32_t param : monomial) visit(params_[param]);
    }
  }
  size_t poly_count() const { return polys_.size(); }
  std::string print(PolyId p) const;

  ExprId zero() const { return 0; }
  ExprId loop(uint32_t l) { return term(l, 1); }
  ExprId term(TermId t, PolyId coefficient);
  ExprId from(PolyId p);
  ExprId plus(ExprId a, ExprId b);
  ExprId scale(ExprId a, PolyId factor);
  const Expr& expr(ExprId e) const { return exprs_[e]; }
  uint64_t loops(ExprId e) const { return exprs_[e].loops; }
  PolyId coefficient(ExprId e, TermId t) const;
  // The loop if it is just one loop's variable, else kNone.
  uint32_t as_loop(ExprId e) const;
  const Term& term_of(TermId t) const { return terms_[t]; }

  // Digits of `whole` in the mixed radix of `atoms`, and back; join(split(e)) is e.
  void split(ExprId whole, std::span<const Symbol> atoms, SmallVector<ExprId, 8>& parts);
  ExprId join(std::span<const ExprId> parts, std::span<const Symbol> atoms);
  const Symbols& radix(uint32_t id) const { return radices_[id]; }
  ExprId quotient(ExprId whole, PolyId divisor);
  ExprId loaded(NodeIndex gather, IndexId index, ConditionId condition, uint64_t loops);

  IndexId index(std::span<const ExprId> parts);
  const SmallVector<ExprId, 8>& index(IndexId i) const { return indices_[i]; }
  uint64_t index_loops(IndexId i) const;

  ConditionId condition(ConditionId rest, Condition::Kind kind, ExprId a, PolyId b = 0);
  const Condition& condition(ConditionId c) const { return conditions_[c]; }
  uint64_t condition_loops(ConditionId c) const;

 private:
  using Monomial = SmallVector<uint32_t, 4>;  // ascending positions in params_
  struct Poly {
    std::vector<std::pair<Monomial, int64_t>> terms;  // ascending monomials, no zero coefficient
  };
  PolyId intern(Poly poly);
  ExprId intern(Expr expr);
  TermId intern(Term term, uint64_t loops);

  std::vector<Poly> polys_;
  std::vector<Param> params_;
  std::vector<Expr> exprs_;
  std::vector<Term> terms_;
  std::vector<uint64_t> term_loops_;
  std::vector<Symbols> radices_;
  std::vector<SmallVector<ExprId, 8>> indices_;
  std::vector<Condition> conditions_;
  std::map<Param, uint32_t> param_ids_;
  std::unordered_map<std::string, uint32_t> known_;  // bytes of a tagged value -> id
  std::unordered_map<uint64_t, PolyId> sums_, products_;
  std::map<Term, TermId> term_ids_;
  std::map<Condition, ConditionId> condition_ids_;
  std::string scratch_;
};

}  // namespace tenon::jit
