// Differentiation, as the public API sees it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "trace/graph.h"
#include "trace/tensor.h"

namespace tenon::autograd {

// Accumulates into `.grad` of the leaves that the roots depend on (of `inputs` alone, if given).
// An undefined gradient stands for 1 and wants a one-element root.
// Errors (RuntimeError, as PyTorch): a root that requires no grad; a graph whose saved values the
// previous pass freed; gradients of other shapes.
void backward(std::span<const Tensor> roots, std::span<const Tensor> gradients,
              bool retain_graph = false, bool create_graph = false,
              std::span<const Tensor> inputs = {});
inline void backward(const Tensor& root) { backward({&root, 1}, {}); }

// The gradients of the outputs' sum (weighted by `gradients`) with respect to the inputs. Where an
// output does not depend on an input: an error, or with `allow_unused` an undefined tensor, or with
// `materialize_grads` zeros.
std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> gradients = {}, bool retain_graph = false,
                         bool create_graph = false, bool allow_unused = false,
                         bool materialize_grads = false);

// A call of a function with a derivative of its own (autograd.Function): the outputs' values, of
// which derivatives go through `derivative` to the inputs, in reverse mode.
std::vector<Tensor> record_custom(Ref<CustomDerivative> derivative, std::span<const Tensor> inputs,
                                  std::span<const Tensor> outputs);
// Whether a derivative, in either mode, with respect to something that the tensor depends on is
// being recorded.
bool is_differentiated(const Tensor& x);
bool has_tangent(const Tensor& x);  // in forward mode

// Tensor.register_hook: called in every backward pass that computes the tensor's gradient and, for
// a tensor that is no leaf, needs what the tensor was computed from; before retain_grad's and a
// leaf's `.grad` receive it. They belong to the value that the tensor has now: a later write in
// place makes another. Errors: a tensor that requires no grad; under vmap.
Ref<GradientHooks> gradient_hooks(const Tensor& x);
// How often either kind was asked for, ever: while it stays the same, no hook is new.
uint64_t hooks_asked_for();
// Tensor.register_post_accumulate_grad_hook: called with a leaf when `.backward()` has accumulated
// all gradients. Error: not a leaf.
Ref<GradientHooks> accumulation_hooks(const Tensor& x);

// func.vjp and func.grad. Between construction and exit() what is computed from entered tensors is
// recorded one depth deeper; pull() may then be called any number of times, at any later time.
//
//   ReverseTransform transform;
//   Tensor x = transform.enter(primal);
//   Tensor y = f(x);
//   std::vector<Tensor> out = transform.exit({&y, 1});   // y, without the inner depth's marks
//   std::vector<Tensor> gx = transform.pull({&cotangent, 1});
//
// close() (idempotent; the destructor calls it) restores the recorder when the function raised.
class ReverseTransform {
 public:
  ReverseTransform();
  ~ReverseTransform();
  ReverseTransform(const ReverseTransform&) = delete;

  Tensor enter(const Tensor& primal);
  std::vector<Tensor> exit(std::span<const Tensor> outputs);
  void close();
  // Zeros for an input on which no output depends. An undefined cotangent is zero.
  std::vector<Tensor> pull(std::span<const Tensor> cotangents);

 private:
  int depth_;
  uint16_t blocked_;
  bool open_ = true;
  std::vector<Tensor> inputs_;   // the aliases
  std::vector<Tensor> outputs_;  // hidden cells that keep the derivative alive
};

// func.jvp: as above, with tangents entering beside the primals.
class ForwardTransform {
 public:
  ForwardTransform();
  ~ForwardTransform();
  ForwardTransform(const ForwardTransform&) = delete;

  Tensor enter(const Tensor& primal, const Tensor& tangent);
  struct Result {
    std::vector<Tensor> primals;
    std::vector<Tensor> tangents;
  };
  Result exit(std::span<const Tensor> outputs);
  void close();

 private:
  int depth_;
  uint16_t blocked_;
  bool open_ = true;
  std::vector<std::pair<Tensor, Tensor>> inputs_;
};

}  // namespace tenon::autograd
