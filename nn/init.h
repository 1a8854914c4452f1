// Initial values of parameters, written in place without derivatives.
//
// They are computed at once rather than recorded: a first training step then records the same
// program as every later one, and one small plan serves all layers (plans know no extents).
//
// Every function returns the tensor it fills. Same distributions as torch.nn.init.
#pragma once

#include <string_view>
#include <utility>

#include "trace/tensor.h"

namespace tenon::nn::init {

Tensor zeros_(const Tensor& tensor);
Tensor ones_(const Tensor& tensor);
Tensor constant_(const Tensor& tensor, double value);
Tensor eye_(const Tensor& tensor);  // a matrix
Tensor uniform_(const Tensor& tensor, double a = 0, double b = 1);
Tensor normal_(const Tensor& tensor, double mean = 0, double std = 1);
// Normal, restricted to [a, b]; by inversion of the distribution function, so nothing is rejected.
Tensor trunc_normal_(const Tensor& tensor, double mean = 0, double std = 1, double a = -2,
                     double b = 2);

// Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
// AISTATS 2010.
Tensor xavier_uniform_(const Tensor& tensor, double gain = 1);
Tensor xavier_normal_(const Tensor& tensor, double gain = 1);
// He et al., "Delving deep into rectifiers", ICCV 2015. `mode` is fan_in or fan_out; `a` the slope
// of leaky_relu for negative inputs.
Tensor kaiming_uniform_(const Tensor& tensor, double a = 0, std::string_view mode = "fan_in",
                        std::string_view nonlinearity = "leaky_relu");
Tensor kaiming_normal_(const Tensor& tensor, double a = 0, std::string_view mode = "fan_in",
                       std::string_view nonlinearity = "leaky_relu");
// Uniform in +-1/sqrt(fan_in of weight): PyTorch's initial bias.
Tensor fan_in_uniform_(const Tensor& tensor, const Tensor& weight);
Tensor zero_row_(const Tensor& tensor, int64_t row);  // negative counts from the end

// The recommended gain of a nonlinearity, by its functional's name; ValueError for another.
double calculate_gain(std::string_view nonlinearity, double param = 0.01);
// (fan_in, fan_out) of a weight of at least 2 dimensions: (out, in, receptive field...).
std::pair<int64_t, int64_t> calculate_fans(const Tensor& tensor);

}  // namespace tenon::nn::init
