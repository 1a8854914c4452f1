// Conversions between the scalar types, with the results ir.h documents for every input.
#include "jit/llvm/lower_internal.h"

namespace tenon::llvm_jit {

using loop::Scalar;

namespace {

int lanes_of(llvm::Value* x) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  return vector ? static_cast<int>(vector->getNumElements()) : 1;
}

}  // namespace

llvm::Value* Lowering::widen_half(Scalar from, V x) {
  const int lanes = lanes_of(x);
  llvm::Type* f32 = shaped(llvm::Type::getFloatTy(context_), lanes);
  if (from == Scalar::F16) {
    V half = b_.CreateBitCast(x, shaped(llvm::Type::getHalfTy(context_), lanes));
    return b_.CreateFPExt(half, f32);
  }
  llvm::Type* i32 = shaped(llvm::Type::getInt32Ty(context_), lanes);
  return b_.CreateBitCast(b_.CreateShl(b_.CreateZExt(x, i32), integer(i32, 16)), f32);
}

// bf16 is rounded by integer arithmetic: the machine's instruction would flush denormals.
llvm::Value* Lowering::narrow_half(Scalar to, V x) {
  const int lanes = lanes_of(x);
  llvm::Type* i16 = shaped(llvm::Type::getInt16Ty(context_), lanes);
  if (to == Scalar::F16) {
    V half = b_.CreateFPTrunc(x, shaped(llvm::Type::getHalfTy(context_), lanes));
    return b_.CreateBitCast(half, i16);
  }
  llvm::Type* i32 = shaped(llvm::Type::getInt32Ty(context_), lanes);
  V bits = b_.CreateBitCast(x, i32);
  V odd = b_.CreateAnd(b_.CreateLShr(bits, integer(i32, 16)), integer(i32, 1));
  V rounded = b_.CreateAdd(bits, b_.CreateAdd(odd, integer(i32, 0x7fff)));
  V quiet = b_.CreateOr(bits, integer(i32, 0x400000));
  V chosen = b_.CreateSelect(b_.CreateFCmpUNO(x, x), quiet, rounded);
  return b_.CreateTrunc(b_.CreateLShr(chosen, integer(i32, 16)), i16);
}

// Truncation; NaN and what does not fit give the least value of the signed type of that width.
// fptosi and fptoui are only looked at where the operand is in range.
llvm::Value* Lowering::float_to_integer(Scalar to, V x) {
  llvm::Type* f = x->getType();
  const int lanes = lanes_of(x);
  const bool is_double = f->getScalarType()->isDoubleTy();
  if (to == Scalar::I1) return b_.CreateFCmpUNE(x, number(f, 0));
  constexpr double k31 = 2147483648.0, k63 = 9223372036854775808.0;
  // Above which value truncation fits: in f32 the last representable one is -2^31 itself.
  const auto above = [&](double least) {
    return is_double ? b_.CreateFCmpOGT(x, number(f, least - 1))
                     : b_.CreateFCmpOGE(x, number(f, least));
  };
  llvm::Type* i64 = shaped(llvm::Type::getInt64Ty(context_), lanes);
  llvm::Type* i32 = shaped(llvm::Type::getInt32Ty(context_), lanes);
  switch (to) {
    case Scalar::I64: {
      V fits =
          b_.CreateAnd(b_.CreateFCmpOGE(x, number(f, -k63)), b_.CreateFCmpOLT(x, number(f, k63)));
      return b_.CreateSelect(fits, b_.CreateFPToSI(x, i64), integer(i64, INT64_MIN));
    }
    case Scalar::U64: {
      V fits = b_.CreateAnd(b_.CreateFCmpOGE(x, number(f, -k63)),
                            b_.CreateFCmpOLT(x, number(f, 2 * k63)));
      V negative = b_.CreateFCmpOLT(x, number(f, 0));
      V value = b_.CreateSelect(negative, b_.CreateFPToSI(x, i64), b_.CreateFPToUI(x, i64));
      return b_.CreateSelect(fits, value, integer(i64, INT64_MIN));
    }
    case Scalar::U32: {
      V fits = b_.CreateAnd(above(-k31), b_.CreateFCmpOLT(x, number(f, 2 * k31)));
      V value = b_.CreateTrunc(b_.CreateFPToSI(x, i64), i32);
      return b_.CreateSelect(fits, value, integer(i32, INT32_MIN));
    }
    default: {
      V fits = b_.CreateAnd(above(-k31), b_.CreateFCmpOLT(x, number(f, k31)));
      V value = b_.CreateSelect(fits, b_.CreateFPToSI(x, i32), integer(i32, INT32_MIN));
      return loop::size_of(to) == 4 ? value : b_.CreateTrunc(value, shaped(element(to), lanes));
    }
  }
}

llvm::Value* Lowering::cast(Scalar to, Scalar from, V x) {
  if (to == from) return x;
  const int lanes = lanes_of(x);
  llvm::Type* type = shaped(element(to), lanes);
  llvm::Type* f32 = shaped(llvm::Type::getFloatTy(context_), lanes);
  if (loop::is_float(from)) {
    if (loop::is_half(from)) {
      x = widen_half(from, x);
      from = Scalar::F32;
      if (to == Scalar::F32) return x;
    }
    if (!loop::is_float(to)) return float_to_integer(to, x);
    if (to == Scalar::F64) return b_.CreateFPExt(x, type);
    V single = from == Scalar::F64 ? b_.CreateFPTrunc(x, f32) : x;
    return to == Scalar::F32 ? single : narrow_half(to, single);
  }
  const bool is_signed = loop::is_signed(from);
  if (loop::is_float(to)) {
    llvm::Type* direct = loop::is_half(to) ? f32 : type;
    V value = is_signed ? b_.CreateSIToFP(x, direct) : b_.CreateUIToFP(x, direct);
    return loop::is_half(to) ? narrow_half(to, value) : value;
  }
  if (to == Scalar::I1) return b_.CreateICmpNE(x, integer(x->getType(), 0));
  return is_signed ? b_.CreateSExtOrTrunc(x, type) : b_.CreateZExtOrTrunc(x, type);
}

}  // namespace tenon::llvm_jit
