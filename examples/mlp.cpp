// Teaches a multilayer perceptron to tell two spirals apart. No Python anywhere.
#include <cstdio>

#include "tenon.h"

using namespace tenon;

struct Perceptron : nn::Module {
  nn::Linear& first = add<nn::Linear>("first", 2, 64);
  nn::Linear& second = add<nn::Linear>("second", 64, 64);
  nn::Linear& last = add<nn::Linear>("last", 64, 2);
  Tensor forward(const Tensor& x) override { return last(gelu(second(gelu(first(x))))); }
};

int main() {
  jit::install();
  manual_seed(0);
  const int64_t count = 2000;  // points: even ones on one spiral, odd ones on the other
  const Tensor labels = arange(count) % 2;
  const Tensor radius = rand({count}) * 3 + 0.3;
  const Tensor angle = radius * 3 + labels * 3.14159265;
  const Tensor points = stack({radius * cos(angle), radius * sin(angle)}, 1);

  Perceptron model;
  optim::AdamW optimizer(model.parameters(), {.lr = 1e-2});
  for (int step = 0; step <= 500; ++step) {
    const Tensor loss = cross_entropy(model(points), labels);
    optimizer.zero_grad();
    autograd::backward(loss);
    optimizer.step();
    if (step % 100 == 0) std::printf("step %3d: loss %.4f\n", step, loss.item<float>());
  }
  const Tensor right = argmax(model(points), 1) == labels;
  std::printf("%.1f %% are right\n", 100 * mean(right, {}, false, DType::Float32).item<float>());
  save_safetensors("spirals.safetensors", model.state_dict());
}
