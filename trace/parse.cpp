#include "trace/parse.h"

#include <bit>
#include <charconv>
#include <unordered_map>

#include "core/error.h"
#include "trace/region.h"
#include "trace/rules.h"

namespace tenon {
namespace {

const std::unordered_map<std::string_view, Op>& ops_by_name() {
  static const auto table = [] {
    std::unordered_map<std::string_view, Op> names;
    for (int op = 0; op < kOpCount; ++op) names[kPrimitives[op].name] = static_cast<Op>(op);
    return names;
  }();
  return table;
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// One line of text, read from left to right.
class Line {
 public:
  Line(std::string_view text, size_t number) : rest_(text), number_(number) {}

  [[noreturn]] void expected(std::string_view what) const {
    fail(ErrorKind::Value, "line {}: expected {} at '{}'", number_, what, rest_);
  }
  void skip_spaces() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\r')) rest_.remove_prefix(1);
  }
  bool at_end() {
    skip_spaces();
    return rest_.empty() || rest_[0] == '#';
  }
  bool accept(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) expected(fmt::format("'{}'", token));
  }
  std::string_view word(std::string_view what) {
    skip_spaces();
    size_t length = 0;
    while (length < rest_.size() && is_word(rest_[length])) ++length;
    if (length == 0) expected(what);
    const std::string_view word = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return word;
  }
  template <class Number>
  Number number(std::string_view what) {
    skip_spaces();
    Number value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{}) expected(what);
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  // The list's items up to `close`; its opening bracket has been read.
  Dims list(std::string_view close) {
    Dims items;
    while (!accept(close)) {
      if (!items.empty()) expect(",");
      items.push_back(number<int64_t>("an integer"));
    }
    return items;
  }
  TypeId type() {
    const std::string_view name = word("a type");
    const std::optional<DType> dtype = dtype_from_name(name);
    check(dtype.has_value(), ErrorKind::Value, "line {}: there is no dtype '{}'", number_, name);
    expect("[");
    const Dims dims = list("]");
    const bool strided = accept("{");
    const Dims strides = strided ? list("}") : Dims();
    if (strided && strides.size() != dims.size()) expected("a stride for each size");
    Device device;
    if (accept("@")) {
      size_t length = 0;
      while (length < rest_.size() && rest_[length] != ' ') ++length;
      device = parse_device(rest_.substr(0, length));
      rest_.remove_prefix(length);
    }
    return strided ? intern(*dtype, device, dims, strides)
                   : intern_contiguous(*dtype, device, dims);
  }
  uint32_t operand(size_t defined) {
    expect("%");
    const auto id = number<uint32_t>("a node's number");
    if (id >= defined) expected("the number of an earlier node");
    return id;
  }

 private:
  std::string_view rest_;
  size_t number_;
};

void read_payload(Line& line, const Type& type, bool literal, Dims& axes, Dims& sizes) {
  const int64_t bits = is_differentiable(type.dtype)
                           ? std::bit_cast<int64_t>(line.number<double>("a number"))
                           : line.number<int64_t>("an integer");
  axes = literal ? Dims{1, bits} : Dims{0};
  if (!literal) sizes = Dims{bits};
}

void read_attributes(Line& line, Program& program, const ProgramNode& node, Dims& axes,
                     Dims& sizes) {
  while (!line.at_end()) {
    if (line.accept("axes=[")) {
      axes = line.list("]");
    } else if (line.accept("sizes=[")) {
      sizes = line.list("]");
    } else if (line.accept("literal=")) {
      read_payload(line, type_of(node.type), true, axes, sizes);
    } else if (line.accept("scalar=")) {
      read_payload(line, type_of(node.type), false, axes, sizes);
    } else if (node.op == Op::Input && line.accept("donatable")) {
      program.donatable.back() = 1;
    } else {
      line.expected("axes=, sizes=, literal= or scalar=");
    }
  }
}

void read_node(Line& line, Program& program) {
  const size_t id = program.nodes.size();
  line.expect(fmt::format("%{}:", id));
  ProgramNode node{};
  node.type = line.type();
  line.expect("=");
  const std::string_view name = line.word("an operation");
  const auto op = ops_by_name().find(name);
  check(op != ops_by_name().end(), ErrorKind::Value, "%{}: there is no operation '{}'", id, name);
  node.op = op->second;
  node.operands = static_cast<uint32_t>(program.operands.size());
  if (!line.at_end() && info(node.op).operands != 0) {
    do {
      program.operands.push_back(line.operand(id));
      check(++node.operand_count != 0, ErrorKind::Value, "%{}: more than 255 operands", id);
    } while (line.accept(","));
  }
  if (node.op == Op::Input) {
    program.inputs.push_back({nullptr, 0, node.type});
    program.donatable.push_back(0);
  }
  Dims axes, sizes;
  read_attributes(line, program, node, axes, sizes);
  node.axes = static_cast<uint32_t>(program.attributes.size());
  node.axes_count = static_cast<uint32_t>(axes.size());
  program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
  node.sizes = static_cast<uint32_t>(program.attributes.size());
  node.sizes_count = static_cast<uint32_t>(sizes.size());
  program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
  program.nodes.push_back(node);
}

// A body, up to the line that ends it: it closes a "{" and may open the next body's.
struct Body {
  std::string text;
  bool another = false;
};
Body read_body(std::string_view& text, size_t& number) {
  Body body;
  for (int depth = 1; !text.empty();) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    const size_t first = line.find_first_not_of(' ');
    const bool closes = first != std::string_view::npos && line[first] == '}';
    const bool opens = line.ends_with('{');
    if (closes && --depth == 0) {
      body.another = opens;
      return body;
    }
    depth += opens;
    body.text += std::string(line) + "\n";
  }
  fail(ErrorKind::Value, "line {}: expected '}}' that ends a region", number);
}

void add_bodies(Program& program, std::string_view& text, size_t& number) {
  std::vector<int64_t> ids;
  for (bool another = true; another;) {
    Body body = read_body(text, number);
    Region region;
    region.program = parse_program(body.text);
    region.masks.assign(region.program.nodes.size(), ~DerivativeMask{0});
    ids.push_back(intern_region(std::move(region)));
    another = body.another;
  }
  ProgramNode& node = program.nodes.back();
  program.attributes.insert(program.attributes.begin() + node.sizes, ids.begin(), ids.end());
  node.axes_count += static_cast<uint32_t>(ids.size());
  node.sizes += static_cast<uint32_t>(ids.size());
}

}  // namespace

Program parse_program(std::string_view text) {
  Program program;
  bool returned = false;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view shown = text.substr(0, end);
    const bool opens = shown.ends_with(" {");
    if (opens) shown.remove_suffix(2);
    Line line(shown, number);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.at_end()) continue;
    if (returned) line.expected("nothing after return");
    if (!line.accept("return")) {
      read_node(line, program);
      const Op op = program.nodes.back().op;
      if (opens ? !is_region(op) : owns_bodies(op)) line.expected("the bodies of a region");
      if (opens) add_bodies(program, text, number);
      continue;
    }
    returned = true;
    while (!line.at_end()) {
      if (!program.outputs.empty()) line.expect(",");
      program.outputs.push_back(line.operand(program.nodes.size()));
    }
  }
  check(returned, ErrorKind::Value, "a program ends with a line 'return ...'");
  return program;
}

TypeId parse_type(std::string_view text) {
  Line line(text, 1);
  const TypeId type = line.type();
  if (!line.at_end()) line.expected("the end of the type");
  return type;
}

}  // namespace tenon
