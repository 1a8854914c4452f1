// The header of a safetensors file (https://github.com/huggingface/safetensors, format of 2023):
//
//   8 bytes   n, little endian: length of the header
//   n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//             "__metadata__": {"key": "text", ...}}, padded with spaces
//   the rest  the tensors' elements, row-major and little endian; offsets count from here
//
// Text in, entries out: nothing here opens a file or allocates a tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/small_vector.h"

namespace tenon::safetensors {

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's bound

using Metadata = std::vector<std::pair<std::string, std::string>>;

struct Entry {
  std::string name;
  DType dtype = DType::Float32;
  Dims dims;
  std::uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

struct Header {
  std::vector<Entry> entries;  // in the order of the text
  Metadata metadata;
};

// ValueError, saying what and where, unless the text is a header whose tensors fill `data_bytes`
// bytes without a hole or an overlap.
Header parse_header(std::string_view text, std::uint64_t data_bytes);

// The text of a header, padded so that the data that follow it are aligned to 8 bytes.
std::string format_header(const Header& header);

bool is_utf8(std::string_view text);

}  // namespace tenon::safetensors
