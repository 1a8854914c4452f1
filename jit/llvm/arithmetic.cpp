// Arithmetic of the loop IR in LLVM IR, with the meaning ir.h gives it.
#include <llvm/IR/IntrinsicsX86.h>

#include <array>

#include "jit/llvm/lower_internal.h"
#include "jit/loop/math.h"

namespace tenon::llvm_jit {

using loop::BinaryOp;
using loop::Node;
using loop::Scalar;
using loop::UnaryOp;
namespace Intrinsic = llvm::Intrinsic;

llvm::Value* Lowering::unary(const Node& node) {
  V x = operand(0);
  const bool is_float = loop::is_float(node.type);
  switch (static_cast<UnaryOp>(node.detail)) {
    case UnaryOp::Neg:
      return is_float ? b_.CreateFNeg(x) : b_.CreateNeg(x);
    case UnaryOp::Not:
      return b_.CreateNot(x);
    case UnaryOp::Abs:
      if (is_float) return b_.CreateUnaryIntrinsic(Intrinsic::fabs, x);
      if (!loop::is_signed(node.type)) return x;
      return b_.CreateSelect(b_.CreateICmpSLT(x, integer(x->getType(), 0)), b_.CreateNeg(x), x);
    case UnaryOp::Sqrt:
      return b_.CreateUnaryIntrinsic(Intrinsic::sqrt, x);
    case UnaryOp::Floor:
      return b_.CreateUnaryIntrinsic(Intrinsic::floor, x);
    case UnaryOp::Ceil:
      return b_.CreateUnaryIntrinsic(Intrinsic::ceil, x);
    case UnaryOp::Round:
      return b_.CreateUnaryIntrinsic(Intrinsic::roundeven, x);
    case UnaryOp::Trunc:
      return b_.CreateUnaryIntrinsic(Intrinsic::trunc, x);
  }
  return nullptr;
}

// x > y ? x : y is the machine's maximum, which gives y where either is NaN; so NaN in x needs
// one blend more.
llvm::Value* Lowering::float_binary(BinaryOp op, V x, V y) {
  switch (op) {
    case BinaryOp::Add:
      return b_.CreateFAdd(x, y);
    case BinaryOp::Sub:
      return b_.CreateFSub(x, y);
    case BinaryOp::Mul:
      return b_.CreateFMul(x, y);
    case BinaryOp::Div:
      return b_.CreateFDiv(x, y);
    case BinaryOp::CopySign:
      return b_.CreateBinaryIntrinsic(Intrinsic::copysign, x, y);
    case BinaryOp::Scale:
      return scale(x, y);
    default: {
      V first = op == BinaryOp::Max ? b_.CreateFCmpOGT(x, y) : b_.CreateFCmpOLT(x, y);
      return b_.CreateSelect(b_.CreateFCmpUNO(x, x), x, b_.CreateSelect(first, x, y));
    }
  }
}

// x * 2^y, rounded once. AVX-512 has it; elsewhere f32 goes through f64, where the product is
// exact, and f64 in three steps whose intermediate results lose nothing (as in C libraries' scalbn:
// down by 2^-969, so that 53 bits stay above the denormals until the last product).
llvm::Value* Lowering::scale(V x, V y) {
  llvm::Type* type = x->getType();
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  const bool is_single = type->getScalarType()->isFloatTy();
  if (vector && has_avx512_) {
    const unsigned width = is_single ? 16 : 8;
    llvm::Type* part = llvm::FixedVectorType::get(type->getScalarType(), width);
    llvm::Type* mask = llvm::Type::getIntNTy(context_, width);
    const auto once = [&](V a, V b) {
      return b_.CreateIntrinsic(is_single ? Intrinsic::x86_avx512_mask_scalef_ps_512
                                          : Intrinsic::x86_avx512_mask_scalef_pd_512,
                                {},
                                {a, b, llvm::PoisonValue::get(part), integer(mask, -1),
                                 b_.getInt32(4 /* current rounding */)});
    };
    if (is_single) return once(x, y);
    const std::vector<int> low{0, 1, 2, 3, 4, 5, 6, 7}, high{8, 9, 10, 11, 12, 13, 14, 15};
    V a = once(b_.CreateShuffleVector(x, low), b_.CreateShuffleVector(y, low));
    V c = once(b_.CreateShuffleVector(x, high), b_.CreateShuffleVector(y, high));
    return b_.CreateShuffleVector(
        a, c, std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  }
  const int lanes = vector ? loop::kLanes : 1;
  llvm::Type* f64 = shaped(llvm::Type::getDoubleTy(context_), lanes);
  llvm::Type* i64 = shaped(llvm::Type::getInt64Ty(context_), lanes);
  V is_nan = b_.CreateFCmpUNO(y, y);
  V exponent = b_.CreateFPToSI(b_.CreateSelect(is_nan, number(type, 0), y), i64);
  const auto power = [&](V n) {  // 2^n for a normal exponent
    return b_.CreateBitCast(b_.CreateShl(b_.CreateAdd(n, integer(i64, 1023)), integer(i64, 52)),
                            f64);
  };
  V scaled;
  if (is_single) {
    scaled = b_.CreateFPTrunc(b_.CreateFMul(b_.CreateFPExt(x, f64), power(exponent)), type);
  } else {
    scaled = x;
    for (int step = 0; step < 2; ++step) {
      V large = b_.CreateICmpSGT(exponent, integer(i64, 1023));
      V small = b_.CreateICmpSLT(exponent, integer(i64, -1022));
      V factor = b_.CreateSelect(large, number(f64, 0x1p1023),
                                 b_.CreateSelect(small, number(f64, 0x1p-969), number(f64, 1)));
      V moved = b_.CreateSelect(large, integer(i64, 1023),
                                b_.CreateSelect(small, integer(i64, -969), integer(i64, 0)));
      scaled = b_.CreateFMul(scaled, factor);
      exponent = b_.CreateSub(exponent, moved);
    }
    V below = b_.CreateICmpSLT(exponent, integer(i64, -1022));
    exponent = b_.CreateSelect(below, integer(i64, -1022), exponent);
    scaled = b_.CreateFMul(scaled, power(exponent));
  }
  return b_.CreateSelect(is_nan, y, scaled);
}

// 64 bits, 16 lanes. Indices and most data are below 2^51 and divided in f64, exactly as below
// (1 / |x| >= 2^-51); if a lane is not, or divides by zero, a helper of the host divides all.
// Adding 1.5 * 2^52 puts such an integer into the low bits of an f64: no machine before AVX-512
// converts vectors of 64-bit integers.
llvm::Value* Lowering::divide_wide(BinaryOp op, Scalar type, V x, V y) {
  llvm::Type* t = x->getType();
  llvm::Type* f64 = shaped(llvm::Type::getDoubleTy(context_), loop::kLanes);
  constexpr int64_t kLimit = int64_t{1} << 51;
  V shift = integer(t, std::bit_cast<int64_t>(0x1.8p52));
  V large = number(f64, 0x1.8p52);
  const auto is_small = [&](V v) {
    if (!loop::is_signed(type)) return b_.CreateICmpULT(v, integer(t, kLimit));
    return b_.CreateICmpULT(b_.CreateAdd(v, integer(t, kLimit)), integer(t, 2 * kLimit));
  };
  const auto wide = [&](V v) {
    return b_.CreateFSub(b_.CreateBitCast(b_.CreateAdd(v, shift), f64), large);
  };
  V fits = b_.CreateAnd(is_small(x), b_.CreateAnd(is_small(y), b_.CreateICmpNE(y, integer(t, 0))));
  auto* fast = block("small");
  auto* slow = block("large");
  auto* end = block("divided");
  b_.CreateCondBr(b_.CreateAndReduce(fits), fast, slow);

  b_.SetInsertPoint(fast);
  V dividend = wide(x), divisor = wide(y);
  V whole = b_.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, b_.CreateFDiv(dividend, divisor));
  V result = op == BinaryOp::Div ? whole : b_.CreateFSub(dividend, b_.CreateFMul(whole, divisor));
  V in_f64 = b_.CreateSub(b_.CreateBitCast(b_.CreateFAdd(result, large), t), shift);
  b_.CreateBr(end);

  b_.SetInsertPoint(slow);
  llvm::Type* pointer = llvm::PointerType::get(context_, 0);
  const auto helper = module_.getOrInsertFunction(
      division_symbol(op, type), llvm::Type::getVoidTy(context_), pointer, pointer, pointer);
  const std::array<V, 3> slots{call_slot(0, type, t), call_slot(1, type, t), call_slot(2, type, t)};
  b_.CreateStore(x, slots[0]);
  b_.CreateStore(y, slots[1]);
  b_.CreateCall(helper, slots);
  V by_host = b_.CreateLoad(t, slots[2]);
  b_.CreateBr(end);

  b_.SetInsertPoint(end);
  auto* phi = b_.CreatePHI(t, 2);
  phi->addIncoming(in_f64, fast);
  phi->addIncoming(by_host, slow);
  return phi;
}

// Machines divide no vectors of integers. Up to 32 bits the quotient is taken in f64: where x / y
// is no integer it is at least 1 / |y| away from one, which is 1 / |x| >= 2^-32 of it, far more
// than rounding moves it (2^-53); so it truncates right.
llvm::Value* Lowering::integer_divide(BinaryOp op, Scalar type, V x, V y) {
  llvm::Type* t = x->getType();
  const bool is_signed = loop::is_signed(type);
  const bool is_vector = t->isVectorTy();
  if (is_vector && loop::size_of(type) == 8) return divide_wide(op, type, x, y);
  // The divisors that trap or overflow are replaced by 1, and their results put in.
  V zero = integer(t, 0);
  V is_zero = b_.CreateICmpEQ(y, zero);
  V is_minus_one = is_signed ? b_.CreateICmpEQ(y, integer(t, -1)) : nullptr;
  V is_special = is_signed ? b_.CreateOr(is_zero, is_minus_one) : is_zero;
  V divisor = b_.CreateSelect(is_special, integer(t, 1), y);
  V quotient;
  if (is_vector) {
    llvm::Type* f64 = shaped(llvm::Type::getDoubleTy(context_), loop::kLanes);
    llvm::Type* i32 = shaped(llvm::Type::getInt32Ty(context_), loop::kLanes);
    const auto wide = [&](V v) {
      if (loop::size_of(type) < 4) v = is_signed ? b_.CreateSExt(v, i32) : b_.CreateZExt(v, i32);
      return is_signed ? b_.CreateSIToFP(v, f64) : b_.CreateUIToFP(v, f64);
    };
    V ratio = b_.CreateFDiv(wide(x), wide(divisor));
    quotient = is_signed ? b_.CreateFPToSI(ratio, i32) : b_.CreateFPToUI(ratio, i32);
    quotient = b_.CreateTrunc(quotient, t);
  } else {
    quotient = is_signed ? b_.CreateSDiv(x, divisor) : b_.CreateUDiv(x, divisor);
  }
  if (op == BinaryOp::Rem) {
    V rest = b_.CreateSub(x, b_.CreateMul(quotient, divisor));  // 0 where the divisor became 1
    return b_.CreateSelect(is_zero, x, rest);
  }
  if (is_signed) quotient = b_.CreateSelect(is_minus_one, b_.CreateNeg(x), quotient);
  return b_.CreateSelect(is_zero, zero, quotient);
}

llvm::Value* Lowering::integer_binary(BinaryOp op, Scalar type, V x, V y) {
  llvm::Type* t = x->getType();
  const bool is_signed = loop::is_signed(type);
  V zero = integer(t, 0);
  switch (op) {
    case BinaryOp::Add:
      return b_.CreateAdd(x, y);
    case BinaryOp::Sub:
      return b_.CreateSub(x, y);
    case BinaryOp::Mul:
      return b_.CreateMul(x, y);
    case BinaryOp::And:
      return b_.CreateAnd(x, y);
    case BinaryOp::Or:
      return b_.CreateOr(x, y);
    case BinaryOp::Xor:
      return b_.CreateXor(x, y);
    case BinaryOp::Max:
      return b_.CreateSelect(is_signed ? b_.CreateICmpSGT(x, y) : b_.CreateICmpUGT(x, y), x, y);
    case BinaryOp::Min:
      return b_.CreateSelect(is_signed ? b_.CreateICmpSLT(x, y) : b_.CreateICmpULT(x, y), x, y);
    case BinaryOp::Div:
    case BinaryOp::Rem:
      return integer_divide(op, type, x, y);
    case BinaryOp::Shl:
    case BinaryOp::Shr: {
      const int bits = 8 * loop::size_of(type);
      V fits = b_.CreateICmpULT(y, integer(t, bits));
      V count =
          b_.CreateSelect(fits, y, integer(t, op == BinaryOp::Shr && is_signed ? bits - 1 : 0));
      if (op == BinaryOp::Shr && is_signed) return b_.CreateAShr(x, count);
      V shifted = op == BinaryOp::Shl ? b_.CreateShl(x, count) : b_.CreateLShr(x, count);
      return b_.CreateSelect(fits, shifted, zero);
    }
    default:
      break;
  }
  return nullptr;
}

llvm::Value* Lowering::binary(const Node& node) {
  const auto op = static_cast<BinaryOp>(node.detail);
  return loop::is_float(node.type) ? float_binary(op, operand(0), operand(1))
                                   : integer_binary(op, node.type, operand(0), operand(1));
}

llvm::Value* Lowering::compare(const Node& node) {
  using P = llvm::CmpInst;
  static constexpr P::Predicate kFloat[] = {P::FCMP_OEQ, P::FCMP_UNE, P::FCMP_OLT,
                                            P::FCMP_OLE, P::FCMP_OGT, P::FCMP_OGE};
  static constexpr P::Predicate kSigned[] = {P::ICMP_EQ,  P::ICMP_NE,  P::ICMP_SLT,
                                             P::ICMP_SLE, P::ICMP_SGT, P::ICMP_SGE};
  static constexpr P::Predicate kUnsigned[] = {P::ICMP_EQ,  P::ICMP_NE,  P::ICMP_ULT,
                                               P::ICMP_ULE, P::ICMP_UGT, P::ICMP_UGE};
  const Scalar type = operand_node(0).type;
  if (loop::is_float(type)) return b_.CreateFCmp(kFloat[node.detail], operand(0), operand(1));
  return b_.CreateICmp((loop::is_signed(type) ? kSigned : kUnsigned)[node.detail], operand(0),
                       operand(1));
}

llvm::Value* Lowering::reduce(const Node& node) {
  static constexpr BinaryOp kCombine[] = {BinaryOp::Add, BinaryOp::Mul, BinaryOp::Max,
                                          BinaryOp::Min, BinaryOp::And, BinaryOp::Or};
  const BinaryOp op = kCombine[node.detail];
  V lanes = operand(0);
  for (int half = loop::kLanes / 2; half > 0; half /= 2) {
    std::vector<int> low, high;
    for (int i = 0; i < half; ++i) {
      low.push_back(i);
      high.push_back(i + half);
    }
    V a = b_.CreateShuffleVector(lanes, low), c = b_.CreateShuffleVector(lanes, high);
    lanes =
        loop::is_float(node.type) ? float_binary(op, a, c) : integer_binary(op, node.type, a, c);
  }
  return b_.CreateExtractElement(lanes, uint64_t{0});
}

llvm::Value* Lowering::call_slot(size_t number, Scalar scalar, llvm::Type* type) {
  V& slot = call_slots_[{number, scalar}];
  if (!slot) slot = entry_.CreateAlloca(type);
  return slot;
}

// Through a function of the host, in f64. A vector goes through memory to a helper that loops over
// the lanes: sixteen inlined calls would be most of a kernel's code.
llvm::Value* Lowering::call(const Node& node) {
  const loop::HostFunction& host = loop::host_functions()[node.index];
  llvm::Type* f64 = llvm::Type::getDoubleTy(context_);
  const size_t count = host.unary ? 1 : 2;
  auto* type = llvm::FunctionType::get(f64, std::vector<llvm::Type*>(count, f64), false);
  auto callee = module_.getOrInsertFunction(std::string(kHostPrefix) + host.name, type);
  if (node.lanes == 1) {
    std::vector<V> arguments(count);
    for (size_t i = 0; i < count; ++i) arguments[i] = cast(Scalar::F64, node.type, operand(i));
    return cast(node.type, Scalar::F64, b_.CreateCall(callee, arguments));
  }
  // void helper(function, x, y, result); x again where there is no y.
  llvm::Type* pointer = llvm::PointerType::get(context_, 0);
  const auto helper =
      module_.getOrInsertFunction(lanes_symbol(host, node.type), llvm::Type::getVoidTy(context_),
                                  pointer, pointer, pointer, pointer);
  std::vector<V> slots;
  for (size_t i = 0; i < 3; ++i) {
    slots.push_back(call_slot(i, node.type, type_of(node)));
    if (i < count) b_.CreateStore(operand(i), slots.back());
  }
  b_.CreateCall(helper, {callee.getCallee(), slots[0], slots[count == 1 ? 0 : 1], slots[2]});
  return b_.CreateLoad(type_of(node), slots[2]);
}

}  // namespace tenon::llvm_jit
