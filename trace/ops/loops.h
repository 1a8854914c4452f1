// Loops of values whose end the data decides.
#pragma once

#include <vector>

#include "trace/ops/helpers.h"
#include "trace/region.h"

namespace tenon::values {

// Repeats step(carry) while any of the tensor that `go` gives is true. Tangents pass through.
template <class Go, class Step>
std::vector<Value> repeat_while(const std::vector<Value>& carry, Go go, Step step) {
  RegionRecording condition("while_loop", RegionRecording::kNoSteps);
  const auto parameters_of = [&](RegionRecording& recording) {
    std::vector<Value> parameters;
    for (Value x : carry) parameters.push_back(recording.parameter(type_id_of(x)));
    return parameters;
  };
  const std::vector<Value> asked = parameters_of(condition);
  const Value goes = go(asked);
  const Value any = ops::reduce(Op::ReduceAny, goes, all_dims(rank(goes)));
  condition.finish({&any, 1});
  RegionRecording body("while_loop", RegionRecording::kNoSteps);
  const std::vector<Value> parameters = parameters_of(body);
  body.finish(step(parameters));
  return record_while(condition, asked, body, parameters, carry);
}

}  // namespace tenon::values
