// Modules and layers in C++: names, state, modes, text, initial values.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "tenon.h"
#include "tests/core/expect_error.h"

using namespace tenon;
using tenon::testing::expect_error;

namespace {

struct Net : nn::Module {
  nn::Linear& hidden = add<nn::Linear>("hidden", 3, 4);
  nn::Sequential& tail = add<nn::Sequential>("tail", nn::Dropout(0.5), nn::Linear(4, 2, false));
  Tensor counts = register_buffer("counts", zeros({2}));
  Tensor scratch = register_buffer("scratch", zeros({1}), false);
  Tensor forward(const Tensor& x) override { return tail(relu(hidden(x))); }
  std::string name() const override { return "Net"; }
};

std::vector<std::string> names_of(const TensorDict& dict) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : dict) names.push_back(name);
  return names;
}

std::vector<double> numbers(const Tensor& x) {
  std::vector<double> result;
  for (int64_t i = 0; i < x.numel(); ++i) {
    result.push_back(select(reshape(x, {-1}), 0, i).item<double>());
  }
  return result;
}

}  // namespace

TEST_CASE("parameters, buffers and state by their paths") {
  Net net;
  const std::vector<std::string> parameters{"hidden.weight", "hidden.bias", "tail.1.weight"};
  CHECK(names_of(net.named_parameters()) == parameters);
  CHECK(names_of(net.named_buffers()) == std::vector<std::string>{"counts", "scratch"});
  const std::vector<std::string> state{"counts", "hidden.weight", "hidden.bias", "tail.1.weight"};
  CHECK(names_of(net.state_dict()) == state);  // what isn't persistent is no state
  for (const Tensor& p : net.parameters()) {
    CHECK(p.requires_grad());
    CHECK(p.is_parameter());
    CHECK(p.is_leaf());
  }
  CHECK(net(ones({5, 3})).size(1) == 2);
}

TEST_CASE("modules print as PyTorch's do") {
  CHECK(Net().repr() ==
        "Net(\n"
        "  (hidden): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (tail): Sequential(\n"
        "    (0): Dropout(p=0.5, inplace=False)\n"
        "    (1): Linear(in_features=4, out_features=2, bias=False)\n"
        "  )\n"
        ")");
  CHECK(nn::LayerNorm(IntList{2, 3}).repr() ==
        "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=True)");
  CHECK(nn::Embedding(5, 2, 1).repr() == "Embedding(5, 2, padding_idx=1)");
  CHECK(nn::GELU().repr() == "GELU(approximate='none')");
}

TEST_CASE("loading a state stores values in the same tensors") {
  Net from, into;
  const Tensor weight = into.hidden.weight;
  into.load_state_dict(from.state_dict());
  CHECK(weight.same(into.hidden.weight));
  CHECK(numbers(weight) == numbers(from.hidden.weight));
  CHECK(weight.requires_grad());
}

TEST_CASE("a state that doesn't match names every error and changes nothing") {
  Net net;
  const auto before = numbers(net.hidden.bias);
  const TensorDict bad{{"hidden.weight", zeros({4, 2})},
                       {"hidden.bias", zeros({4})},
                       {"counts", zeros({3})},
                       {"tail.7.weight", zeros({1})}};
  expect_error(
      ErrorKind::Runtime,
      {"Net", "size mismatch for hidden.weight", "[4, 2]", "[4, 3]", "size mismatch for counts",
       "Missing", "tail.1.weight", "Unexpected", "tail.7.weight"},
      [&] { net.load_state_dict(bad); });
  CHECK(numbers(net.hidden.bias) == before);

  const auto report =
      net.load_state_dict({{"hidden.bias", zeros({4})}, {"other", zeros({1})}}, false);
  CHECK(report.missing == std::vector<std::string>{"counts", "hidden.weight", "tail.1.weight"});
  CHECK(report.unexpected == std::vector<std::string>{"other"});
  CHECK(numbers(net.hidden.bias) == std::vector<double>(4, 0.0));
}

TEST_CASE("training and evaluation reach every module") {
  Net net;
  const Tensor x = randn({64, 3});
  net.eval();
  CHECK(!net.tail.is_training());
  CHECK(numbers(net(x)) == numbers(net(x)));
  net.train();
  CHECK(numbers(net(x)) != numbers(net(x)));
}

TEST_CASE("conversion keeps tensors and makes them of another dtype") {
  Net net;
  const Tensor weight = net.hidden.weight;
  net.to(DType::Float64);
  CHECK(weight.dtype() == DType::Float64);
  CHECK(net(ones({1, 3}, DType::Float64)).dtype() == DType::Float64);
  expect_error(ErrorKind::Type, {"int64"}, [&] { net.to(DType::Int64); });
}

TEST_CASE("names of members are checked") {
  struct Bad : nn::Module {
    explicit Bad(const char* name) {
      add<nn::ReLU>("act");
      register_buffer(name, zeros({1}));
    }
  };
  expect_error(ErrorKind::Key, {"act", "already exists"}, [] { Bad("act"); });
  expect_error(ErrorKind::Key, {"a.b"}, [] { Bad("a.b"); });
  expect_error(ErrorKind::Key, {}, [] { Bad(""); });
}

TEST_CASE("options out of range and missing forwards are errors") {
  expect_error(ErrorKind::Value, {"between 0 and 1", "1.5"}, [] { nn::Dropout(1.5); });
  nn::ModuleList list(nn::ReLU{});
  expect_error(ErrorKind::NotImplemented, {"ModuleList"}, [&] { list(ones({1})); });
}

TEST_CASE("in-place layers store the result in their input") {
  const Tensor x = sub(arange(5, DType::Float32), 2);
  nn::ReLU layer(true);
  CHECK(layer(x).same(x));
  CHECK(numbers(x) == std::vector<double>{0, 0, 0, 1, 2});
}

TEST_CASE("losses: hand-made values") {
  const Tensor x = reshape(arange(4, DType::Float32), {2, 2});
  CHECK(nn::MSELoss()(x, zeros({2, 2})).item<float>() == doctest::Approx(14.0 / 4));
  CHECK(nn::L1Loss("sum")(x, zeros({2, 2})).item<float>() == 6);
  const double loss = nn::CrossEntropyLoss()(x, zeros({2}, DType::Int64)).item<double>();
  CHECK(loss == doctest::Approx(std::log(1 + std::exp(1.0))));
}

// Mean, variance and range of 65,536 draws within five standard errors.
TEST_CASE("initial values have the distributions that they claim") {
  namespace init = nn::init;
  manual_seed(1);
  const Tensor w = empty({256, 256});
  const double count = 65536;
  const auto check_uniform = [&](double bound) {
    const double sigma = bound / std::sqrt(3.0);
    CHECK(std::abs(mean(w).item<double>()) < 5 * sigma / std::sqrt(count));
    CHECK(mean(w * w).item<double>() == doctest::Approx(sigma * sigma).epsilon(0.02));
    CHECK(amax(abs(w)).item<double>() <= bound * (1 + 1e-6));
    CHECK(amax(abs(w)).item<double>() > 0.999 * bound);
  };
  init::xavier_uniform_(w, 2);
  check_uniform(2 * std::sqrt(6.0 / 512));
  init::kaiming_uniform_(w, std::sqrt(5.0));
  check_uniform(1 / std::sqrt(256.0));
  init::fan_in_uniform_(w, w);
  check_uniform(1 / std::sqrt(256.0));
  init::normal_(w, 3, 2);
  CHECK(mean(w).item<double>() == doctest::Approx(3).epsilon(0.02));
  CHECK(mean((w - 3) * (w - 3)).item<double>() == doctest::Approx(4).epsilon(0.05));
  init::kaiming_normal_(w, 0, "fan_out", "relu");
  CHECK(mean(w * w).item<double>() == doctest::Approx(2.0 / 256).epsilon(0.05));
  init::trunc_normal_(w, 0, 1, -1, 2);
  CHECK(amin(w).item<double>() >= -1);
  CHECK(amax(w).item<double>() <= 2);
  // E of a normal restricted to [-1, 2]: (phi(-1) - phi(2)) / (Phi(2) - Phi(-1))
  CHECK(mean(w).item<double>() == doctest::Approx(0.2296).epsilon(0.05));
  init::eye_(w);
  CHECK(sum(w).item<double>() == 256);
  CHECK(init::calculate_gain("leaky_relu", 0) == doctest::Approx(std::sqrt(2.0)));
  expect_error(ErrorKind::Value, {"fewer than 2"}, [&] { init::xavier_uniform_(empty({3})); });
  expect_error(ErrorKind::Value, {"fan_up"}, [&] { init::kaiming_uniform_(w, 0, "fan_up"); });
}

TEST_CASE("the padding row of an embedding is zero and gets no gradient") {
  nn::Embedding table(4, 3, -1);
  CHECK(numbers(select(table.weight, 0, 3)) == std::vector<double>(3, 0.0));
  autograd::backward(sum(table(arange(4))));
  CHECK(numbers(sum(table.weight.grad(), 1)) == std::vector<double>{3, 3, 3, 0});
}
