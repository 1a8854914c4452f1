#include "kernels/convolution.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/threads.h"
#include "kernels/direct_convolution.h"
#include "kernels/gemm.h"
#include "tests/convolution_terms.h"

using namespace tenon;
using kernels::ConvolutionRole;
using kernels::ConvolutionShape;

namespace {

struct Case {
  ConvolutionShape shape;
  std::vector<int64_t> dims[3];
  std::vector<float> data[3];

  Case(ConvolutionShape s, unsigned seed) : shape(s) {
    dims[0] = {s.batch, s.groups * s.in_channels, s.input[0], s.input[1], s.input[2]};
    dims[1] = {s.groups * s.out_channels, s.in_channels, s.kernel[0], s.kernel[1], s.kernel[2]};
    dims[2] = {s.batch, s.groups * s.out_channels, s.output[0], s.output[1], s.output[2]};
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> values(-1, 1);
    for (int r = 0; r < 3; ++r) {
      int64_t n = 1;
      for (int64_t dim : dims[r]) n *= dim;
      data[r].resize(static_cast<size_t>(n));
      for (float& x : data[r]) x = values(random);
    }
  }

  const float* operand(int role, int k) const {
    return data[k == 0 ? (role == 0 ? 1 : 0) : (role == 2 ? 1 : 2)].data();
  }

  std::vector<float> run(int role) const {
    std::vector<float> result(data[role].size(), std::nanf(""));
    kernels::convolve(static_cast<ConvolutionRole>(role), DType::Float32, shape, {},
                      operand(role, 0), operand(role, 1), result.data());
    return result;
  }

  // The same from and to memory in which channels lie last, brought back.
  std::vector<float> run_channels_last(int role, kernels::ConvolutionLayout layout) const {
    const bool is_last[] = {layout.x_last, false, layout.y_last};
    const auto moved = [&](int r, const std::vector<float>& from, bool back) {
      std::vector<float> to(from.size());
      const int64_t channels = dims[r][1], positions = dims[r][2] * dims[r][3] * dims[r][4];
      for (size_t i = 0; is_last[r] && i < from.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const int64_t image = at / (channels * positions), c = at / positions % channels;
        const auto last = static_cast<size_t>((image * positions + at % positions) * channels + c);
        (back ? to[i] : to[last]) = back ? from[last] : from[i];
      }
      return is_last[r] ? to : from;
    };
    const int a = role == 0 ? 1 : 0, b = role == 2 ? 1 : 2;
    std::vector<float> result(data[role].size(), std::nanf(""));
    kernels::convolve(static_cast<ConvolutionRole>(role), DType::Float32, shape, layout,
                      moved(a, data[a], false).data(), moved(b, data[b], false).data(),
                      result.data());
    return moved(role, result, true);
  }

  std::vector<double> expected(int role) const {
    std::vector<double> result(data[role].size());
    std::vector<int64_t> sizes{shape.groups};
    for (const auto* list : {&shape.stride, &shape.low, &shape.dilation}) {
      sizes.insert(sizes.end(), list->begin(), list->end());
    }
    test::for_each_convolution_term(
        dims[0], dims[1], dims[2], sizes, [&](int64_t x, int64_t w, int64_t y) {
          const int64_t at[] = {x, w, y};
          const int a = role == 0 ? 1 : 0, b = role == 2 ? 1 : 2;
          result[static_cast<size_t>(at[role])] +=
              double{data[a][static_cast<size_t>(at[a])]} * data[b][static_cast<size_t>(at[b])];
        });
    return result;
  }
};

}  // namespace

TEST_CASE("convolutions by oneDNN and by patches against their terms") {
  const auto flat = [](int64_t h, int64_t w) { return ConvolutionShape::Spatial{1, h, w}; };
  std::vector<ConvolutionShape> shapes;
  // batch, groups, channels in and out of a group, input, kernel, output, stride, low, dilation
  for (int64_t batch : {1, 3, 17}) {
    shapes.push_back({batch,
                      1,
                      3,
                      16,
                      flat(20, 17),
                      flat(7, 7),
                      flat(10, 9),
                      flat(2, 2),
                      {0, 3, 3},
                      flat(1, 1)});
    shapes.push_back(
        {batch, 2, 8, 5, flat(9, 11), flat(3, 2), flat(9, 9), flat(1, 1), {0, 2, 0}, flat(2, 2)});
    shapes.push_back(
        {batch, 6, 1, 1, flat(9, 9), flat(3, 3), flat(9, 9), flat(1, 1), {0, 1, 1}, flat(1, 1)});
  }
  shapes.push_back({2, 1, 4, 3, {5, 6, 7}, {2, 3, 1}, {4, 4, 7}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}});
  shapes.push_back({2,
                    1,
                    16,
                    32,
                    flat(3, 3),
                    flat(3, 3),
                    flat(3, 3),
                    flat(1, 1),
                    {0, 1, 1},
                    flat(1, 1)});  // small: patches
  shapes.push_back({4,
                    1,
                    8,
                    8,
                    flat(4, 4),
                    flat(1, 1),
                    flat(4, 4),
                    flat(1, 1),
                    {0, 0, 0},
                    flat(1, 1)});  // pointwise
  // Asymmetric padding, and elements at the end that no window reaches.
  shapes.push_back(
      {2, 1, 4, 8, flat(11, 10), flat(2, 2), flat(11, 9), flat(1, 1), {0, 0, 0}, flat(1, 1)});
  shapes.push_back(
      {2, 1, 4, 8, flat(24, 24), flat(2, 2), flat(8, 8), flat(3, 3), {0, 1, 0}, flat(1, 1)});
  // Cut into slices of channels.
  shapes.push_back(
      {1, 1, 128, 256, flat(5, 4), flat(3, 3), flat(5, 4), flat(1, 1), {0, 1, 1}, flat(1, 1)});
  shapes.push_back(
      {9, 1, 40, 128, flat(4, 4), flat(3, 3), flat(2, 2), flat(2, 2), {0, 1, 1}, flat(1, 1)});
  unsigned seed = 1;
  for (const ConvolutionShape& shape : shapes) {
    const Case c(shape, seed++);
    for (int role = 0; role < 3; ++role) {
      CAPTURE(seed);
      CAPTURE(role);
      const std::vector<float> found = c.run(role);
      const std::vector<double> expected = c.expected(role);
      double error = 0, norm = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        error += (found[i] - expected[i]) * (found[i] - expected[i]);
        norm += expected[i] * expected[i];
      }
      CHECK(std::sqrt(error) <= 1e-6 * std::sqrt(norm));
      for (const kernels::ConvolutionLayout layout :
           {kernels::ConvolutionLayout{true, true}, kernels::ConvolutionLayout{true, false},
            kernels::ConvolutionLayout{false, true}}) {
        CHECK(c.run_channels_last(role, layout) == found);
      }
      const int before = num_threads();
      set_num_threads(1);
      CHECK(c.run(role) == found);
      set_num_threads(before);
    }
  }
}

TEST_CASE("a convolution's primitive is made once") {
  const Case c({4, 1, 3, 8, {1, 12, 12}, {1, 3, 3}, {1, 10, 10}}, 1);
  c.run(2);
  const auto made = kernels::counters().library_primitives;
  c.run(2);
  CHECK(kernels::counters().library_primitives == made);
}

TEST_CASE("half types round once") {
  for (const ConvolutionShape& shape :
       {ConvolutionShape{3, 1, 32, 64, {1, 6, 5}, {1, 3, 3}, {1, 6, 5}, {1, 1, 1}, {0, 1, 1}},
        ConvolutionShape{2, 4, 2, 3, {1, 7, 7}, {1, 3, 3}, {1, 3, 3}, {1, 2, 2}, {0, 0, 0}},
        ConvolutionShape{9, 1, 3, 128, {1, 1, 20}, {1, 1, 5}, {1, 1, 16}}}) {
    Case c(shape, 5);
    std::vector<bfloat16> half[3];
    for (int r = 0; r < 3; ++r) {
      for (float& x : c.data[r]) {
        half[r].push_back(x);
        x = half[r].back();
      }
    }
    for (int role = 0; role < 3; ++role) {
      CAPTURE(role);
      const std::vector<double> expected = c.expected(role);
      std::vector<bfloat16> found(expected.size());
      kernels::convolve(static_cast<ConvolutionRole>(role), DType::BFloat16, shape, {},
                        half[role == 0 ? 1 : 0].data(), half[role == 2 ? 1 : 2].data(),
                        found.data());
      double largest = 0;
      for (double x : expected) largest = std::max(largest, std::abs(x));
      for (size_t i = 0; i < found.size(); ++i) {
        const double bound = 0x1p-8 * std::abs(expected[i]) + 1e-5 * largest;
        REQUIRE(std::abs(static_cast<float>(found[i]) - expected[i]) <= bound);
      }
    }
  }
}
