// Values: nodes of the calling thread's open segment, and the functions that record them.
//
// This is the language in which compositions, derivative rules and batching rules are written.
// A Value is a bare id, so it is only good inside one public operation or transform: nothing cuts
// the segment there (see OpScope in trace/tensor.h).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "core/device.h"
#include "core/small_vector.h"
#include "core/types.h"
#include "generated/primitives.h"

namespace tenon {

struct Value {
  static constexpr uint32_t kNone = ~uint32_t{0};
  uint32_t id = kNone;
  explicit operator bool() const { return id != kNone; }
  friend bool operator==(Value, Value) = default;
};

const Type& type_of(Value value);
TypeId type_id_of(Value value);
inline DType dtype(Value value) { return type_of(value).dtype; }
inline std::span<const int64_t> dims(Value value) { return type_of(value).dims(); }
inline int rank(Value value) { return type_of(value).rank; }

namespace ops {

using Ints = std::span<const int64_t>;

// Records a node; its type comes from the primitive's own rule, which also checks the operands.
// Elementwise primitives want equal dtypes (select: of its last two) and broadcast their operands.
Value primitive(Op op, std::span<const Value> operands, Ints axes = {}, Ints sizes = {});
Value unary(Op op, Value a);
Value binary(Op op, Value a, Value b);
Value select(Value condition, Value a, Value b);

// 0-d constants. A literal is part of the program (its value enters a plan's key); a user's number
// is an argument, so that another number compiles nothing.
Value literal(double number, DType dtype);
Value literal_like(Value like, double number);  // of like's dtype
Value scalar(double number, DType dtype);
Value scalar(int64_t number, DType dtype);
// Payload of a 0-d constant: the bits of a double for floating dtypes, an integer otherwise.
int64_t payload(double number, DType dtype);
int64_t payload(int64_t number, DType dtype);

Value cast(Value x, DType dtype);  // x itself when it has that dtype
// The bits as another dtype, without derivative. Between sizes of elements the last dimension
// counts more or fewer of them (which the extents must allow); little-endian, as memory is.
Value bitcast(Value x, DType dtype);
Value expand(Value x, Ints dims);  // NumPy's broadcast_to
Value reshape(Value x, Ints dims);
Value permute(Value x, Ints perm);
Value slice(Value x, Ints starts, Ints steps, Ints dims);
Value slice_axis(Value x, int64_t axis, int64_t start, int64_t length, int64_t step = 1);
Value pad(Value x, Value fill, Ints low, Ints high, Ints interior);
Value concatenate(std::span<const Value> xs, int64_t axis);
Value update_slice(Value base, Value value, Ints starts, Ints steps);
Value gather(Value x, Value index, int64_t axis);
Value take_along(Value x, Value index, int64_t axis);
Value scatter_add(Value base, Value index, Value updates, int64_t axis);
Value scatter_set(Value base, Value index, Value updates, int64_t axis);
Value put_along_add(Value base, Value index, Value updates, int64_t axis);
Value put_along_set(Value base, Value index, Value updates, int64_t axis);
Value reduce(Op op, Value x, Ints axes, bool keepdim = false);  // axes sorted, non-negative
Value argreduce(Op op, Value x, int64_t axis);                  // Argmax, Argmin
Value cumulative(Op op, Value x, int64_t axis);
Value argsort(Value x, int64_t axis, bool descending);
Value iota(Ints dims, int64_t axis, DType dtype = DType::Int64);
Value random_bits(Ints dims, int64_t seed, int64_t call);  // uint32
Value to_device(Value x, Device device);                   // x itself where it is there
Value alias(Value x);                                      // derivatives pass
Value stop_gradient(Value x);                              // derivatives don't
Value redirect(Value value, Value derivative_of);

// a: batch, then anything; `batch_*` and `contract_*` name axes pairwise.
// Result: batch axes, a's free axes, b's free axes.
Value dot_general(Value a, Value b, Ints batch_a, Ints batch_b, Ints contract_a, Ints contract_b);

// A convolution's parameters; the spatial lists have one entry a dimension. Padding beyond `low` is
// what the result's extents imply.
struct ConvolutionSizes {
  int64_t groups = 1;
  Dims stride, low, dilation;
};
// One of the three tensors x [N, G * C, ...], w [G * O, C, ...], y [N, G * O, ...] of a convolution
// from the two others, in this order. `extents` are the result's spatial ones.
enum class ConvolutionRole : uint8_t { Input, Weight, Output };
Value convolution(ConvolutionRole result, Value a, Value b, const ConvolutionSizes& sizes,
                  Ints extents);

// Shorthands that compose the above.
Value full(Ints dims, Value number);  // expand of a 0-d value
Value zeros(const Type& type);        // of its dtype and extents, on its device
Value ones(const Type& type);
Value zeros_like(Value x);
Value ones_like(Value x);
Value sum_to(Value x, Ints dims);  // the transpose of broadcasting
Value unsqueeze(Value x, int64_t axis);
Value move_axis(Value x, int64_t from, int64_t to);
Value flip(Value x, int64_t axis);
// Of these extents: element i is the element of x, in row-major order, at first + sum i[d]
// steps[d].
Value strided(Value x, Ints dims, int64_t first, Ints steps);
Value strided_places(Ints dims, int64_t first, Ints steps);  // where those elements stand

}  // namespace ops

// Arithmetic of values with equal dtypes; a number becomes a literal of the value's dtype.
#define TENON_VALUE_OPERATOR(symbol, name)                                                     \
  inline Value operator symbol(Value a, Value b) { return ops::binary(Op::name, a, b); }       \
  inline Value operator symbol(Value a, double b) { return a symbol ops::literal_like(a, b); } \
  inline Value operator symbol(double a, Value b) { return ops::literal_like(b, a) symbol b; }
TENON_VALUE_OPERATOR(+, Add)
TENON_VALUE_OPERATOR(-, Sub)
TENON_VALUE_OPERATOR(*, Mul)
TENON_VALUE_OPERATOR(/, Div)
TENON_VALUE_OPERATOR(<, Lt)
TENON_VALUE_OPERATOR(<=, Le)
TENON_VALUE_OPERATOR(>, Gt)
TENON_VALUE_OPERATOR(>=, Ge)
#undef TENON_VALUE_OPERATOR
inline Value operator-(Value a) { return ops::unary(Op::Neg, a); }
inline Value operator&(Value a, Value b) { return ops::binary(Op::BitwiseAnd, a, b); }
inline Value operator|(Value a, Value b) { return ops::binary(Op::BitwiseOr, a, b); }

}  // namespace tenon
