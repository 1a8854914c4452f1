// `.backward()` and `autograd.grad`: reverse walks at depth 0.
#include <algorithm>

#include "autograd/autograd.h"
#include "autograd/reverse.h"
#include "core/error.h"
#include "core/shape.h"

namespace tenon::autograd {
namespace {

void seed_roots(OpScope& scope, ReverseWalk& walk, std::span<const Tensor> roots,
                std::span<const Tensor> gradients) {
  check(gradients.empty() || gradients.size() == roots.size(), ErrorKind::Runtime,
        "{}: got {} tensors and {} gradients", current_operation(), roots.size(), gradients.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& root = roots[i];
    check(root.requires_grad(), ErrorKind::Runtime,
          "element {} of tensors does not require grad and does not have a grad_fn", i);
    Value gradient;
    if (!gradients.empty() && gradients[i].defined()) {
      const Tensor& given = gradients[i];
      check(
          std::ranges::equal(given.dims(), root.dims()), ErrorKind::Runtime,
          "Mismatch in shape: grad_output[{}] has a shape of {} and output[{}] has a shape of {}.",
          i, shown(given.dims()), i, shown(root.dims()));
      gradient = ops::cast(scope.use(given), root.dtype());
    } else {
      check(root.numel() == 1, ErrorKind::Runtime,
            "grad can be implicitly created only for scalar outputs, not for one of size {}",
            shown(root.dims()));
      check(!is_complex(root.dtype()), ErrorKind::Runtime,
            "grad can be implicitly created only for real scalar outputs but got {}",
            name_of(root.dtype()));
      gradient = ops::ones(root.type());
    }
    walk.seed({nullptr, scope.use(root).id}, gradient);
  }
}

void accumulate(Cell& cell, Value gradient, bool create_graph) {
  gradient = ops::reshape(ops::cast(gradient, type_of(cell.type).dtype), type_of(cell.type).dims());
  Recorder& r = recorder();
  const uint32_t level = r.segment->nodes[gradient.id].level;
  check(level <= cell.level, ErrorKind::Runtime,
        "backward: under vmap, the gradient of a tensor made outside the mapped function is "
        "batched and can't be bound to its .grad; use func.grad inside vmap");
  if (!cell.grad) {
    cell.grad = make_cell(gradient);
    cell.grad->level = cell.level;
  } else {
    const Value sum = resolve(*cell.grad) + gradient;
    if (create_graph || cell.grad->view || cell.grad->requires_grad) {
      cell.grad = make_cell(sum);
    } else {
      rebind(*cell.grad, sum);
    }
  }
}

using HookedLeaves = std::vector<std::pair<Tensor, Ref<GradientHooks>>>;

// Gives the leaves that have hooks to be called once everything is accumulated.
HookedLeaves accumulate_all(std::span<const Tensor> roots, std::span<const Tensor> gradients,
                            bool retain_graph, bool create_graph, std::span<const Tensor> inputs) {
  OpScope scope("backward");
  ReverseWalk walk(0, retain_graph || create_graph);
  seed_roots(scope, walk, roots, gradients);
  HookedLeaves hooked;
  std::vector<std::pair<Tensor, size_t>> watched;
  for (const Tensor& input : inputs) {
    check(input.requires_grad(), ErrorKind::Runtime,
          "backward: one of the inputs does not require grad");
    walk.head_for(input);
    if (!input.cell()->requires_grad) {
      watched.emplace_back(input, walk.watch(place_of(*input.cell())));
    }
  }
  std::erase_if(retaining_cells(), [](const Ref<LeafAnchor>& anchor) { return !anchor->cell; });
  for (const Ref<LeafAnchor>& anchor : retaining_cells()) {
    const Tensor tensor{Ref<Cell>(anchor->cell)};
    if (tensor.requires_grad()) {
      watched.emplace_back(tensor, walk.watch(place_of(*tensor.cell())));
    }
  }
  walk.run();
  for (const auto& [leaf, gradient] : walk.leaves()) {
    Cell* cell = leaf->cell;
    if (!cell) continue;
    const bool wanted = inputs.empty() || std::ranges::any_of(inputs, [&](const Tensor& input) {
                          return input.cell().get() == cell;
                        });
    if (!wanted) continue;
    const Tensor tensor{Ref<Cell>(cell)};  // a hook may drop it
    accumulate(*cell, run_hooks(leaf->hooks, gradient), create_graph);
    if (leaf->after_hooks) hooked.emplace_back(tensor, leaf->after_hooks);
  }
  for (const auto& [tensor, number] : watched) {
    if (walk.watched(number)) accumulate(*tensor.cell(), walk.watched(number), create_graph);
  }
  return hooked;
}

}  // namespace

void backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
              bool create_graph, std::span<const Tensor> inputs) {
  GradMode mode(create_graph);
  // Outside of the scope: such a hook may take an optimizer's step.
  for (const auto& [leaf, hooks] :
       accumulate_all(roots, gradients, retain_graph, create_graph, inputs)) {
    for (const auto& [number, function] : std::vector(hooks->functions)) function(leaf);
  }
}

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> gradients, bool retain_graph, bool create_graph,
                         bool allow_unused, bool materialize_grads) {
  OpScope scope("autograd.grad");
  GradMode mode(create_graph);
  ReverseWalk walk(0, retain_graph || create_graph);
  seed_roots(scope, walk, outputs, gradients);
  std::vector<size_t> numbers;
  for (const Tensor& input : inputs) {
    check(input.requires_grad(), ErrorKind::Runtime,
          "One of the differentiated Tensors does not require grad");
    walk.head_for(input);
    numbers.push_back(walk.watch(place_of(*input.cell())));
  }
  walk.run();
  std::vector<Tensor> results;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Value gradient = walk.watched(numbers[i]);
    if (inputs[i].cell()->requires_grad) {  // a leaf stands in several segments
      for (const auto& [leaf, arrived] : walk.leaves()) {
        if (leaf->cell == inputs[i].cell().get()) gradient = run_hooks(leaf->hooks, arrived);
      }
    }
    if (!gradient) {
      check(allow_unused || materialize_grads, ErrorKind::Runtime,
            "One of the differentiated Tensors appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior.");
      if (!materialize_grads) {
        results.emplace_back();
        continue;
      }
      gradient = ops::zeros(inputs[i].type());
    }
    results.push_back(scope.result(gradient));
  }
  return results;
}

}  // namespace tenon::autograd
