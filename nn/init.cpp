#include "nn/init.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "generated/functions.h"

namespace tenon::nn::init {

namespace {

// Records the write without derivatives, then computes it.
template <class Fill>
Tensor fill_now(const Tensor& tensor, Fill&& fill) {
  {
    const GradMode no_grad(false);
    fill();
  }
  if (tensor.device().kind != Device::Kind::Meta) tensor.evaluate();
  return tensor;
}

double fan(const Tensor& tensor, std::string_view mode) {
  check(mode == "fan_in" || mode == "fan_out", ErrorKind::Value,
        "Mode {} not supported, please use one of ['fan_in', 'fan_out']", mode);
  const auto [in, out] = calculate_fans(tensor);
  return static_cast<double>(mode == "fan_in" ? in : out);
}

double xavier_std(const Tensor& tensor, double gain) {
  const auto [in, out] = calculate_fans(tensor);
  return gain * std::sqrt(2.0 / static_cast<double>(in + out));
}

double kaiming_std(const Tensor& tensor, double a, std::string_view mode,
                   std::string_view nonlinearity) {
  return calculate_gain(nonlinearity, a) / std::sqrt(fan(tensor, mode));
}

double normal_cdf(double x) { return (1 + std::erf(x / std::sqrt(2.0))) / 2; }

}  // namespace

Tensor zeros_(const Tensor& tensor) { return constant_(tensor, 0); }
Tensor ones_(const Tensor& tensor) { return constant_(tensor, 1); }

Tensor constant_(const Tensor& tensor, double value) {
  return fill_now(tensor, [&] { tenon::fill_(tensor, value); });
}

Tensor eye_(const Tensor& tensor) {
  check(tensor.rank() == 2, ErrorKind::Value, "Only tensors with 2 dimensions are supported");
  return fill_now(tensor, [&] {
    tenon::copy_(tensor, tenon::eye(tensor.size(0), tensor.size(1), tensor.dtype()));
  });
}

Tensor uniform_(const Tensor& tensor, double a, double b) {
  return fill_now(tensor, [&] { tenon::uniform_(tensor, a, b); });
}

Tensor normal_(const Tensor& tensor, double mean, double std) {
  return fill_now(tensor, [&] { tenon::normal_fill_(tensor, mean, std); });
}

Tensor trunc_normal_(const Tensor& tensor, double mean, double std, double a, double b) {
  const double low = 2 * normal_cdf((a - mean) / std) - 1;
  const double high = 2 * normal_cdf((b - mean) / std) - 1;
  return fill_now(tensor, [&] {
    tenon::uniform_(tensor, low, high);
    Tensor x = tenon::add(tenon::mul(tenon::erfinv(tensor), std * std::sqrt(2.0)), mean);
    tenon::copy_(tensor, tenon::clamp(x, a, b));
  });
}

Tensor xavier_uniform_(const Tensor& tensor, double gain) {
  const double bound = std::sqrt(3.0) * xavier_std(tensor, gain);
  return init::uniform_(tensor, -bound, bound);
}

Tensor xavier_normal_(const Tensor& tensor, double gain) {
  return normal_(tensor, 0, xavier_std(tensor, gain));
}

Tensor kaiming_uniform_(const Tensor& tensor, double a, std::string_view mode,
                        std::string_view nonlinearity) {
  if (tensor.numel() == 0) return tensor;
  const double bound = std::sqrt(3.0) * kaiming_std(tensor, a, mode, nonlinearity);
  return init::uniform_(tensor, -bound, bound);
}

Tensor kaiming_normal_(const Tensor& tensor, double a, std::string_view mode,
                       std::string_view nonlinearity) {
  if (tensor.numel() == 0) return tensor;
  return normal_(tensor, 0, kaiming_std(tensor, a, mode, nonlinearity));
}

Tensor fan_in_uniform_(const Tensor& tensor, const Tensor& weight) {
  const double in = fan(weight, "fan_in");
  const double bound = in > 0 ? 1 / std::sqrt(in) : 0;
  return init::uniform_(tensor, -bound, bound);
}

Tensor zero_row_(const Tensor& tensor, int64_t row) {
  return fill_now(tensor, [&] { tenon::fill_(tenon::select(tensor, 0, row), 0); });
}

double calculate_gain(std::string_view nonlinearity, double param) {
  constexpr std::array<std::string_view, 8> kLinear{
      "linear",           "conv1d",           "conv2d",           "conv3d",
      "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"};
  if (std::ranges::find(kLinear, nonlinearity) != kLinear.end()) return 1;
  if (nonlinearity == "tanh") return 5.0 / 3;
  if (nonlinearity == "relu") return std::sqrt(2.0);
  if (nonlinearity == "leaky_relu") return std::sqrt(2.0 / (1 + param * param));
  if (nonlinearity == "selu") return 3.0 / 4;  // found empirically, as PyTorch says
  fail(ErrorKind::Value, "Unsupported nonlinearity {}", nonlinearity);
}

std::pair<int64_t, int64_t> calculate_fans(const Tensor& tensor) {
  check(tensor.rank() >= 2, ErrorKind::Value,
        "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions");
  int64_t field = 1;
  for (int d = 2; d < tensor.rank(); ++d) field *= tensor.dims()[d];
  return {tensor.size(1) * field, tensor.size(0) * field};
}

}  // namespace tenon::nn::init
