// Fourier transforms (spec/ops/fft.toml), all of the one primitive: complex rows, along the last
// axis. What real transforms leave out, because it is conjugate to what they give, is put back.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/routine.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

using Size = std::optional<IntList>;
using Norm = std::optional<std::string_view>;

// Integers as the default dtype; half types have no transform.
Value transformable(Value x) {
  x = as_floating(x);
  const DType real = is_complex(dtype(x)) ? real_dtype(dtype(x)) : dtype(x);
  check(real == DType::Float32 || real == DType::Float64, ErrorKind::Runtime,
        "{}: Unsupported dtype {}", current_operation(), name_of(dtype(x)));
  return x;
}
Value as_complex(Value x) {
  x = transformable(x);
  return is_complex(dtype(x)) ? x : ops::cast(x, complex_dtype(dtype(x)));
}
Value as_real_input(Value x) {
  check(!is_complex(dtype(x)), ErrorKind::Runtime, "{} expects a real input tensor, but got {}",
        current_operation(), name_of(dtype(x)));
  return transformable(x);
}

// The factor of a transform of so many points in all: by default, inverse ones are divided.
double factor_of(Norm norm, double points, bool inverse) {
  const std::string_view name = norm.value_or("backward");
  if (name == "ortho") return 1 / std::sqrt(points);
  check(name == "forward" || name == "backward", ErrorKind::Runtime,
        "Invalid normalization mode: \"{}\"", name);
  return (name == "forward") != inverse ? 1 / points : 1;
}

Value scaled(Value x, double factor) {
  if (factor == 1) return x;
  const auto by = [&](Value part) { return part * ops::scalar(factor, dtype(part)); };
  if (!is_complex(dtype(x))) return by(x);
  const ops::Parts z = ops::parts(x);
  return ops::complex(by(z.re), by(z.im));
}

// Zeros appended, or elements left out at the end, so that the axis has n.
Value resized(Value x, int64_t axis, int64_t n) {
  check(n >= 1, ErrorKind::Runtime, "Invalid number of data points ({}) specified", n);
  const int64_t have = dims(x)[axis];
  if (n <= have) return ops::slice_axis(x, axis, 0, n);
  Dims none(rank(x), 0), high(rank(x), 0);
  high[axis] = n - have;
  return ops::pad(x, ops::literal_like(x, 0), none, high, none);
}

struct Shape {
  Dims axes, sizes;  // -1: as the input has it
};

// PyTorch's rule: dims default to the last of s, or all; s to the input's extents.
Shape shape_of(Value x, const Size& s, const Size& dim) {
  Shape shape;
  if (dim) {
    check(dim->empty() || rank(x) > 0, ErrorKind::Index,
          "Dimension specified as {} but tensor has no dimensions", dim->empty() ? 0 : (*dim)[0]);
    for (int64_t d : *dim) shape.axes.push_back(normalize_dim(d, rank(x)));
    Dims sorted(shape.axes);
    std::ranges::sort(sorted);
    check(std::ranges::adjacent_find(sorted) == sorted.end(), ErrorKind::Runtime,
          "FFT dims must be unique");
    check(!s || s->size() == dim->size(), ErrorKind::Runtime,
          "When given, dim and shape arguments must have the same length");
  } else if (s) {
    check(static_cast<int>(s->size()) <= rank(x), ErrorKind::Runtime,
          "Got shape with {} values but input tensor only has {} dimensions.", s->size(), rank(x));
    for (int64_t i = rank(x) - static_cast<int64_t>(s->size()); i < rank(x); ++i) {
      shape.axes.push_back(i);
    }
  } else {
    shape.axes = all_dims(rank(x));
  }
  for (size_t i = 0; i < shape.axes.size(); ++i) shape.sizes.push_back(s ? (*s)[i] : -1);
  return shape;
}

Shape one_axis(Value x, std::optional<int64_t> n, int64_t dim) {
  check(rank(x) > 0, ErrorKind::Index, "Dimension specified as {} but tensor has no dimensions",
        dim);
  return {{normalize_dim(dim, rank(x))}, {n.value_or(-1)}};
}

Value along(Value x, int64_t axis, bool inverse) {
  const int64_t last = rank(x) - 1;
  return ops::move_axis(ops::fft(ops::move_axis(x, axis, last), inverse), last, axis);
}

// Complex to complex over all axes, unscaled.
Value transformed(Value x, const Shape& shape, bool inverse) {
  for (size_t i = 0; i < shape.axes.size(); ++i) {
    const int64_t axis = shape.axes[i], n = shape.sizes[i];
    x = resized(x, axis, n == -1 ? dims(x)[axis] : n);
  }
  for (size_t i = shape.axes.size(); i-- > 0;) x = along(x, shape.axes[i], inverse);
  return x;
}

double points_of(Value x, const Dims& axes) {
  double points = 1;
  for (int64_t axis : axes) points *= static_cast<double>(dims(x)[axis]);
  return points;
}

Value complex_to_complex(Value input, const Shape& shape, Norm norm, bool inverse) {
  const Value y = transformed(as_complex(input), shape, inverse);
  return scaled(y, factor_of(norm, points_of(y, shape.axes), inverse));
}

Shape without_last(const Shape& shape) {
  Shape rest = shape;
  rest.axes.pop_back(), rest.sizes.pop_back();
  return rest;
}

// The half of the last axis that is not conjugate to the other.
Value real_to_complex(Value input, const Shape& shape, Norm norm, bool inverse) {
  check(!shape.axes.empty(), ErrorKind::Runtime, "{} must transform at least one axis",
        current_operation());
  Value x = as_real_input(input);
  const int64_t axis = shape.axes.back();
  const int64_t n = shape.sizes.back() == -1 ? dims(x)[axis] : shape.sizes.back();
  x = resized(x, axis, n);
  x = along(ops::cast(x, complex_dtype(dtype(x))), axis, inverse);
  x = ops::slice_axis(x, axis, 0, n / 2 + 1);
  const Shape rest = without_last(shape);
  x = transformed(x, rest, inverse);
  const double points = points_of(x, rest.axes) * static_cast<double>(n);
  return scaled(x, factor_of(norm, points, inverse));
}

// From that half, n points; what is imaginary in places of their own conjugate is left out.
Value complex_to_real(Value input, const Shape& shape, Norm norm, bool inverse) {
  check(!shape.axes.empty(), ErrorKind::Runtime, "{} must transform at least one axis",
        current_operation());
  const Shape rest = without_last(shape);
  Value x = transformed(as_complex(input), rest, inverse);
  const int64_t axis = shape.axes.back();
  const int64_t n = shape.sizes.back() == -1 ? 2 * (dims(x)[axis] - 1) : shape.sizes.back();
  check(n >= 1, ErrorKind::Runtime, "Invalid number of data points ({}) specified", n);
  x = resized(x, axis, n / 2 + 1);
  const int64_t mirrored = (n - 1) / 2;
  if (mirrored > 0) {
    const Value conjugate = ops::conj(ops::flip(ops::slice_axis(x, axis, 1, mirrored), axis));
    const Value halves[] = {x, conjugate};
    x = ops::concatenate(halves, axis);
  }
  const double points = points_of(x, rest.axes) * static_cast<double>(n);
  return scaled(ops::part(along(x, axis, inverse), 0), factor_of(norm, points, inverse));
}

}  // namespace

#define TENON_FFT(name, name2, namen, transform, inverse)                       \
  Value fft_##name(Value x, std::optional<int64_t> n, int64_t dim, Norm norm) { \
    return transform(x, one_axis(x, n, dim), norm, inverse);                    \
  }                                                                             \
  Value fft_##name2(Value x, const Size& s, const IntList& dim, Norm norm) {    \
    return transform(x, shape_of(x, s, dim), norm, inverse);                    \
  }                                                                             \
  Value fft_##namen(Value x, const Size& s, const Size& dim, Norm norm) {       \
    return transform(x, shape_of(x, s, dim), norm, inverse);                    \
  }
TENON_FFT(fft, fft2, fftn, complex_to_complex, false)
TENON_FFT(ifft, ifft2, ifftn, complex_to_complex, true)
TENON_FFT(rfft, rfft2, rfftn, real_to_complex, false)
TENON_FFT(irfft, irfft2, irfftn, complex_to_real, true)
TENON_FFT(hfft, hfft2, hfftn, complex_to_real, false)
TENON_FFT(ihfft, ihfft2, ihfftn, real_to_complex, true)
#undef TENON_FFT

Value fft_fftshift(Value x, const Size& dim) {
  const Dims axes = normalize_dims(dim, rank(x));
  Dims shifts;
  for (int64_t axis : axes) shifts.push_back(dims(x)[axis] / 2);
  return axes.empty() ? x : roll(x, shifts, axes);
}

Value fft_ifftshift(Value x, const Size& dim) {
  const Dims axes = normalize_dims(dim, rank(x));
  Dims shifts;
  for (int64_t axis : axes) shifts.push_back((dims(x)[axis] + 1) / 2);
  return axes.empty() ? x : roll(x, shifts, axes);
}

// ---- short-time transforms
// -------------------------------------------------------------------------

namespace {

// Which element of the signal each place of each frame shows: [frames, points].
Value frame_index(int64_t frames, int64_t points, int64_t hop) {
  const Dims extents{frames, points};
  return ops::iota(extents, 0) * ops::scalar(hop, DType::Int64) + ops::iota(extents, 1);
}

// A window of win_length in the middle of n_fft points; ones where none is given.
Value centred_window(Value window, int64_t win_length, int64_t n_fft, DType dtype) {
  Value w = window ? ops::cast(window, dtype) : ops::full(Dims{win_length}, ops::literal(1, dtype));
  const int64_t left = (n_fft - win_length) / 2;
  const int64_t low[] = {left}, high[] = {n_fft - win_length - left}, none[] = {0};
  return ops::pad(w, ops::literal_like(w, 0), low, high, none);
}

// Frames [batch, frames, n] added where they stand in the signal.
Value overlapped(Value frames, int64_t hop) {
  const int64_t count = dims(frames)[1], n = dims(frames)[2];
  const int64_t length = n + hop * (count - 1);
  const Value zero = ops::full(Dims{dims(frames)[0], length}, ops::literal_like(frames, 0));
  return ops::scatter_add(zero, frame_index(count, n, hop), frames, 1);
}

void check_window(Value window, int64_t win_length) {
  check(!window || (rank(window) == 1 && dims(window)[0] == win_length), ErrorKind::Runtime,
        "{}: expected a 1D window tensor of size equal to win_length={}", current_operation(),
        win_length);
}

}  // namespace

Value stft(Value input, int64_t n_fft, std::optional<int64_t> hop_length,
           std::optional<int64_t> win_length, Value window, bool center, std::string_view pad_mode,
           bool normalized, std::optional<bool> onesided, std::optional<bool> return_complex) {
  check(is_floating(dtype(input)) || is_complex(dtype(input)), ErrorKind::NotImplemented,
        "stft: expected a tensor of floating point or complex values");
  check(rank(input) == 1 || rank(input) == 2, ErrorKind::Runtime,
        "stft: expected a 1D or 2D tensor");
  const bool is_complex_signal = is_complex(dtype(input)) || (window && is_complex(dtype(window)));
  const bool as_parts = return_complex && !*return_complex;
  check(return_complex.has_value() || is_complex_signal, ErrorKind::Runtime,
        "stft requires the return_complex parameter be given for real inputs, and will further "
        "require that return_complex=True in a future PyTorch release.");
  Value x = rank(input) == 1 ? ops::unsqueeze(input, 0) : input;
  if (center) {
    const int64_t amount = n_fft / 2;
    const Value three = ops::unsqueeze(x, 1);
    x = ops::reshape(pad(three, IntList{amount, amount}, pad_mode, std::nullopt),
                     Dims{dims(x)[0], dims(x)[1] + 2 * amount});
  }
  const int64_t hop = hop_length.value_or(n_fft / 4), width = win_length.value_or(n_fft);
  const int64_t length = dims(x)[1];
  check(n_fft > 0 && n_fft <= length, ErrorKind::Runtime,
        "stft: expected 0 < n_fft < {}, but got n_fft={}", length, n_fft);
  check(hop > 0, ErrorKind::Runtime, "stft: expected hop_length > 0, but got hop_length={}", hop);
  check(width > 0 && width <= n_fft, ErrorKind::Runtime,
        "stft: expected 0 < win_length <= n_fft, but got win_length={}", width);
  check_window(window, width);
  const int64_t frames = 1 + (length - n_fft) / hop;
  const DType part = is_complex(dtype(x)) ? real_dtype(dtype(x)) : dtype(x);
  Value framed = ops::gather(x, frame_index(frames, n_fft, hop), 1);
  if (window || width < n_fft) {
    const Value w = centred_window(
        window, width, n_fft, window && is_complex(dtype(window)) ? complex_dtype(part) : part);
    framed = ops::cast(framed, is_complex_signal ? complex_dtype(part) : part) *
             ops::cast(w, is_complex_signal ? complex_dtype(part) : part);
  }
  const bool is_onesided = onesided.value_or(!is_complex_signal);
  check(!is_onesided || !is_complex_signal, ErrorKind::Runtime,
        "Cannot have onesided output if window or input is complex");
  const Norm norm = normalized ? Norm("ortho") : std::nullopt;
  Value y = is_onesided ? fft_rfft(framed, std::nullopt, -1, norm)
                        : fft_fft(framed, std::nullopt, -1, norm);
  y = ops::move_axis(y, 2, 1);
  if (rank(input) == 1) y = ops::reshape(y, dims(y).subspan(1));
  return as_parts ? ops::view_as_real(y) : y;
}

}  // namespace tenon::values

namespace tenon {

// That windows cover the signal is known from their values alone: it is read.
Tensor istft(const Tensor& input, int64_t n_fft, std::optional<int64_t> hop_length,
             std::optional<int64_t> win_length, const Tensor& window, bool center, bool normalized,
             std::optional<bool> onesided, std::optional<int64_t> length, bool return_complex) {
  using namespace values;
  const int64_t hop = hop_length.value_or(n_fft / 4), width = win_length.value_or(n_fft);
  check(is_complex(input.dtype()), ErrorKind::Runtime,
        "istft requires a complex-valued input tensor matching the output from stft with "
        "return_complex=True.");
  check(input.rank() == 2 || input.rank() == 3, ErrorKind::Runtime,
        "istft: expected a tensor with 2 or 3 dimensions, but got {}", input.rank());
  check(input.numel() > 0, ErrorKind::Runtime, "istft: input tensor cannot be empty.");
  check(hop > 0 && hop <= width, ErrorKind::Runtime,
        "istft: expected 0 < hop_length <= win_length");
  check(width > 0 && width <= n_fft, ErrorKind::Runtime, "istft: expected 0 < win_length <= n_fft");
  const int64_t bins = input.size(-2), frames = input.size(-1);
  const bool is_onesided = onesided.value_or(bins != n_fft);
  check(bins == (is_onesided ? n_fft / 2 + 1 : n_fft), ErrorKind::Runtime,
        "istft: expected the frequency dimension (3rd to the last) of the input tensor to match "
        "n_fft / 2 + 1 when onesided=True, or n_fft, but got {}",
        bins);
  check(!(return_complex && is_onesided), ErrorKind::Runtime,
        "istft: cannot have onesided output if window or input is complex");
  const bool is_complex_window = window.defined() && is_complex(window.dtype());
  const DType part = is_complex_window ? input.dtype() : real_dtype(input.dtype());
  const int64_t whole = n_fft + hop * (frames - 1);
  const int64_t start = center ? n_fft / 2 : 0;
  const int64_t end = length ? std::min(start + *length, whole) : whole - (center ? n_fft / 2 : 0);
  const auto window_value = [&](OpScope& scope) {
    const Value w = window.defined() ? scope.use(window) : Value{};
    check_window(w, width);
    return centred_window(w, width, n_fft, part);
  };
  const auto envelope_of = [&](Value w) {
    const Value squares = ops::expand(w * w, Dims{1, frames, n_fft});
    return ops::slice_axis(overlapped(squares, hop), 1, start, end - start);
  };
  check(end > start, ErrorKind::Runtime, "istft: the signal has no length");
  Tensor least;
  {
    OpScope scope("istft");
    const Value envelope = envelope_of(ops::stop_gradient(window_value(scope)));
    const int64_t axes[] = {0, 1};
    least = scope.result(ops::reduce(Op::ReduceMin, ops::magnitude(envelope), axes));
  }
  check(!(least.item_double() < 1e-11), ErrorKind::Runtime,  // NaN leaves nothing out
        "istft: window overlap add min: 1 (a window that leaves places of the signal out)");
  OpScope scope("istft");
  Value x = scope.use(input);
  if (input.rank() == 2) x = ops::unsqueeze(x, 0);
  x = ops::move_axis(x, 1, 2);
  const std::optional<std::string_view> norm =
      normalized ? std::optional<std::string_view>("ortho") : std::nullopt;
  if (!is_onesided && !return_complex) x = ops::slice_axis(x, 2, 0, n_fft / 2 + 1);
  Value signal =
      return_complex ? fft_ifft(x, std::nullopt, -1, norm) : fft_irfft(x, n_fft, -1, norm);
  const Value w = window_value(scope);
  signal = signal * ops::cast(w, dtype(signal));
  signal = ops::slice_axis(overlapped(signal, hop), 1, start, end - start);
  signal = signal / ops::cast(envelope_of(w), dtype(signal));
  if (length && end - start < *length) {
    const int64_t none[] = {0, 0}, high[] = {0, *length - (end - start)};
    signal = ops::pad(signal, ops::literal_like(signal, 0), none, high, none);
  }
  if (input.rank() == 2) signal = ops::reshape(signal, dims(signal).subspan(1));
  return scope.result(signal);
}

}  // namespace tenon
