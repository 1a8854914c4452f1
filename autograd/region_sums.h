// Sums over the steps of a loop, taken outside of it: where each step adds a product of two small
// values to a large one (the gradient of a weight), the small ones are stacked and multiplied once,
// with the steps contracted like any other dimension.
#pragma once

#include <functional>
#include <vector>

#include "trace/value.h"

namespace tenon::autograd {

// The values of one step from which the sum over steps of `term` can be had, appended to `leaves`;
// false where it can't, or where stacks would take more than adding up in the loop.
// `is_parameter`: of the body being recorded; `varies`: differs between steps.
bool find_step_leaves(Value term, const std::function<bool(Value)>& is_parameter,
                      const std::function<bool(Value)>& varies, std::vector<Value>& leaves);

// That sum, recorded outside of the loop. `stack_of` gives a leaf's values of all steps along axis
// 0.
Value sum_of_steps(Value term, const std::function<bool(Value)>& is_parameter,
                   const std::function<Value(Value)>& stack_of);

// What stands behind aliases; a parameter is its own.
Value behind_aliases(Value value, const std::function<bool(Value)>& is_parameter);

}  // namespace tenon::autograd
