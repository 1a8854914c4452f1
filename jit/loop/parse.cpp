#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <map>
#include <string_view>

#include "core/error.h"
#include "core/half.h"
#include "jit/loop/ir.h"
#include "jit/loop/math.h"
#include "jit/loop/names.h"

namespace tenon::loop {

namespace {

struct Word {
  Op op;
  uint8_t detail = 0;
};

const std::map<std::string, Word, std::less<>>& words() {
  static const auto* const table = [] {
    auto* words = new std::map<std::string, Word, std::less<>>;
    const auto add = [&](const auto& names, Op op) {
      for (size_t i = 0; i < std::size(names); ++i) {
        (*words)[names[i]] = {op, static_cast<uint8_t>(i)};
      }
    };
    for (size_t i = 0; i < std::size(kOpNames); ++i) (*words)[kOpNames[i]] = {static_cast<Op>(i)};
    add(kUnaryNames, Op::Unary);
    add(kBinaryNames, Op::Binary);
    add(kCompareNames, Op::Compare);
    add(kReduceNames, Op::Reduce);
    return words;
  }();
  return *table;
}

// Words of one line; punctuation of the header stands apart.
class Line {
 public:
  Line(std::string_view text, int number) : rest_(text), number_(number) {}

  std::string_view peek() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
    if (rest_.empty()) return {};
    constexpr std::string_view kMarks = "(),;:=@";
    if (kMarks.find(rest_.front()) != std::string_view::npos) return rest_.substr(0, 1);
    return rest_.substr(0, rest_.find_first_of(" (),;:=@"));
  }
  std::string_view next() {
    const std::string_view word = peek();
    rest_.remove_prefix(word.size());
    if (word.empty()) error("the line ends too early");
    return word;
  }
  bool take(std::string_view word) {
    if (peek() != word) return false;
    next();
    return true;
  }
  void expect(std::string_view word) {
    if (!take(word)) error(fmt::format("\"{}\" expected before \"{}\"", word, rest_));
  }
  bool at_end() { return peek().empty(); }

  int64_t integer() {
    const std::string_view word = next();
    int64_t value = 0;
    const char *const begin = word.data(), *const end = begin + word.size();
    const auto is_whole = [&](std::from_chars_result read) {
      return read.ptr == end && read.ec == std::errc{};
    };
    if (!is_whole(std::from_chars(begin, end, value))) {
      uint64_t large = 0;  // the upper half of u64
      if (!is_whole(std::from_chars(begin, end, large))) {
        error(fmt::format("\"{}\" is no integer", word));
      }
      value = static_cast<int64_t>(large);
    }
    return value;
  }
  uint32_t number() { return static_cast<uint32_t>(integer()); }

  [[noreturn]] void error(const std::string& what) const {
    fail(ErrorKind::Value, "loop IR, line {}: {}", number_, what);
  }

 private:
  std::string_view rest_;
  int number_;
};

template <size_t N>
int find_name(const char* const (&names)[N], std::string_view word) {
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == word) return static_cast<int>(i);
  }
  return -1;
}

Scalar parse_scalar(Line& line, std::string_view word) {
  for (int i = 0; i <= static_cast<int>(Scalar::F64); ++i) {
    if (name_of(static_cast<Scalar>(i)) == word) return static_cast<Scalar>(i);
  }
  line.error(fmt::format("\"{}\" is no type", word));
}

ValueType parse_type(Line& line) {
  const std::string_view word = line.next();
  const bool is_vector = word.ends_with("x16");
  return {parse_scalar(line, is_vector ? word.substr(0, word.size() - 3) : word),
          static_cast<uint8_t>(is_vector ? kLanes : 1)};
}

uint64_t parse_constant(Line& line, Scalar type) {
  const int width = 8 * size_of(type);
  const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  const std::string_view peeked = line.peek();
  if (type == Scalar::I1) return line.next() == "true";
  if (peeked.starts_with("0x")) {
    return std::strtoull(std::string(line.next()).c_str(), nullptr, 16);
  }
  if (!is_float(type)) return static_cast<uint64_t>(line.integer()) & mask;
  const std::string text(line.next());
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (*end != 0) line.error(fmt::format("\"{}\" is no number", text));
  switch (type) {
    // Printed numbers are exact in f32, so the way through it rounds nothing twice.
    case Scalar::F16:
      return float16(std::strtof(text.c_str(), nullptr)).bits;
    case Scalar::BF16:
      return bfloat16(std::strtof(text.c_str(), nullptr)).bits;
    case Scalar::F32:
      return std::bit_cast<uint32_t>(std::strtof(text.c_str(), nullptr));
    default:
      return std::bit_cast<uint64_t>(value);
  }
}

void parse_header(Line& line, Kernel& kernel) {
  line.expect("kernel");
  kernel.name = line.next();
  line.expect("(");
  while (!line.take(";")) {
    line.take(",");
    line.expect("@");
    if (line.number() != kernel.buffers.size()) line.error("buffers come in order");
    const Scalar type = parse_scalar(line, line.next());
    const int access = find_name(kAccessNames, line.next());
    if (access < 0) line.error("a buffer is read, write or read_write");
    kernel.buffers.push_back({type, static_cast<Access>(access)});
  }
  line.expect("ints");
  kernel.ints = line.number();
  line.expect(";");
  line.expect("scalars");
  while (!line.take(";")) kernel.scalars.push_back(parse_scalar(line, line.next()));
  line.expect("scratch");
  kernel.scratch.constant = line.integer();
  while (line.take("+")) {
    ScratchSize::Term term;
    term.factor = line.integer();
    line.expect("*");
    line.expect("int");
    term.param = line.number();
    kernel.scratch.terms.push_back(term);
  }
  line.expect(")");
}

void parse_node(Line& line, Kernel& kernel) {
  Node node;
  const auto number_of_value = [&]() -> Value {
    const std::string_view word = line.next();
    Value value = 0;
    const char* end = word.data() + word.size();
    if (!word.starts_with("%") || std::from_chars(word.data() + 1, end, value).ptr != end) {
      line.error(fmt::format("\"{}\" is no value", word));
    }
    return value;
  };
  if (line.peek().starts_with("%")) {
    if (number_of_value() != kernel.nodes.size()) line.error("values are numbered by position");
    line.expect(":");
    const ValueType type = parse_type(line);
    node.type = type.scalar;
    node.lanes = type.lanes;
    line.expect("=");
  }
  const std::string_view word = line.next();
  const auto found = words().find(word);
  if (found == words().end()) line.error(fmt::format("\"{}\" is no operation", word));
  node.op = found->second.op;
  node.detail = found->second.detail;
  switch (node.op) {
    case Op::Constant:
      node.payload = static_cast<int64_t>(parse_constant(line, node.type));
      break;
    case Op::IntParam:
    case Op::ScalarParam:
    case Op::Extract:
    case Op::Carried:
    case Op::Result:
      node.index = line.number();
      break;
    case Op::Load:
    case Op::Store:
      line.expect("@");
      node.index = line.number();
      if (node.index >= kernel.buffers.size()) line.error("no such buffer");
      break;
    case Op::Call: {
      const std::string_view name = line.next();
      const auto functions = host_functions();
      while (node.index < functions.size() && functions[node.index].name != name) ++node.index;
      if (node.index == functions.size()) line.error(fmt::format("no host function {}", name));
      break;
    }
    case Op::Check:
      line.expect("code");
      node.payload = line.integer();
      line.expect("site");
      node.index = line.number();
      break;
    default:
      break;
  }
  node.first_operand = static_cast<uint32_t>(kernel.operands.size());
  while (!line.at_end()) kernel.operands.push_back(number_of_value());
  node.operand_count = static_cast<uint32_t>(kernel.operands.size()) - node.first_operand;
  // Types that the text leaves to the operands.
  if (node.op == Op::Store) node.type = kernel.buffers[node.index].type;
  if (node.op == Op::Check) node.type = Scalar::I1;
  if (node.op == Op::ScratchStore && node.operand_count > 2) {
    const Value stored = kernel.operands[node.first_operand + 2];
    if (stored >= kernel.nodes.size()) line.error("the stored value comes later");
    node.type = kernel[stored].type;
  }
  kernel.nodes.push_back(node);
}

}  // namespace

Kernel parse(std::string_view text) {
  Kernel kernel;
  int number = 0;
  while (!text.empty() || number == 0) {
    const size_t end = std::min(text.find('\n'), text.size());
    Line line(text.substr(0, end), ++number);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (number == 1) {
      parse_header(line, kernel);
    } else if (!line.at_end()) {
      parse_node(line, kernel);
    }
  }
  const std::string wrong = verify(kernel);
  check(wrong.empty(), ErrorKind::Value, "loop IR: {}", wrong);
  return kernel;
}

}  // namespace tenon::loop
