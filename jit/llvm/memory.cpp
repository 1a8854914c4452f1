// Loads, stores and checks.
#include "jit/llvm/lower_internal.h"

namespace tenon::llvm_jit {

using loop::Node;
using loop::Op;
using loop::Scalar;

namespace {

bool is_vector(llvm::Value* x) { return x->getType()->isVectorTy(); }

}  // namespace

// Where the access starts: a buffer, or scratch and an offset in bytes (then operand 0 is that).
llvm::Value* Lowering::base_of(const Node& node, size_t& first) {
  const bool is_scratch = node.op == Op::ScratchLoad || node.op == Op::ScratchStore;
  first = is_scratch ? 1 : 0;
  if (!is_scratch) return buffers_[node.index];
  return b_.CreateGEP(llvm::Type::getInt8Ty(context_), function_->getArg(kScratch), operand(0));
}

llvm::Value* Lowering::address(Scalar type, V base, V index) {
  return b_.CreateGEP(memory_element(type), base, index);
}

llvm::Value* Lowering::load(const Node& node) {
  size_t first;
  V base = base_of(node, first);
  V index = operand(first);
  V mask = operands_.size() > first + 1 ? operand(first + 1) : nullptr;
  V pass = mask ? operand(first + 2) : nullptr;
  const bool is_bool = node.type == Scalar::I1;
  const int lanes = node.lanes;
  llvm::Type* type = shaped(memory_element(node.type), lanes);
  const llvm::Align align(loop::size_of(node.type));
  if (pass && is_bool) pass = b_.CreateZExt(pass, type);
  V at = address(node.type, base, index);
  V value;
  if (is_vector(index)) {
    V all = mask ? mask : b_.getAllOnesMask(llvm::ElementCount::getFixed(lanes));
    value = b_.CreateMaskedGather(type, at, align, all, pass);
  } else if (!mask) {
    value = b_.CreateAlignedLoad(type, at, align);
  } else if (lanes > 1) {
    value = b_.CreateMaskedLoad(type, at, align, mask, pass);
  } else {  // a scalar under a condition
    auto* before = b_.GetInsertBlock();
    auto *then = block("load"), *after = block("loaded");
    b_.CreateCondBr(mask, then, after);
    b_.SetInsertPoint(then);
    V loaded = b_.CreateAlignedLoad(type, at, align);
    b_.CreateBr(after);
    b_.SetInsertPoint(after);
    auto* phi = b_.CreatePHI(type, 2);
    phi->addIncoming(pass, before);
    phi->addIncoming(loaded, then);
    value = phi;
  }
  return is_bool ? b_.CreateICmpNE(value, integer(type, 0)) : value;
}

void Lowering::store(const Node& node) {
  size_t first;
  V base = base_of(node, first);
  V index = operand(first);
  V value = operand(first + 1);
  V mask = operands_.size() > first + 2 ? operand(first + 2) : nullptr;
  const Scalar type = operand_node(first + 1).type;
  const llvm::Align align(loop::size_of(type));
  if (type == Scalar::I1) {
    value = b_.CreateZExt(value, shaped(memory_element(type), is_vector(value) ? loop::kLanes : 1));
  }
  V at = address(type, base, index);
  if (is_vector(index)) {
    V all = mask ? mask : b_.getAllOnesMask(llvm::ElementCount::getFixed(loop::kLanes));
    b_.CreateMaskedScatter(value, at, align, all);
  } else if (!mask) {
    b_.CreateAlignedStore(value, at, align);
  } else if (is_vector(value)) {
    b_.CreateMaskedStore(value, at, align, mask);
  } else {
    auto *then = block("store"), *after = block("stored");
    b_.CreateCondBr(mask, then, after);
    b_.SetInsertPoint(then);
    b_.CreateAlignedStore(value, at, align);
    b_.CreateBr(after);
    b_.SetInsertPoint(after);
  }
}

// The good case is one comparison and a branch; the bad one stores the lanes and calls out.
void Lowering::check(const Node& node) {
  V good = operand(0);
  const bool vector = is_vector(good);
  const int lanes = vector ? loop::kLanes : 1;
  llvm::Type* i16 = llvm::Type::getInt16Ty(context_);
  llvm::Type* i32 = llvm::Type::getInt32Ty(context_);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context_);
  llvm::Type* pointer = llvm::PointerType::get(context_, 0);
  V bad = b_.CreateNot(good);
  V bits = vector ? b_.CreateZExt(b_.CreateBitCast(bad, i16), i32) : b_.CreateZExt(bad, i32);
  auto *report = block("report"), *after = block("checked");
  b_.CreateCondBr(b_.CreateICmpNE(bits, integer(i32, 0)), report, after);
  b_.SetInsertPoint(report);
  llvm::Type* lane_array = shaped(i64, lanes);
  V index = entry_.CreateAlloca(lane_array);
  V value = entry_.CreateAlloca(lane_array);
  b_.CreateStore(operand(1), index);
  b_.CreateStore(operand(2), value);
  const auto callee = module_.getOrInsertFunction(kReportSymbol, llvm::Type::getVoidTy(context_),
                                                  pointer, i32, i32, i32, pointer, pointer);
  b_.CreateCall(callee, {function_->getArg(kError), integer(i32, node.payload),
                         integer(i32, node.index), bits, index, value});
  b_.CreateBr(after);
  b_.SetInsertPoint(after);
}

}  // namespace tenon::llvm_jit
