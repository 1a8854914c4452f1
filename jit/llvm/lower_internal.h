// The state of lowering one kernel, shared by the files that lower arithmetic, memory and control.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <map>
#include <vector>

#include "jit/llvm/lower.h"

namespace tenon::llvm_jit {

class Lowering {
 public:
  Lowering(const loop::Kernel& kernel, llvm::Module& module, const std::string& symbol,
           bool has_avx512);
  void run();

 private:
  using V = llvm::Value*;
  enum Argument { kBuffers, kInts, kScalars, kScratch, kBegin, kEnd, kError };

  // Types. f16 and bf16 travel as the integer of their bits; i1 is a byte in memory.
  llvm::Type* element(loop::Scalar type) const;
  llvm::Type* memory_element(loop::Scalar type) const;
  llvm::Type* shaped(llvm::Type* element, int lanes) const;
  llvm::Type* type_of(const loop::Node& node) const;

  V operand(size_t i) const { return values_[operands_[i]]; }
  const loop::Node& operand_node(size_t i) const { return kernel_[operands_[i]]; }
  V splat(V scalar_constant, int lanes);
  V integer(llvm::Type* type, int64_t value) const;  // in every lane
  V number(llvm::Type* type, double value) const;

  V lower_node(const loop::Node& node);
  V constant(const loop::Node& node);
  V parameter(const loop::Node& node);

  // arithmetic.cpp
  V unary(const loop::Node& node);
  V binary(const loop::Node& node);
  V float_binary(loop::BinaryOp op, V x, V y);
  V scale(V x, V y);
  V integer_binary(loop::BinaryOp op, loop::Scalar type, V x, V y);
  V integer_divide(loop::BinaryOp op, loop::Scalar type, V x, V y);
  V divide_wide(loop::BinaryOp op, loop::Scalar type, V x, V y);
  V call_slot(size_t number, loop::Scalar scalar, llvm::Type* type);  // memory of vector calls
  V compare(const loop::Node& node);
  V reduce(const loop::Node& node);
  V call(const loop::Node& node);

  // cast.cpp
  V cast(loop::Scalar to, loop::Scalar from, V x);
  V widen_half(loop::Scalar from, V x);
  V narrow_half(loop::Scalar to, V x);
  V float_to_integer(loop::Scalar to, V x);

  // memory.cpp
  V load(const loop::Node& node);
  void store(const loop::Node& node);
  V address(loop::Scalar type, V base, V index);
  V base_of(const loop::Node& node, size_t& first);
  void check(const loop::Node& node);

  // Control: brackets of the IR as blocks.
  struct Bracket {
    const loop::Node* node;
    std::span<const loop::Value> operands;
    loop::Value number;
    llvm::BasicBlock* before;
    llvm::BasicBlock* body;
    llvm::BasicBlock* after;  // or the else block
    llvm::BasicBlock* end = nullptr;
    llvm::BasicBlock* then_exit = nullptr;
    std::vector<V> then_results;
    std::vector<llvm::PHINode*> carried;
  };
  void begin_for(const loop::Node& node, loop::Value number);
  void end_for();
  void begin_if(const loop::Node& node, loop::Value number);
  void begin_else();
  void end_if();
  llvm::BasicBlock* block(const char* name);

  const loop::Kernel& kernel_;
  const bool has_avx512_;
  llvm::Module& module_;
  llvm::LLVMContext& context_;
  llvm::Function* function_;
  llvm::IRBuilder<> entry_;  // parameters are read here, once
  llvm::IRBuilder<> b_;
  std::vector<V> values_;
  std::span<const loop::Value> operands_;
  std::vector<V> buffers_;
  std::map<uint32_t, V> ints_;
  std::map<uint32_t, V> scalars_;
  std::map<std::pair<size_t, loop::Scalar>, V> call_slots_;
  std::vector<Bracket> brackets_;
  std::vector<V> results_;  // of the bracket that just ended
};

}  // namespace tenon::llvm_jit
