// The rules of structural primitives: type, derivative and batching. Elementwise primitives have
// theirs from their partial derivatives in spec/primitives.toml.
//
// Each structural primitive `Name` of the spec must define infer_Name and batch_Name (trace/),
// saves_Name (trace/), vjp_Name and jvp_Name (autograd/): generated/structural.inc lists the names,
// the tables are made from that list, and a primitive that lacks a rule fails to link.
#pragma once

#include <span>

#include "core/small_vector.h"
#include "trace/node.h"
#include "trace/value.h"

namespace tenon {

// What a rule sees of the node it works on. Operand values are fetched on demand: after a cut
// only those that `saves` named exist.
class RuleContext {
 public:
  virtual ~RuleContext() = default;
  Op op;
  TypeId type;  // of the result
  std::span<const TypeId> operand_types;
  std::span<const int64_t> axes;
  std::span<const int64_t> sizes;
  DerivativeMask bit = 0;  // of the transform that asks
  // The one it stands for: a region's body is differentiated at a depth of its own, which the masks
  // of regions inside of it don't know.
  DerivativeMask recorded_bit = 0;

  virtual Value operand(int k) = 0;
  virtual Value result() = 0;
  // The node itself, where it is one of the open segment.
  virtual Value node() { return {}; }
  // Of a region, which has many outputs: their cotangents so far, none where nothing arrived.
  virtual std::span<const Value> output_cotangents() { return {}; }

  const Type& result_type() const { return type_of(type); }
  const Type& operand_type(int k) const { return type_of(operand_types[k]); }
};

// The result's type; fails with the operation's name, the shapes and the remedy.
using InferRule = TypeId (*)(Op op, std::span<const TypeId> operands, std::span<const int64_t> axes,
                             std::span<const int64_t> sizes);
// Which values the reverse rule reads for operand k: bit i for operand i, bit 7 for the result.
using SavesRule = uint8_t (*)(Op op, int operand);
// Batching: operands[k] has its batch at axis 0 where batched[k]; returns the result with its
// batch at axis 0. `type` is one example's result, `extent` the batch's.
struct BatchContext {
  Op op;
  TypeId type;
  std::span<const TypeId> operand_types;  // of one example
  std::span<const Value> operands;
  std::span<const bool> batched;
  std::span<const int64_t> axes;
  std::span<const int64_t> sizes;
  int64_t extent;

  // Operand k with its batch at axis 0, broadcast if it has none.
  Value batch(int k) const;
};
using BatchRule = Value (*)(const BatchContext& context);
// Reverse mode: for operands with needs[k], sets cotangents[k] (or leaves it none: zero).
using VjpRule = void (*)(RuleContext& context, Value cotangent, std::span<const bool> needs,
                         std::span<Value> cotangents);
// Forward mode: tangents[k] is none where an operand has none; returns the result's tangent.
using JvpRule = Value (*)(RuleContext& context, std::span<const Value> tangents);

InferRule infer_rule(Op op);
uint8_t saves(Op op, int operand);
BatchRule batch_rule(Op op);
VjpRule vjp_rule(Op op);  // autograd/rules.cpp
JvpRule jvp_rule(Op op);

// Whether values of this dtype have derivatives.
inline bool is_differentiable(DType dtype) { return is_floating(dtype) || is_complex(dtype); }

}  // namespace tenon
