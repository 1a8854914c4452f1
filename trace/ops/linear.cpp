// Products of matrices, and what is made of them.
#include <algorithm>
#include <array>
#include <string>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

void check_same_dtype(Value a, Value b) {
  check(dtype(a) == dtype(b), ErrorKind::Runtime,
        "{}: expected both operands to have the same dtype, but got: {} != {}", current_operation(),
        name_of(dtype(a)), name_of(dtype(b)));
}

// input @ other, or input @ other.mT: a matrix whose rows are contracted is read as it lies.
Value product(Value input, Value other, bool transposed) {
  const int a_rank = rank(input), b_rank = rank(other);
  check(a_rank > 0 && b_rank > 0, ErrorKind::Runtime,
        "both arguments to matmul need to be at least 1D, but they are {}D and {}D", a_rank,
        b_rank);
  check_same_dtype(input, other);
  const Dims a(dims(input)), b(dims(other));
  const int64_t a_axis = a_rank - 1;
  const int64_t b_axis = b_rank == 1 || transposed ? b_rank - 1 : b_rank - 2;
  if (a[a_axis] != b[b_axis]) {
    Dims as_multiplied(b);
    if (transposed) std::swap(as_multiplied[b_rank - 1], as_multiplied[b_rank - 2]);
    fail(ErrorKind::Runtime, "{}: mat1 and mat2 shapes cannot be multiplied ({} and {})",
         current_operation(), shown(a), shown(as_multiplied));
  }
  if (a_rank <= 2 || b_rank <= 2) {  // no batch on one side: its free axis comes last or first
    const Value result = ops::dot_general(input, other, {}, {}, {&a_axis, 1}, {&b_axis, 1});
    if (a_rank > 2 || b_rank <= 2) return result;
    // (m) (batch..., n) -> (batch..., m, n)
    return a_rank == 1 ? result : ops::move_axis(result, 0, rank(result) - 2);
  }
  Dims batch = broadcast_dims(a.span().first(a_rank - 2), b.span().first(b_rank - 2));
  Dims a_size(batch), b_size(batch), axes;
  a_size.append(a.end() - 2, a.end());
  b_size.append(b.end() - 2, b.end());
  for (size_t i = 0; i < batch.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  const int64_t a_contracted = static_cast<int64_t>(batch.size()) + 1;
  const int64_t b_contracted = static_cast<int64_t>(batch.size()) + (transposed ? 1 : 0);
  return ops::dot_general(ops::expand(input, a_size), ops::expand(other, b_size), axes, axes,
                          {&a_contracted, 1}, {&b_contracted, 1});
}

}  // namespace

Value matmul(Value input, Value other) { return product(input, other, false); }

Value matmul_transposed(Value input, Value other) { return product(input, other, true); }

Value tensordot(Value a, Value b, const IntList& dims_a, const IntList& dims_b) {
  check(dims_a.size() == dims_b.size(), ErrorKind::Runtime,
        "both dimension lists should have same length");
  check_same_dtype(a, b);
  Dims axes_a, axes_b;
  for (size_t i = 0; i < dims_a.size(); ++i) {
    axes_a.push_back(normalize_dim(dims_a[i], rank(a)));
    axes_b.push_back(normalize_dim(dims_b[i], rank(b)));
    const int64_t extent_a = dims(a)[axes_a[i]], extent_b = dims(b)[axes_b[i]];
    // A dimension of size 1 meets the sum over the other.
    if (extent_a == 1 && extent_b != 1) b = ops::reduce(Op::ReduceSum, b, {{axes_b[i]}}, true);
    if (extent_b == 1 && extent_a != 1) a = ops::reduce(Op::ReduceSum, a, {{axes_a[i]}}, true);
    check(
        dims(a)[axes_a[i]] == dims(b)[axes_b[i]], ErrorKind::Runtime,
        "contracted dimensions need to match, but first has size {} in dim {} and second has size "
        "{} in dim {}",
        dims(a)[axes_a[i]], axes_a[i], dims(b)[axes_b[i]], axes_b[i]);
  }
  return ops::dot_general(a, b, {}, {}, axes_a, axes_b);
}

namespace {

// ---- einsum: subscripts are letters; an ellipsis becomes letters of its own (digits here)
// --------

struct Subscripts {
  std::vector<std::string> operands;
  std::string result;
};

std::string expand_ellipsis(std::string term, int rank, int most) {
  const size_t at = term.find("...");
  if (at == std::string::npos) return term;
  const int letters = static_cast<int>(term.size()) - 3;
  check(rank >= letters, ErrorKind::Runtime, "einsum(): '{}' for an operand of {} dimensions", term,
        rank);
  std::string extra;
  for (int i = most - (rank - letters); i < most; ++i)
    extra.push_back(static_cast<char>('\x01' + i));
  return term.replace(at, 3, extra);
}

Subscripts parse_equation(std::string_view equation, std::span<const Value> operands) {
  std::string text;
  for (char c : equation) {
    if (c != ' ') text.push_back(c);
  }
  const size_t arrow = text.find("->");
  Subscripts s;
  std::string left = text.substr(0, arrow);
  size_t start = 0;
  for (size_t i = 0; i <= left.size(); ++i) {
    if (i < left.size() && left[i] != ',') continue;
    s.operands.push_back(left.substr(start, i - start));
    start = i + 1;
  }
  check(s.operands.size() == operands.size(), ErrorKind::Runtime,
        "einsum(): {} operands were given, but the equation '{}' has {}", operands.size(), equation,
        s.operands.size());
  int most = 0;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (s.operands[i].find("...") == std::string::npos) continue;
    most = std::max(most, rank(operands[i]) - static_cast<int>(s.operands[i].size()) + 3);
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    s.operands[i] = expand_ellipsis(s.operands[i], rank(operands[i]), most);
    check(static_cast<int>(s.operands[i].size()) == rank(operands[i]), ErrorKind::Runtime,
          "einsum(): the number of subscripts in the equation ({}) does not match the number of "
          "dimensions ({}) for operand {}",
          s.operands[i].size(), rank(operands[i]), i);
    for (char c : s.operands[i]) {
      check(std::isalpha(static_cast<unsigned char>(c)) || c < ' ', ErrorKind::Runtime,
            "einsum(): invalid subscript '{}' in '{}'", c, equation);
    }
  }
  if (arrow != std::string::npos) {
    s.result = text.substr(arrow + 2);
    const bool has_ellipsis = s.result.find("...") != std::string::npos;
    const int letters = static_cast<int>(s.result.size()) - (has_ellipsis ? 3 : 0);
    s.result = expand_ellipsis(s.result, letters + most, most);
    return s;
  }
  std::string all;
  for (const std::string& term : s.operands) all += term;
  for (int i = 0; i < most; ++i) s.result.push_back(static_cast<char>('\x01' + i));
  std::string once;
  for (char c : all) {
    if (c >= ' ' && std::ranges::count(all, c) == 1) once.push_back(c);
  }
  std::ranges::sort(once);
  s.result += once;
  return s;
}

struct Term {
  Value value;
  std::string letters;
};

// Repeated letters of one operand: the diagonal.
Term take_diagonals(Term term) {
  for (size_t i = 0; i < term.letters.size(); ++i) {
    const size_t j = term.letters.find(term.letters[i], i + 1);
    if (j == std::string::npos) continue;
    check(dims(term.value)[i] == dims(term.value)[j], ErrorKind::Runtime,
          "einsum(): subscript {} is repeated for dimensions of sizes {} and {}", term.letters[i],
          dims(term.value)[i], dims(term.value)[j]);
    const char letter = term.letters[i];
    term.value = diagonal(term.value, 0, static_cast<int64_t>(i), static_cast<int64_t>(j));
    term.letters.erase(j, 1);
    term.letters.erase(i, 1);
    term.letters.push_back(letter);
    i = static_cast<size_t>(-1);
  }
  return term;
}

Term sum_letters(Term term, const std::string& kept) {
  Dims axes;
  std::string left;
  for (size_t i = 0; i < term.letters.size(); ++i) {
    if (kept.find(term.letters[i]) == std::string::npos) {
      axes.push_back(static_cast<int64_t>(i));
    } else {
      left.push_back(term.letters[i]);
    }
  }
  if (!axes.empty()) term.value = ops::reduce(Op::ReduceSum, term.value, axes);
  return {term.value, left};
}

void match_extents(Term& a, Term& b, char letter) {
  const size_t i = a.letters.find(letter), j = b.letters.find(letter);
  const int64_t m = dims(a.value)[i], n = dims(b.value)[j];
  check(
      m == n || m == 1 || n == 1, ErrorKind::Runtime,
      "einsum(): operands do not broadcast with remapped shapes: subscript {} has sizes {} and {}",
      letter, m, n);
  if (m == n) return;
  Term& small = m == 1 ? a : b;
  Dims extents(dims(small.value));
  extents[m == 1 ? i : j] = std::max(m, n);
  small.value = ops::expand(small.value, extents);
}

// Contracts letters that neither the result nor a later operand needs.
Term multiply(Term a, Term b, const std::string& needed) {
  a = sum_letters(a, needed + b.letters);
  b = sum_letters(b, needed + a.letters);
  std::string batch, contracted;
  for (char c : a.letters) {
    if (b.letters.find(c) == std::string::npos) continue;
    match_extents(a, b, c);
    (needed.find(c) == std::string::npos ? contracted : batch).push_back(c);
  }
  const auto axes = [](const Term& term, const std::string& letters) {
    Dims found;
    for (char c : letters) found.push_back(static_cast<int64_t>(term.letters.find(c)));
    return found;
  };
  const Value product = ops::dot_general(a.value, b.value, axes(a, batch), axes(b, batch),
                                         axes(a, contracted), axes(b, contracted));
  std::string letters = batch;
  for (const Term* term : {&a, &b}) {
    for (char c : term->letters) {
      if ((batch + contracted).find(c) == std::string::npos) letters.push_back(c);
    }
  }
  return {product, letters};
}

}  // namespace

Value einsum(std::string_view equation, std::span<const Value> operands) {
  check(!operands.empty(), ErrorKind::Runtime, "einsum(): must provide at least one operand");
  const Subscripts s = parse_equation(equation, operands);
  for (char c : s.result) {
    bool found = false;
    for (const std::string& term : s.operands) found = found || term.find(c) != std::string::npos;
    check(found && std::ranges::count(s.result, c) == 1, ErrorKind::Runtime,
          "einsum(): output subscript {} appears twice or in no operand of '{}'", c, equation);
  }
  Term term = take_diagonals({operands[0], s.operands[0]});
  for (size_t i = 1; i < operands.size(); ++i) {
    check_same_dtype(operands[0], operands[i]);
    std::string needed = s.result;
    for (size_t j = i + 1; j < operands.size(); ++j) needed += s.operands[j];
    term = multiply(term, take_diagonals({operands[i], s.operands[i]}), needed);
  }
  const bool sums = term.letters.size() > s.result.size();
  if (operands.size() == 1 && sums && is_integral(dtype(term.value), true)) {
    term.value = ops::cast(term.value, DType::Int64);  // as sum() adds
  }
  term = sum_letters(term, s.result);
  Dims perm;
  for (char c : s.result) perm.push_back(static_cast<int64_t>(term.letters.find(c)));
  const Value x = ops::permute(term.value, perm);
  return x.id == operands[0].id ? ops::alias(x) : x;
}

}  // namespace tenon::values
