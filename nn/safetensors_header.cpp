#include "nn/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <unordered_set>

#include "core/error.h"
#include "core/shape.h"
#include "core/types.h"

namespace tenon::safetensors {

namespace {

struct DTypeName {
  DType dtype;
  std::string_view name;
};
constexpr std::array<DTypeName, 19> kDTypeNames{{
    {DType::Bool, "BOOL"},
    {DType::UInt8, "U8"},
    {DType::Int8, "I8"},
    {DType::Int16, "I16"},
    {DType::UInt16, "U16"},
    {DType::Int32, "I32"},
    {DType::UInt32, "U32"},
    {DType::Int64, "I64"},
    {DType::UInt64, "U64"},
    {DType::Float16, "F16"},
    {DType::BFloat16, "BF16"},
    {DType::Float32, "F32"},
    {DType::Float64, "F64"},
    {DType::Complex64, "C64"},
    {DType::Float8_e4m3fn, "F8_E4M3"},
    {DType::Float8_e5m2, "F8_E5M2"},
    {DType::Float8_e4m3fnuz, "F8_E4M3FNUZ"},
    {DType::Float8_e5m2fnuz, "F8_E5M2FNUZ"},
    {DType::Float8_e8m0fnu, "F8_E8M0"},
}};

constexpr std::uint64_t kMaxNumber = std::numeric_limits<std::int64_t>::max();

// Reads the JSON of a header and nothing more general: objects of known shape, so no recursion.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  template <class... Args>
  [[noreturn]] void fail_here(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::Value, "safetensors: header, byte {}: {}", at_,
         fmt::format(format, std::forward<Args>(args)...));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (accept(c)) return;
    if (at_ == text_.size()) fail_here("'{}' expected, but the text ends", c);
    fail_here("'{}' expected", c);
  }
  void expect_end() {
    skip_space();
    if (at_ != text_.size()) fail_here("text after the end of the header");
  }

  // {"key": value, ...}; visit(key) reads the value. A key that comes twice is an error.
  template <class Visit>
  void object(Visit&& visit) {
    std::unordered_set<std::string> seen;
    expect('{');
    if (accept('}')) return;
    do {
      skip_space();
      std::string key = string();
      if (!seen.insert(key).second) fail_here("the key '{}' comes twice", key);
      expect(':');
      visit(key);
    } while (accept(','));
    expect('}');
  }

  template <class Visit>
  void array(Visit&& visit) {
    expect('[');
    if (accept(']')) return;
    do visit();
    while (accept(','));
    expect(']');
  }

  std::uint64_t number() {
    skip_space();
    const std::size_t start = at_;
    std::uint64_t value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      const auto digit = static_cast<std::uint64_t>(text_[at_++] - '0');
      if (value > (kMaxNumber - digit) / 10) fail_here("a number above 2^63");
      value = 10 * value + digit;
    }
    if (at_ == start) fail_here("a whole number expected");
    if (text_[start] == '0' && at_ - start > 1) fail_here("a number with a leading zero");
    if (at_ < text_.size() && std::string_view(".eE").find(text_[at_]) != std::string_view::npos) {
      fail_here("a whole number expected");
    }
    return value;
  }

  std::string string() {
    expect('"');
    std::string result;
    while (true) {
      if (at_ == text_.size()) fail_here("a string that doesn't end");
      const char c = text_[at_++];
      if (c == '"') return result;
      if (static_cast<unsigned char>(c) < 0x20) fail_here("a control character in a string");
      if (c == '\\') {
        escape(result);
      } else {
        result.push_back(c);
      }
    }
  }

 private:
  void escape(std::string& result) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (at_ == text_.size()) fail_here("a string that doesn't end");
    const char letter = text_[at_++];
    if (const auto known = kLetters.find(letter); known != std::string_view::npos) {
      result.push_back(kMeanings[known]);
      return;
    }
    if (letter != 'u') fail_here("an unknown escape in a string");
    std::uint32_t code = hex4();
    if (code >= 0xdc00 && code < 0xe000) fail_here("half of a surrogate pair");
    if (code >= 0xd800 && code < 0xdc00) {
      if (text_.substr(at_, 2) != "\\u") fail_here("half of a surrogate pair");
      at_ += 2;
      const std::uint32_t low = hex4();
      if (low < 0xdc00 || low >= 0xe000) fail_here("half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(result, code);
  }

  std::uint32_t hex4() {
    if (text_.size() - at_ < 4) fail_here("a string that doesn't end");
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto digit = kDigits.find(static_cast<char>(text_[at_] | 0x20));
      if (digit == std::string_view::npos) fail_here("an unknown escape in a string");
      code = 16 * code + static_cast<std::uint32_t>(digit);
      ++at_;
    }
    return code;
  }

  static void append_utf8(std::string& text, std::uint32_t code) {
    const auto put = [&](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
      put(0xc0 | code >> 6);
    } else {
      if (code < 0x10000) {
        put(0xe0 | code >> 12);
      } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3f));
      }
      put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Entry read_entry(Reader& reader, std::string name) {
  Entry entry{std::move(name)};
  int fields = 0;
  reader.object([&](const std::string& key) {
    ++fields;
    if (key == "dtype") {
      const std::string dtype = reader.string();
      const auto found = std::ranges::find(kDTypeNames, dtype, &DTypeName::name);
      if (found == kDTypeNames.end()) {
        reader.fail_here("'{}' has the unknown dtype '{}'", entry.name, dtype);
      }
      entry.dtype = found->dtype;
    } else if (key == "shape") {
      reader.array([&] { entry.dims.push_back(static_cast<std::int64_t>(reader.number())); });
    } else if (key == "data_offsets") {
      int count = 0;
      reader.array([&] {
        const std::uint64_t offset = reader.number();
        (count++ == 0 ? entry.begin : entry.end) = offset;
      });
      if (count != 2) reader.fail_here("'{}' needs two data_offsets, not {}", entry.name, count);
    } else {
      reader.fail_here("'{}' has the unknown field '{}'", entry.name, key);
    }
  });
  if (fields != 3) reader.fail_here("'{}' needs dtype, shape and data_offsets", entry.name);
  return entry;
}

// Bytes of the elements; none where their strides would pass 2^63.
std::optional<std::uint64_t> bytes_of(const Entry& entry) {
  std::uint64_t bytes = size_of(entry.dtype);
  bool empty = false;
  for (const std::int64_t extent : entry.dims) {
    empty = empty || extent == 0;
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1));
    if (factor > kMaxNumber / bytes) return std::nullopt;
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

void check_layout(const Header& header, std::uint64_t data_bytes) {
  std::vector<const Entry*> order(header.entries.size());
  std::ranges::transform(header.entries, order.begin(), [](const Entry& e) { return &e; });
  std::ranges::sort(order, {}, [](const Entry* e) { return std::tuple(e->begin, e->end, e); });
  std::uint64_t reached = 0;
  for (const Entry* e : order) {
    const auto bytes = bytes_of(*e);
    check(e->dims.size() <= kMaxRank, ErrorKind::Value,
          "safetensors: '{}' has {} dimensions, at most {} are possible", e->name, e->dims.size(),
          kMaxRank);
    check(bytes.has_value(), ErrorKind::Value,
          "safetensors: '{}' of shape {} has too many elements", e->name, to_string(e->dims));
    check(e->begin <= e->end && e->end <= data_bytes, ErrorKind::Value,
          "safetensors: '{}' has data_offsets [{}, {}] in a file with {} bytes of data", e->name,
          e->begin, e->end, data_bytes);
    check(e->end - e->begin == *bytes, ErrorKind::Value,
          "safetensors: '{}' has {} bytes of data, but shape {} of {} needs {}", e->name,
          e->end - e->begin, to_string(e->dims), name_of(e->dtype), *bytes);
    check(e->begin == reached, ErrorKind::Value, "safetensors: '{}' begins at {}, {} {}", e->name,
          e->begin, e->begin < reached ? "inside the tensor that ends at" : "after a hole from",
          reached);
    reached = e->end;
  }
  check(reached == data_bytes, ErrorKind::Value,
        "safetensors: the tensors end at {}, but the file has {} bytes of data", reached,
        data_bytes);
}

void append_string(std::string& json, std::string_view text) {
  json.push_back('"');
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(json), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (c == '"' || c == '\\') json.push_back('\\');
      json.push_back(c);
    }
  }
  json.push_back('"');
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 0 || text.size() - i < length) return false;
    std::uint32_t code = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return false;
    i += length;
  }
  return true;
}

Header parse_header(std::string_view text, std::uint64_t data_bytes) {
  check(is_utf8(text), ErrorKind::Value, "safetensors: the header is not UTF-8");
  check(text.starts_with('{'), ErrorKind::Value, "safetensors: the header doesn't start with '{{'");
  Header header;
  Reader reader(text);
  reader.object([&](const std::string& name) {
    if (name == "__metadata__") {
      reader.object([&](const std::string& key) {
        reader.skip_space();
        header.metadata.emplace_back(key, reader.string());
      });
    } else {
      header.entries.push_back(read_entry(reader, name));
    }
  });
  reader.expect_end();
  check_layout(header, data_bytes);
  return header;
}

std::string format_header(const Header& header) {
  std::string json = "{";
  const auto next = [&](std::string_view key) {
    if (json.size() > 1) json.push_back(',');
    append_string(json, key);
    json.push_back(':');
  };
  if (!header.metadata.empty()) {
    next("__metadata__");
    char separator = '{';
    for (const auto& [key, text] : header.metadata) {
      json.push_back(separator);
      append_string(json, key);
      json.push_back(':');
      append_string(json, text);
      separator = ',';
    }
    json.push_back('}');
  }
  for (const Entry& e : header.entries) {
    const auto dtype = std::ranges::find(kDTypeNames, e.dtype, &DTypeName::dtype);
    check(dtype != kDTypeNames.end(), ErrorKind::Value, "safetensors: no dtype for {} ('{}')",
          name_of(e.dtype), e.name);
    next(e.name);
    fmt::format_to(std::back_inserter(json),
                   R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", dtype->name,
                   fmt::join(e.dims, ","), e.begin, e.end);
  }
  json.push_back('}');
  json.append((8 - json.size() % 8) % 8, ' ');
  return json;
}

}  // namespace tenon::safetensors
