// GFLOP/s of convolutions of float32 by oneDNN and by products of weights and patches, forward and
// both gradients: what the table of kernels/direct_convolution.cpp chooses between.
//
//   ninja -C build benchmarks/benchmark_convolution && build/benchmarks/benchmark_convolution
//   [threads]
//
// oneDNN from and to plain memory, and where channels lie last. The last column is what the table
// takes. Both agree to rounding, and not to the bit: that is why
// the choice is a table of shapes and no measurement at run time.
#include "kernels/convolution.h"

#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "benchmarks/timing.h"
#include "core/threads.h"
#include "kernels/direct_convolution.h"

using namespace tenon;
using namespace tenon::kernels;

namespace {

struct Case {
  std::int64_t batch, in_channels, out_channels, extent, kernel, stride, low;
};

constexpr Case kCases[] = {
    {64, 1, 32, 28, 3, 1, 1},    // a convnet on MNIST
    {64, 32, 64, 14, 3, 1, 1},   //
    {8, 3, 64, 64, 7, 2, 3},     // ResNet-18 on 64 x 64, from here on
    {8, 64, 64, 16, 3, 1, 1},    //
    {8, 64, 128, 16, 3, 2, 1},   //
    {8, 128, 128, 8, 3, 1, 1},   //
    {8, 128, 128, 7, 3, 1, 1},   // planes about the limit
    {8, 128, 128, 6, 3, 1, 1},   //
    {8, 256, 256, 4, 3, 1, 1},   //
    {8, 512, 512, 2, 3, 1, 1},   //
    {8, 64, 128, 16, 1, 2, 0},   // a shortcut
    {1, 256, 256, 28, 3, 1, 1},  // one image
    {1, 512, 512, 14, 3, 1, 1},  // a large weight
};
constexpr const char* kRoles[] = {"input", "weight", "output"};

std::vector<float> filled(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7 % 13) / 13.0f - 0.5f;
  }
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  set_num_threads(argc > 1 ? std::atoi(argv[1]) : num_threads());
  fmt::print("{:>36}{:>8}{:>9}{:>15}{:>9}  {}\n", "images, channels, extent, kernel", "of",
             "oneDNN", "channels last", "patches", "taken");
  for (const Case& c : kCases) {
    ConvolutionShape s;
    s.batch = c.batch, s.in_channels = c.in_channels, s.out_channels = c.out_channels;
    const std::int64_t out = (c.extent + 2 * c.low - c.kernel) / c.stride + 1;
    s.input = {1, c.extent, c.extent}, s.kernel = {1, c.kernel, c.kernel}, s.output = {1, out, out};
    s.stride = {1, c.stride, c.stride}, s.low = {0, c.low, c.low};
    const std::vector<float> x = filled(c.batch * c.in_channels * c.extent * c.extent);
    const std::vector<float> w = filled(c.in_channels * c.out_channels * c.kernel * c.kernel);
    const std::vector<float> y = filled(c.batch * c.out_channels * out * out);
    const std::vector<float>* operands[] = {&x, &w, &y};
    const double flops =
        2.0 * static_cast<double>(y.size() * w.size()) / static_cast<double>(c.out_channels);
    for (int r = 0; r < 3; ++r) {
      const auto role = static_cast<ConvolutionRole>(r);
      const float* a = operands[r == 0 ? 1 : 0]->data();
      const float* b = operands[r == 2 ? 1 : 2]->data();
      std::vector<float> result(operands[r]->size());
      const ConvolutionLayout last{true, true};
      const bool can = convolve_directly(role, DType::Float32, s, {}, a, b, result.data(), false);
      const bool taken = convolve_directly(role, DType::Float32, s, {}, a, b, result.data());
      const auto rate = [&](auto&& run) { return flops / benchmarks::measure(run).best / 1e9; };
      const double direct = can ? rate([&] {
        convolve_directly(role, DType::Float32, s, {}, a, b, result.data(), false);
      })
                                : 0.0;
      const double in_place = can ? rate([&] {
        convolve_directly(role, DType::Float32, s, last, a, b, result.data(), false);
      })
                                  : 0.0;
      const double patches = rate([&] { convolve_by_patches(role, s, a, b, result.data()); });
      fmt::print("{:>36}{:>8}{:>9.1f}{:>15.1f}{:>9.1f}  {}\n",
                 fmt::format("{} of {} to {}, {}, {}/{}", c.batch, c.in_channels, c.out_channels,
                             c.extent, c.kernel, c.stride),
                 kRoles[r], direct, in_place, patches, taken ? "oneDNN" : "patches");
    }
  }
}
