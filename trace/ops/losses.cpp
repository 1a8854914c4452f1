// Losses by class index.
#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

struct Classes {
  int64_t axis;
  Value target;  // as int64, ignored places 0
  Value kept;    // which places count
  Value weight;  // of each place's class, or none
};

Classes classes_of(Value input, Value target, Value weight, int64_t ignore_index) {
  check(rank(input) >= 1, ErrorKind::Value, "{}: Expected 1 or more dimensions (got {})",
        current_operation(), rank(input));
  check(is_integral(dtype(target), false), ErrorKind::Runtime,
        "{}: expected scalar type Long but found {}", current_operation(), name_of(dtype(target)));
  const int64_t axis = rank(input) == 1 ? 0 : 1;
  Dims places(dims(input));
  places.erase(places.begin() + axis);
  check(std::ranges::equal(places, dims(target)), ErrorKind::Value,
        "Expected input batch_size ({}) to match target batch_size ({}): input {}, target {}",
        rank(input) > 1 ? dims(input)[0] : 1, rank(target) > 0 ? dims(target)[0] : 1,
        shown(dims(input)), shown(dims(target)));
  Classes c{axis, ops::cast(target, DType::Int64), {}, {}};
  c.kept = ops::binary(Op::Ne, c.target, ops::scalar(ignore_index, DType::Int64));
  c.target = ops::select(c.kept, c.target, ops::literal_like(c.target, 0));
  if (weight) {
    check(rank(weight) == 1 && dims(weight)[0] == dims(input)[axis], ErrorKind::Runtime,
          "{}: weight tensor should be defined either for all {} classes or no classes but got "
          "weight tensor of shape: {}",
          current_operation(), dims(input)[axis], shown(dims(weight)));
    c.weight = ops::gather(weight, c.target, 0);
  }
  return c;
}

Value masked(Value kept, Value x) { return ops::select(kept, x, ops::literal_like(x, 0)); }

Value loss_at_targets(Value input, const Classes& c) {
  const Value index = ops::unsqueeze(c.target, c.axis);
  Value loss = -ops::reshape(ops::take_along(input, index, c.axis), Dims(dims(c.target)));
  if (c.weight) loss = loss * c.weight;
  return masked(c.kept, loss);
}

// Mean over the weights of the places that count.
Value weighted_mean(Value loss, const Classes& c) {
  const Value ones = c.weight ? c.weight : ops::ones_like(loss);
  return sum(loss) / sum(masked(c.kept, ones));
}

}  // namespace

Value nll_loss(Value input, Value target, Value weight, int64_t ignore_index,
               std::string_view reduction) {
  check_floating({input}, ErrorKind::NotImplemented);
  const Classes c = classes_of(input, target, weight, ignore_index);
  const Value loss = loss_at_targets(input, c);
  return reduction == "mean" ? weighted_mean(loss, c) : reduce_loss(loss, reduction);
}

Value cross_entropy(Value input, Value target, Value weight, int64_t ignore_index,
                    std::string_view reduction, double label_smoothing) {
  check(label_smoothing >= 0 && label_smoothing <= 1, ErrorKind::Runtime,
        "label_smoothing must be between 0.0 and 1.0. Got: {}", label_smoothing);
  const int64_t axis = rank(input) <= 1 ? 0 : 1;
  const Value log_p = log_softmax(input, axis);
  const int64_t count = dims(input)[axis];
  const auto weighted = [&](Value x) {  // each class by its weight
    if (!weight) return x;
    Dims shape(rank(input), 1);
    shape[axis] = count;
    return x * ops::reshape(weight, shape);
  };
  const int64_t axes[] = {axis};
  if (is_floating(dtype(target))) {  // a probability for each class
    check(std::ranges::equal(dims(target), dims(input)), ErrorKind::Runtime,
          "Expected floating point type for target with class probabilities, of size {}, got {}",
          shown(dims(input)), shown(dims(target)));
    Value p = target;
    if (label_smoothing > 0) {
      p = p * scalar_like(p, 1 - label_smoothing) +
          scalar_like(p, label_smoothing / static_cast<double>(count));
    }
    const Value loss = -ops::reduce(Op::ReduceSum, weighted(log_p * p), axes);
    if (reduction != "mean") return reduce_loss(loss, reduction);
    return sum(loss) / scalar_like(loss, type_of(loss).numel);
  }
  const Classes c = classes_of(input, target, weight, ignore_index);
  const Value loss = loss_at_targets(log_p, c);
  const Value nll = reduction == "mean" ? weighted_mean(loss, c) : reduce_loss(loss, reduction);
  if (label_smoothing == 0) return nll;
  const Value smooth = masked(c.kept, -ops::reduce(Op::ReduceSum, weighted(log_p), axes));
  Value spread = reduction == "mean" ? weighted_mean(smooth, c) : reduce_loss(smooth, reduction);
  spread = spread * scalar_like(spread, label_smoothing / static_cast<double>(count));
  return nll * scalar_like(nll, 1 - label_smoothing) + spread;
}

}  // namespace tenon::values
