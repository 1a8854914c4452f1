#include "trace/ops/window.h"

#include <algorithm>

namespace tenon::values {
namespace {

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

}  // namespace

int64_t window_count(int64_t extent, int64_t reach, int64_t stride) {
  return floor_divide(extent - reach, stride) + 1;
}

Dims one_a_dimension(const IntList& list, int spatial, std::string_view name) {
  if (list.size() == 1) return Dims(static_cast<size_t>(spatial), list[0]);
  check(list.size() == static_cast<size_t>(spatial), ErrorKind::Runtime,
        "{}: expected {} to be a single integer value or a list of {} values to match the "
        "dimensions, but got {}={}",
        current_operation(), name, spatial, name, shown(list));
  return list;
}

Batched::Batched(Value input, int spatial) : value(input), had_batch(rank(input) == spatial + 2) {
  check(had_batch || rank(input) == spatial + 1, ErrorKind::Runtime,
        "Expected {}D (unbatched) or {}D (batched) input to {}, but got input of size: {}",
        spatial + 1, spatial + 2, current_operation(), shown(dims(input)));
  if (!had_batch) value = ops::unsqueeze(input, 0);
}

Value Batched::restore(Value result) const {
  return had_batch ? result : ops::reshape(result, Dims(dims(result).subspan(1)));
}

Windows::Windows(int spatial, std::span<const int64_t> input, const IntList& kernel_size,
                 const std::optional<IntList>& stride_, const IntList& padding_,
                 const IntList& dilation_, bool ceil_mode) {
  kernel = one_a_dimension(kernel_size, spatial, "kernel_size");
  stride = stride_ && !stride_->empty() ? one_a_dimension(*stride_, spatial, "stride") : kernel;
  padding = one_a_dimension(padding_, spatial, "padding");
  dilation = one_a_dimension(dilation_, spatial, "dilation");
  for (int d = 0; d < spatial; ++d) {
    check(kernel[d] > 0, ErrorKind::Runtime, "kernel size should be greater than zero, but got {}",
          shown(kernel));
    check(stride[d] > 0, ErrorKind::Runtime, "stride should be greater than zero, but got {}",
          shown(stride));
    check(dilation[d] > 0, ErrorKind::Runtime, "dilation should be greater than zero, but got {}",
          shown(dilation));
    const int64_t reach = dilation[d] * (kernel[d] - 1) + 1;
    check(padding[d] >= 0 && padding[d] <= reach / 2, ErrorKind::Runtime,
          "pad should be at most half of effective kernel size, but got pad={}, kernel_size={} and "
          "dilation={}",
          padding[d], kernel[d], dilation[d]);
    const int64_t n = input[d], whole = n + 2 * padding[d] + (ceil_mode ? stride[d] - 1 : 0);
    int64_t count = window_count(whole, reach, stride[d]);
    // The last window must begin inside the input or the padding before it.
    if (ceil_mode && (count - 1) * stride[d] >= n + padding[d]) --count;
    extents.push_back(count);
    overhang.push_back((count - 1) * stride[d] + reach - n - padding[d]);
  }
  check(std::ranges::all_of(extents, [](int64_t n) { return n >= 1; }), ErrorKind::Runtime,
        "{}: Given input size: {}. Calculated output size: {}. Output size is too small",
        current_operation(), shown(input), shown(extents));
}

bool Windows::is_partition() const {
  for (int d = 0; d < spatial(); ++d) {
    if (kernel[d] != stride[d] || padding[d] > 0 || overhang[d] > 0) return false;
    if (dilation[d] != 1 && kernel[d] > 1) return false;
  }
  return true;
}

int64_t Windows::size() const {
  int64_t n = 1;
  for (int64_t extent : kernel) n *= extent;
  return n;
}

bool Windows::is_padded(std::span<const int64_t> axes) const {
  return std::ranges::any_of(axes, [&](int64_t d) { return padding[d] > 0 || overhang[d] > 0; });
}

std::vector<Dims> Windows::stages() const {
  constexpr int64_t kLargestWindow = 32;  // of slices combined in one expression
  std::vector<Dims> result(1);
  for (int d = 0; d < spatial(); ++d) result[0].push_back(d);
  if (size() <= kLargestWindow) return result;
  result.clear();
  for (int d = spatial(); d-- > 0;) result.push_back({d});
  return result;
}

std::vector<Dims> Windows::positions(std::span<const int64_t> axes) const {
  int64_t count = 1;
  for (int64_t d : axes) count *= kernel[d];
  std::vector<Dims> result;
  for (int64_t k = 0; k < count; ++k) {
    Dims position(axes.size());
    int64_t rest = k;
    for (size_t i = axes.size(); i-- > 0;) {
      position[i] = rest % kernel[axes[i]];
      rest /= kernel[axes[i]];
    }
    result.push_back(position);
  }
  return result;
}

std::vector<Value> Windows::shifted(Value x, Value fill, std::span<const int64_t> axes) const {
  const int r = rank(x), first = r - spatial();
  if (is_padded(axes)) {
    Dims low(r, 0), high(r, 0), none(r, 0);
    for (int64_t d : axes) {
      low[first + d] = padding[d];
      high[first + d] = std::max<int64_t>(overhang[d], 0);
    }
    x = ops::pad(x, fill, low, high, none);
  }
  Dims box(dims(x)), steps(r, 1), starts(r, 0);
  for (int64_t d : axes) {
    box[first + d] = extents[d];
    steps[first + d] = stride[d];
  }
  std::vector<Value> parts;
  for (const Dims& position : positions(axes)) {
    for (size_t i = 0; i < axes.size(); ++i) {
      starts[first + axes[i]] = position[i] * dilation[axes[i]];
    }
    parts.push_back(ops::slice(x, starts, steps, box));
  }
  return parts;
}

Value Windows::split(Value x) const {
  const int first = rank(x) - spatial();
  Dims box(dims(x).first(first)), parts(box);
  for (int d = 0; d < spatial(); ++d) {
    box.push_back(extents[d] * kernel[d]);
    parts.push_back(extents[d]);
    parts.push_back(kernel[d]);
  }
  if (!std::ranges::equal(box, dims(x))) {
    x = ops::slice(x, Dims(rank(x), 0), Dims(rank(x), 1), box);
  }
  return ops::reshape(x, parts);
}

Dims Windows::split_axes(int rank) const {
  Dims axes;
  for (int d = 0; d < spatial(); ++d) axes.push_back(rank - spatial() + 2 * d + 1);
  return axes;
}

void check_adaptive_rank(Value input, const IntList& output_size) {
  const auto least = static_cast<int64_t>(output_size.size()) + 1;
  check(least == 2 || rank(input) >= least, ErrorKind::Value,
        "Input dimension should be at least {}", least);
}

Dims adaptive_size(Value input, int spatial, const IntList& output_size) {
  Dims size = one_a_dimension(output_size, spatial, "output_size");
  const auto extents = dims(input).last(static_cast<size_t>(spatial));
  for (int d = 0; d < spatial; ++d) {
    check(extents[d] > 0, ErrorKind::Runtime,
          "{}(): Expected input to have non-zero size for non-batch dimensions, but input has "
          "sizes {}",
          current_operation(), shown(dims(input)));
    if (size[d] == kUnchanged) size[d] = extents[d];
    check(size[d] >= 0, ErrorKind::Runtime,
          "{}: elements of output_size must be greater than or equal to 0, but received {}",
          current_operation(), shown(size));
  }
  return size;
}

std::optional<Windows> equal_windows(std::span<const int64_t> extents,
                                     std::span<const int64_t> output_size) {
  Dims kernel;
  for (size_t d = 0; d < extents.size(); ++d) {
    if (output_size[d] == 0 || extents[d] % output_size[d] != 0) return std::nullopt;
    kernel.push_back(extents[d] / output_size[d]);
  }
  return Windows(static_cast<int>(extents.size()), extents, kernel, std::nullopt, 0, 1, false);
}

AdaptiveWindows::AdaptiveWindows(int64_t n, int64_t m) {
  const auto number = [](int64_t value) { return ops::scalar(value, DType::Int64); };
  const auto divided = [&](Value a) { return ops::binary(Op::FloorDiv, a, number(m)); };
  const Value i = ops::iota({{m}}, 0);
  first = divided(i * number(n));
  end = divided((i + number(1)) * number(n) + number(m - 1));
  int64_t size = 0;
  for (int64_t k = 0; k < m; ++k) size = std::max(size, ((k + 1) * n + m - 1) / m - k * n / m);
  for (int64_t k = 0; k < size; ++k) {
    at.push_back(ops::binary(Op::Minimum, first + number(k), end - number(1)));
  }
}

}  // namespace tenon::values
