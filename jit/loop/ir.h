#pragma once

// The loop IR: what jit/ schedules a group of operations to, and what every back end compiles.
//
// A Kernel is one function: lists of parameters, and one vector of plain nodes in program order.
// A node's number is the value it computes (SSA); structure is a bracket of nodes, not a tree:
//
//     %5 = for %0 to %1 step %2 carry (%4)     the value of a `for` is its induction variable, i64
//     %6 = carried 0                           one node a carried value, first in the body
//        ...
//     end_for (%9)                             the carried values of the next iteration
//     %11 = result 0                           one node a carried value, right behind the loop
//
//     if %3 ... else (%7) ... end_if (%8), then `result` nodes: the same shape, with two bodies
//
// so an evaluator or code generator walks the vector once. A value is visible from its node to the
// end of the innermost bracket that holds it. Loops run `for (i = begin; i < end; i += step)`, step
// > 0.
//
// Every value has 1 lane (a scalar) or 16 (a vector; the only width of the IR on any host and for
// any dtype: a back end splits it into the machine's registers). The types of operands must agree
// exactly; Builder (builder.h) inserts broadcasts, and emits the same operation for several vectors
// side by side so that they are in flight together.
//
// What every operation means, bit for bit, on every back end:
// - Floating arithmetic is IEEE, to nearest even, never contracted (`fma` is its own operation).
//   The payload and sign of a NaN result are not specified; that it is NaN is.
// - f16 and bf16 are only moved, selected and cast; arithmetic is done in f32 (math.h does so).
// - maximum(a, b) is a if a is NaN, else (a > b ? a : b); so NaN propagates. minimum likewise.
// - Comparisons are IEEE: all are false on NaN, except `ne`.
// - Integers wrap, and have two's complement. Division truncates; x / 0 is 0 and x % 0 is x (put a
//   `check` in front to report it); INT_MIN / -1 is INT_MIN, INT_MIN % -1 is 0; abs(INT_MIN) wraps.
// - Shifts take the count as unsigned; a count >= the width gives 0, or the sign when the value is
//   signed and shifted right.
// - cast: float -> i32, u32, i64, u64 truncates; NaN, infinities and what does not fit give the
//   least value of the signed type of that width (x86's "indefinite", as PyTorch gives there:
//   u32 and u64 hold its bits). u32 and u64 accept negative values above the signed least and wrap.
//   float -> 8 and 16 bits goes through i32 and keeps the low bits. Anything -> i1 is `!= 0`, NaN
//   true. integer -> float rounds to nearest even. To f16 and bf16: through f32.
// - reduce: lanes halve 16 -> 8 -> 4 -> 2 -> 1, lane i with lane i + half.
// - A masked-off lane of a load gives the pass-through value and touches no memory; a masked-off
//   lane of a store writes nothing. A scattered store writes its lanes in ascending order.
// - i1 takes one byte in memory; any byte but 0 loads as true, true stores 1.
// - Memory is accessed in program order.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::loop {

enum class Scalar : uint8_t { I1, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64 };

constexpr int kLanes = 16;

int size_of(Scalar);  // bytes in memory
const char* name_of(Scalar);
constexpr bool is_float(Scalar s) { return s >= Scalar::F16; }
constexpr bool is_half(Scalar s) { return s == Scalar::F16 || s == Scalar::BF16; }
constexpr bool is_integer(Scalar s) { return s >= Scalar::U8 && s <= Scalar::I64; }
constexpr bool is_signed(Scalar s) {
  return s == Scalar::I8 || s == Scalar::I16 || s == Scalar::I32 || s == Scalar::I64 || is_float(s);
}

struct ValueType {
  Scalar scalar = Scalar::I64;
  uint8_t lanes = 1;
  bool operator==(const ValueType&) const = default;
};

using Value = uint32_t;
constexpr Value kNoValue = ~Value{0};

// `operands` below are the node's operands in order; "->" is the result.
enum class Op : uint8_t {
  Constant,      // -> payload: the bits of the type, in every lane
  IntParam,      // -> i64, Kernel::ints[index]
  ScalarParam,   // -> Kernel::scalars[index], already converted to its type
  RangeBegin,    // -> i64, first index of the parallel range of this call
  RangeEnd,      // -> i64, one past its last
  LaneIndex,     // -> 0..15 in an integer type, 16 lanes
  Unary,         // x; detail: UnaryOp
  Binary,        // x, y; detail: BinaryOp
  Compare,       // x, y; detail: CompareOp -> i1 of the operands' lanes
  Fma,           // x, y, z -> x * y + z rounded once (f32, f64)
  Select,        // i1 condition (same lanes), x, y
  Cast,          // x -> type, values converted
  Bitcast,       // x -> type of the same width, bits kept
  Broadcast,     // 1 lane -> 16
  Extract,       // 16 lanes -> lane `index`
  Reduce,        // 16 lanes; detail: ReduceOp -> 1 lane
  Call,          // per lane, a function of the host (math.h); index: its number
  Load,          // i64 element index [, i1 mask, pass-through] from buffer `index`.
                 // Index of 1 lane: unit stride for a vector; of 16 lanes: a gather
  Store,         // i64 element index, value [, i1 mask] to buffer `index`
  ScratchLoad,   // i64 byte offset, i64 element index [, i1 mask, pass-through]
  ScratchStore,  // i64 byte offset, i64 element index, value [, i1 mask]
  Check,    // i1 condition, i64 index, i64 value (all of the same lanes): where a lane is false,
            // report (payload: code, index: site) to the error slot. Execution goes on
  For,      // begin, end, step, initial values... -> i64 induction variable
  Carried,  // -> carried value `index` in this iteration
  EndFor,   // next values...
  If,       // i1 condition, 1 lane
  Else,     // results of the first body... (always present)
  EndIf,    // results of the second body...
  Result,   // -> result `index` of the bracket that just ended
};

enum class UnaryOp : uint8_t {
  Neg,
  Abs,
  Not,
  Sqrt,
  Floor,
  Ceil,
  Round,
  Trunc
};  // Round: half to even
enum class BinaryOp : uint8_t {
  Add,
  Sub,
  Mul,
  Div,
  Rem /* sign of the dividend; integers only */,
  Max,
  Min,
  And,
  Or,
  Xor,
  Shl,
  Shr,
  CopySign,
  Scale /* x * 2^y rounded once; y integral, |y| <= 250 (f32), 2000 (f64); NaN if y is NaN */,
};
enum class CompareOp : uint8_t { Eq, Ne, Lt, Le, Gt, Ge };
enum class ReduceOp : uint8_t { Sum, Prod, Max, Min, And, Or };

struct Node {
  Op op = Op::Constant;
  uint8_t detail = 0;
  Scalar type = Scalar::I64;   // of the result; of the stored value for stores
  uint8_t lanes = 0;           // of the result; 0: this node has none
  uint32_t first_operand = 0;  // into Kernel::operands
  uint32_t operand_count = 0;
  uint32_t index = 0;
  int64_t payload = 0;

  ValueType value_type() const { return {type, lanes}; }
  bool has_result() const { return lanes != 0; }
};
static_assert(sizeof(Node) == 24);

enum class Access : uint8_t { Read, Write, ReadWrite };

struct BufferParam {
  Scalar type = Scalar::F32;
  Access access = Access::Read;
};

// What a failed `check` means; the runtime turns it into an Error.
enum class CheckCode : uint8_t { IndexOutOfRange = 1, DivisionByZero = 2, Other = 3 };

// Where the first failure (smallest site, then smallest index) is kept. One slot may be shared by
// all workers of a launch. site is the kernel's own number: the plan maps it to the user's line, so
// that equal kernels from different lines stay equal. code 0: nothing failed.
struct ErrorSlot {
  int64_t index = 0;
  int64_t value = 0;
  uint32_t site = 0;
  uint32_t code = 0;
  uint32_t lock = 0;
  bool failed() const { return code != 0; }
};
void report_failure(ErrorSlot&, CheckCode, uint32_t site, int64_t index, int64_t value);

// Scratch a worker needs, in bytes: constant + sum of factor * ints[param] (each param >= 0).
struct ScratchSize {
  struct Term {
    int64_t factor = 0;
    uint32_t param = 0;
  };
  int64_t constant = 0;
  std::vector<Term> terms;
  int64_t bytes(const int64_t* ints) const;
};

struct Kernel {
  std::string name = "kernel";       // not part of the canonical form
  std::vector<BufferParam> buffers;  // base addresses are aligned to their element
  uint32_t ints = 0;                 // number of i64 parameters: extents, strides, offsets
  std::vector<Scalar> scalars;       // types; each arrives as 64 bits: of a double for floating
                                     // types (rounded to the type), of an int64 for all others
  ScratchSize scratch;               // scratch itself is aligned to 64 bytes
  uint16_t vector_bits = 0;          // of machine code, at most; 0: as wide as the host has them
  std::vector<Node> nodes;
  std::vector<Value> operands;

  std::span<const Value> operands_of(const Node& node) const {
    return {operands.data() + node.first_operand, node.operand_count};
  }
  const Node& operator[](Value v) const { return nodes[v]; }
};

// The compiled form of a kernel. Runs the indices [begin, end) of its parallel range; the meaning
// of an index (a row, a block of elements) is the kernel's. Buffers may overlap only where the
// kernel's program order of loads and stores is right for it.
using KernelFunction = void (*)(void* const* buffers, const int64_t* ints, const uint64_t* scalars,
                                void* scratch, int64_t begin, int64_t end, ErrorSlot* error);

// print.cpp. Text of a kernel, one node a line, indented by bracket.
std::string print(const Kernel&);

// parse.cpp. The kernel of a text that print gave. Value error, naming the line, for any other.
Kernel parse(std::string_view text);

// verify.cpp. Empty when well formed, else what is wrong first and where.
std::string verify(const Kernel&);

// canonical.cpp. Bytes that are equal exactly when two kernels are the same but for their names.
std::vector<std::byte> canonical_form(const Kernel&);

// interpreter.cpp. The oracle: runs a kernel by walking its nodes. Same arguments as the compiled
// form.
void interpret(const Kernel&, void* const* buffers, const int64_t* ints, const uint64_t* scalars,
               void* scratch, int64_t begin, int64_t end, ErrorSlot* error);

}  // namespace tenon::loop
