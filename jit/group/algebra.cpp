#include "jit/group/algebra.h"

#include <algorithm>

#include "core/error.h"

namespace tenon::jit {
namespace {

template <class T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

uint64_t pair_key(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }

bool less(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

Algebra::Algebra() {
  intern(Poly{});
  constant(1);
  intern(Expr{});
  for (uint32_t l = 0; l < kMaxLoops; ++l) {
    terms_.push_back({Term::Loop, 0, l, 0, 0});
    term_loops_.push_back(uint64_t{1} << l);
  }
  index(std::span<const ExprId>{});
  conditions_.push_back({Condition::NotNegative, 0, 0, 0});
  radices_.emplace_back();
}

PolyId Algebra::intern(Poly poly) {
  scratch_.assign("p");
  for (const auto& [monomial, coefficient] : poly.terms) {
    append(scratch_, static_cast<uint32_t>(monomial.size()));
    for (uint32_t param : monomial) append(scratch_, param);
    append(scratch_, coefficient);
  }
  const auto [it, is_new] = known_.try_emplace(scratch_, static_cast<uint32_t>(polys_.size()));
  if (is_new) polys_.push_back(std::move(poly));
  return it->second;
}

PolyId Algebra::constant(int64_t value) {
  Poly poly;
  if (value != 0) poly.terms.push_back({{}, value});
  return intern(std::move(poly));
}

PolyId Algebra::param(Param p) {
  const auto [it, is_new] = param_ids_.try_emplace(p, static_cast<uint32_t>(params_.size()));
  if (is_new) params_.push_back(p);
  Poly poly;
  poly.terms.push_back({Monomial{it->second}, 1});
  return intern(std::move(poly));
}

PolyId Algebra::add(PolyId a, PolyId b) {
  if (a == 0) return b;
  if (b == 0) return a;
  if (a > b) std::swap(a, b);
  if (const auto it = sums_.find(pair_key(a, b)); it != sums_.end()) return it->second;
  Poly sum;
  const auto &x = polys_[a].terms, &y = polys_[b].terms;
  size_t i = 0, j = 0;
  while (i < x.size() || j < y.size()) {
    if (j == y.size() || (i < x.size() && less(x[i].first, y[j].first))) {
      sum.terms.push_back(x[i++]);
    } else if (i == x.size() || less(y[j].first, x[i].first)) {
      sum.terms.push_back(y[j++]);
    } else {
      const int64_t coefficient = x[i].second + y[j].second;
      if (coefficient != 0) sum.terms.push_back({x[i].first, coefficient});
      ++i, ++j;
    }
  }
  const PolyId id = intern(std::move(sum));
  sums_.emplace(pair_key(a, b), id);
  return id;
}

PolyId Algebra::mul(PolyId a, PolyId b) {
  if (a == 0 || b == 0) return 0;
  if (a == 1) return b;
  if (b == 1) return a;
  if (a > b) std::swap(a, b);
  if (const auto it = products_.find(pair_key(a, b)); it != products_.end()) return it->second;
  PolyId sum = 0;
  const auto x = polys_[a].terms, y = polys_[b].terms;
  for (const auto& [m, c] : x) {
    for (const auto& [n, d] : y) {
      Poly one;
      Monomial monomial(m);
      monomial.append(n.begin(), n.end());
      std::sort(monomial.begin(), monomial.end());
      one.terms.push_back({monomial, c * d});
      sum = add(sum, intern(std::move(one)));
    }
  }
  products_.emplace(pair_key(a, b), sum);
  return sum;
}

PolyId Algebra::product(std::span<const Symbol> atoms) {
  PolyId result = 1;
  for (Symbol atom : atoms) result = mul(result, extent(atom));
  return result;
}

bool Algebra::is_constant(PolyId p, int64_t* value) const {
  const auto& terms = polys_[p].terms;
  if (terms.empty()) {
    *value = 0;
    return true;
  }
  if (terms.size() > 1 || !terms[0].first.empty()) return false;
  *value = terms[0].second;
  return true;
}

int64_t Algebra::evaluate(PolyId p, std::span<const int64_t> values) const {
  int64_t sum = 0;
  for (const auto& [monomial, coefficient] : polys_[p].terms) {
    int64_t value = coefficient;
    for (uint32_t param : monomial) value *= values[param];
    sum += value;
  }
  return sum;
}

std::string Algebra::print(PolyId p) const {
  std::string text;
  for (const auto& [monomial, coefficient] : polys_[p].terms) {
    if (!text.empty()) text += " + ";
    if (coefficient != 1 || monomial.empty()) text += fmt::format("{}", coefficient);
    for (size_t i = 0; i < monomial.size(); ++i) {
      const Param& param = params_[monomial[i]];
      if (i || coefficient != 1) text += "*";
      text += fmt::format("{}{}", "saz"[param.kind], param.node);
      if (param.kind != Param::Extent) text += fmt::format(".{}", param.at);
    }
  }
  return text.empty() ? "0" : text;
}

ExprId Algebra::intern(Expr expr) {
  scratch_.assign("e");
  append(scratch_, expr.constant);
  for (uint64_t term : expr.terms) append(scratch_, term);
  const auto [it, is_new] = known_.try_emplace(scratch_, static_cast<uint32_t>(exprs_.size()));
  if (is_new) {
    for (uint64_t term : expr.terms) expr.loops |= term_loops_[term >> 32];
    exprs_.push_back(std::move(expr));
  }
  return it->second;
}

ExprId Algebra::term(TermId t, PolyId coefficient) {
  Expr e;
  if (coefficient != 0) e.terms.push_back(pair_key(t, coefficient));
  return intern(std::move(e));
}

ExprId Algebra::from(PolyId p) {
  Expr e;
  e.constant = p;
  return intern(std::move(e));
}

ExprId Algebra::plus(ExprId a, ExprId b) {
  if (a == 0) return b;
  if (b == 0) return a;
  const Expr x = exprs_[a], y = exprs_[b];
  Expr sum;
  sum.constant = add(x.constant, y.constant);
  size_t i = 0, j = 0;
  while (i < x.terms.size() || j < y.terms.size()) {
    const uint32_t t = i < x.terms.size() ? x.terms[i] >> 32 : kNone;
    const uint32_t u = j < y.terms.size() ? y.terms[j] >> 32 : kNone;
    if (t < u) {
      sum.terms.push_back(x.terms[i++]);
    } else if (u < t) {
      sum.terms.push_back(y.terms[j++]);
    } else {
      const PolyId c = add(static_cast<PolyId>(x.terms[i]), static_cast<PolyId>(y.terms[j]));
      if (c != 0) sum.terms.push_back(pair_key(t, c));
      ++i, ++j;
    }
  }
  return intern(std::move(sum));
}

ExprId Algebra::scale(ExprId a, PolyId factor) {
  if (factor == 0 || a == 0) return 0;
  if (factor == 1) return a;
  Expr e = exprs_[a];
  e.loops = 0;
  e.constant = mul(e.constant, factor);
  for (uint64_t& term : e.terms) {
    term = pair_key(term >> 32, mul(static_cast<PolyId>(term), factor));
  }
  return intern(std::move(e));
}

PolyId Algebra::coefficient(ExprId e, TermId t) const {
  for (uint64_t term : exprs_[e].terms) {
    if (term >> 32 == t) return static_cast<PolyId>(term);
  }
  return 0;
}

uint32_t Algebra::as_loop(ExprId e) const {
  const Expr& x = exprs_[e];
  if (x.constant != 0 || x.terms.size() != 1) return kNone;
  const uint64_t term = x.terms[0];
  return static_cast<PolyId>(term) == 1 && term >> 32 < kMaxLoops ? term >> 32 : kNone;
}

TermId Algebra::intern(Term term, uint64_t loops) {
  const auto [it, is_new] = term_ids_.try_emplace(term, static_cast<TermId>(terms_.size()));
  if (is_new) {
    terms_.push_back(term);
    term_loops_.push_back(loops);
  }
  return it->second;
}

void Algebra::split(ExprId whole, std::span<const Symbol> atoms, SmallVector<ExprId, 8>& parts) {
  if (atoms.size() == 1) {
    parts.push_back(whole);
    return;
  }
  scratch_.assign("r");
  for (Symbol atom : atoms) append(scratch_, atom);
  const auto [it, is_new] = known_.try_emplace(scratch_, static_cast<uint32_t>(radices_.size()));
  if (is_new) radices_.emplace_back(atoms);
  const uint32_t radix = it->second;
  for (uint32_t k = 0; k < atoms.size(); ++k) {
    parts.push_back(term(intern({Term::Part, whole, radix, k, 0}, loops(whole)), 1));
  }
}

ExprId Algebra::join(std::span<const ExprId> parts, std::span<const Symbol> atoms) {
  ExprId sum = 0;
  PolyId stride = 1;
  for (size_t k = parts.size(); k-- > 0;) {
    // Digits of one split, all of them and in order, are what was split.
    const Expr& e = exprs_[parts[k]];
    if (e.constant == 0 && e.terms.size() == 1 && static_cast<PolyId>(e.terms[0]) == 1) {
      const Term term = terms_[e.terms[0] >> 32];
      if (term.kind == Term::Part) {
        const Symbols& radix = radices_[term.radix];
        const size_t n = radix.size();
        bool whole = term.part + 1 == n && k + 1 >= n;
        for (size_t i = 0; whole && i < n; ++i) {
          whole = atoms[k + 1 - n + i] == radix[i] &&
                  parts[k + 1 - n + i] == this->term(intern({Term::Part, term.whole, term.radix,
                                                             static_cast<uint32_t>(i), 0},
                                                            loops(term.whole)),
                                                     1);
        }
        if (whole) {
          sum = plus(sum, scale(term.whole, stride));
          for (size_t i = 0; i < n; ++i) stride = mul(stride, extent(atoms[k - i]));
          k -= n - 1;
          continue;
        }
      }
    }
    sum = plus(sum, scale(parts[k], stride));
    stride = mul(stride, extent(atoms[k]));
  }
  return sum;
}

ExprId Algebra::quotient(ExprId whole, PolyId divisor) {
  if (divisor == 1 || whole == 0) return whole;
  return term(intern({Term::Quotient, whole, divisor, 0, 0}, loops(whole)), 1);
}

ExprId Algebra::loaded(NodeIndex gather, IndexId index, ConditionId condition, uint64_t loops) {
  return term(intern({Term::Loaded, 0, gather, condition, index}, loops), 1);
}

IndexId Algebra::index(std::span<const ExprId> parts) {
  scratch_.assign("i");
  for (ExprId part : parts) append(scratch_, part);
  const auto [it, is_new] = known_.try_emplace(scratch_, static_cast<uint32_t>(indices_.size()));
  if (is_new) indices_.emplace_back(parts);
  return it->second;
}

uint64_t Algebra::index_loops(IndexId i) const {
  uint64_t loops = 0;
  for (ExprId part : indices_[i]) loops |= exprs_[part].loops;
  return loops;
}

ConditionId Algebra::condition(ConditionId rest, Condition::Kind kind, ExprId a, PolyId b) {
  for (ConditionId c = rest; c != 0; c = conditions_[c].rest) {  // already said
    if (conditions_[c].kind == kind && conditions_[c].a == a && conditions_[c].b == b) return rest;
  }
  const Condition value{kind, rest, a, b};
  const auto [it, is_new] =
      condition_ids_.try_emplace(value, static_cast<ConditionId>(conditions_.size()));
  if (is_new) conditions_.push_back(value);
  return it->second;
}

uint64_t Algebra::condition_loops(ConditionId c) const {
  uint64_t loops = 0;
  for (; c != 0; c = conditions_[c].rest) loops |= exprs_[conditions_[c].a].loops;
  return loops;
}

}  // namespace tenon::jit
