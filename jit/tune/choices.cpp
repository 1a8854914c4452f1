#include "jit/tune/choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/error.h"

namespace tenon::jit {
namespace {

constexpr size_t kMostKernels = 1 << 16;

std::vector<std::string_view> names_of(OptimizationSet set) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < optimizations().size(); ++i) {
    if (contains(set, static_cast<Optimization>(i))) names.push_back(optimizations()[i].name);
  }
  return names;
}

bool is_sane(const KernelChoice& kernel) {
  const auto is_one_of = [](int value, std::initializer_list<int> values) {
    return std::find(values.begin(), values.end(), value) != values.end();
  };
  return is_one_of(kernel.unroll, {0, 1, 2, 4}) &&
         is_one_of(kernel.vector_bits, {0, 128, 256, 512}) && kernel.grain_shift >= -8 &&
         kernel.grain_shift <= 40;
}

}  // namespace

Hash128 hash_of(const Choices& choices) {
  if (choices == Choices{}) return {};
  return combine(hash128(write(choices)), {static_cast<uint64_t>(choices.recompute), 0});
}

std::string describe(const Choices& choices) {
  std::string text = "the default";
  std::string separator;
  const auto add = [&](std::string part) {
    if (separator.empty()) text.clear();
    text += separator + part;
    separator = "; ";
  };
  if (choices.off) add(fmt::format("without {}", fmt::join(names_of(choices.off), ", ")));
  if (choices.kernel_size != 100) {
    add(fmt::format("kernels of at most {} % of the usual size", choices.kernel_size));
  }
  size_t unrolled = 0, narrow = 0, smaller = 0, larger = 0;
  for (const KernelChoice& kernel : choices.kernels) {
    unrolled += kernel.unroll != 0;
    narrow += kernel.vector_bits != 0;
    smaller += kernel.grain_shift < 0;
    larger += kernel.grain_shift > 0;
  }
  if (unrolled) add(fmt::format("other unroll factors in {} kernels", unrolled));
  if (narrow) add(fmt::format("narrower vectors in {}", narrow));
  if (smaller) add(fmt::format("smaller chunks in {}", smaller));
  if (larger) add(fmt::format("larger chunks in {}", larger));
  return text;
}

std::string write(const Choices& choices) {
  std::string text =
      fmt::format("off={} size={} hot={} kernels={}", fmt::join(names_of(choices.off), ","),
                  choices.kernel_size, choices.hot ? 1 : 0, choices.kernels.size());
  for (const KernelChoice& kernel : choices.kernels) {
    text += fmt::format(" {}/{}/{}", kernel.unroll, kernel.vector_bits, kernel.grain_shift);
  }
  return text;
}

std::optional<Choices> read_choices(std::string_view text) {
  Choices choices;
  std::istringstream in{std::string(text)};
  std::string word;
  const auto next = [&](const char* name) -> std::optional<std::string> {
    const std::string prefix = std::string(name) + "=";
    if (!(in >> word) || !word.starts_with(prefix)) return std::nullopt;
    return word.substr(prefix.size());
  };
  const auto off = next("off"), size = next("size"), hot = next("hot"), count = next("kernels");
  if (!off || !size || !hot || !count) return std::nullopt;
  std::vector<std::string_view> names;
  for (std::string_view rest = *off; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    names.push_back(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  try {
    choices.off = optimizations_named(names);
    const unsigned long percent = std::stoul(*size), kernels = std::stoul(*count);
    if (percent < 1 || percent > 1000 || kernels > kMostKernels) return std::nullopt;
    choices.kernel_size = static_cast<uint16_t>(percent);
    choices.hot = *hot == "1";
    for (unsigned long k = 0; k < kernels; ++k) {
      int unroll, bits, shift;
      char slash;
      if (!(in >> unroll >> slash >> bits >> slash >> shift)) return std::nullopt;
      choices.kernels.push_back(
          {static_cast<uint8_t>(unroll), static_cast<uint16_t>(bits), static_cast<int8_t>(shift)});
      if (!is_sane(choices.kernels.back())) return std::nullopt;
    }
  } catch (const Error&) {  // no such optimization
    return std::nullopt;
  } catch (const std::exception&) {  // no number
    return std::nullopt;
  }
  return in >> word ? std::nullopt : std::optional(std::move(choices));
}

}  // namespace tenon::jit
