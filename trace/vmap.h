// vmap: a function of one example, recorded once, becomes the function of a batch.
//
// Between construction and exit() the function is recorded as it stands, on types of one example.
// An entered tensor is x[i] for an example index i that nobody knows; whatever depends on i carries
// the instance's number as its level. exit() walks from the outputs to i, replaces each such node
// by its primitive's batching rule, and what remains is ordinary nodes with one more dimension
// (of an outer vmap's level, when vmaps are nested).
//
//   Vmap map(x.size(0));
//   const Tensor y = f(map.enter(x, 0));
//   const std::vector<Tensor> ys = map.exit({&y, 1}, out_dims);
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "trace/tensor.h"

namespace tenon {

// What a random number drawn inside the function does.
enum class Randomness : uint8_t {
  Error,      // raises, and names the other two
  Different,  // each example has its own
  Same,       // all examples share one
};

class Vmap {
 public:
  explicit Vmap(int64_t extent, Randomness randomness = Randomness::Error);
  ~Vmap();
  Vmap(const Vmap&) = delete;

  // One example of x, batched over dimension in_dim (negative counts from the end), whose size must
  // be the extent. What the function writes to it in place, exit() writes to x.
  Tensor enter(const Tensor& x, int64_t in_dim);

  // The outputs with the batch at out_dims[k]; an output that is the same for all examples is
  // repeated. Without an out_dim the output must be the same for all, and stays as it is.
  std::vector<Tensor> exit(std::span<const Tensor> outputs,
                           std::span<const std::optional<int64_t>> out_dims);

  // Forgets the recording (the function raised). Idempotent; the destructor does it too.
  void close();

 private:
  struct Entered {
    Tensor outer;
    Tensor example;
    int64_t in_dim;
  };

  int64_t extent_;
  uint32_t instance_ = 0;
  uint32_t index_ = 0;  // the node of the example's index
  bool open_ = true;
  std::vector<Entered> entered_;
};

// vmap of a function of tensors. An input without an in_dim is the same for all examples; at least
// one must have one. One out_dim serves all outputs.
using TensorFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
std::vector<Tensor> vmap(const TensorFunction& function,
                         std::span<const std::optional<int64_t>> in_dims, int64_t out_dim,
                         std::span<const Tensor> inputs, Randomness randomness = Randomness::Error);

}  // namespace tenon
