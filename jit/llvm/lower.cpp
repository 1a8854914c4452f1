#include "jit/llvm/lower.h"

#include <array>

#include "core/error.h"
#include "jit/llvm/lower_internal.h"

namespace tenon::llvm_jit {

using loop::Node;
using loop::Op;
using loop::Scalar;

Lowering::Lowering(const loop::Kernel& kernel, llvm::Module& module, const std::string& symbol,
                   bool has_avx512)
    : kernel_(kernel),
      has_avx512_(has_avx512 && (kernel.vector_bits == 0 || kernel.vector_bits >= 512)),
      module_(module),
      context_(module.getContext()),
      entry_(context_),
      b_(context_),
      values_(kernel.nodes.size()) {
  llvm::Type* pointer = llvm::PointerType::get(context_, 0);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context_);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context_),
                              {pointer, pointer, pointer, pointer, i64, i64, pointer}, false);
  function_ = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, module);
  function_->addFnAttr(llvm::Attribute::NoUnwind);
  function_->addFnAttr("no-frame-pointer-elim", "false");
  if (kernel_.vector_bits != 0) {
    function_->addFnAttr("prefer-vector-width", std::to_string(kernel_.vector_bits));
    function_->addFnAttr("min-legal-vector-width", "0");
  }
}

void Lowering::run() {
  auto* entry = llvm::BasicBlock::Create(context_, "entry", function_);
  auto* start = llvm::BasicBlock::Create(context_, "start", function_);
  entry_.SetInsertPoint(entry);
  b_.SetInsertPoint(start);
  llvm::Type* pointer = llvm::PointerType::get(context_, 0);
  for (size_t i = 0; i < kernel_.buffers.size(); ++i) {
    V slot = entry_.CreateConstInBoundsGEP1_64(pointer, function_->getArg(kBuffers), i);
    buffers_.push_back(entry_.CreateLoad(pointer, slot, "buffer"));
  }
  for (loop::Value v = 0; v < kernel_.nodes.size(); ++v) {
    const Node& node = kernel_.nodes[v];
    operands_ = kernel_.operands_of(node);
    switch (node.op) {
      case Op::For:
        begin_for(node, v);
        break;
      case Op::EndFor:
        end_for();
        break;
      case Op::If:
        begin_if(node, v);
        break;
      case Op::Else:
        begin_else();
        break;
      case Op::EndIf:
        end_if();
        break;
      case Op::Store:
      case Op::ScratchStore:
        store(node);
        break;
      case Op::Check:
        check(node);
        break;
      default:
        values_[v] = lower_node(node);
    }
  }
  b_.CreateRetVoid();
  entry_.CreateBr(start);
}

llvm::Type* Lowering::element(Scalar type) const {
  switch (type) {
    case Scalar::I1:
      return llvm::Type::getInt1Ty(context_);
    case Scalar::F32:
      return llvm::Type::getFloatTy(context_);
    case Scalar::F64:
      return llvm::Type::getDoubleTy(context_);
    default:
      return llvm::Type::getIntNTy(context_, 8 * loop::size_of(type));
  }
}

llvm::Type* Lowering::memory_element(Scalar type) const {
  return type == Scalar::I1 ? llvm::Type::getInt8Ty(context_) : element(type);
}

llvm::Type* Lowering::shaped(llvm::Type* element, int lanes) const {
  return lanes == 1 ? element : llvm::FixedVectorType::get(element, lanes);
}

llvm::Type* Lowering::type_of(const Node& node) const {
  return shaped(element(node.type), node.lanes);
}

llvm::Value* Lowering::splat(V scalar, int lanes) {
  return lanes == 1 ? scalar : b_.CreateVectorSplat(lanes, scalar);
}

llvm::Value* Lowering::integer(llvm::Type* type, int64_t value) const {
  return llvm::ConstantInt::get(type, static_cast<uint64_t>(value), true);
}

llvm::Value* Lowering::number(llvm::Type* type, double value) const {
  return llvm::ConstantFP::get(type, value);
}

llvm::Value* Lowering::constant(const Node& node) {
  llvm::Type* type = element(node.type);
  llvm::Constant* bits;
  if (type->isFloatTy()) {
    const auto word = llvm::APInt(32, static_cast<uint32_t>(node.payload));
    bits = llvm::ConstantFP::get(context_, llvm::APFloat(llvm::APFloat::IEEEsingle(), word));
  } else if (type->isDoubleTy()) {
    const auto word = llvm::APInt(64, static_cast<uint64_t>(node.payload));
    bits = llvm::ConstantFP::get(context_, llvm::APFloat(llvm::APFloat::IEEEdouble(), word));
  } else {
    const unsigned width = type->getIntegerBitWidth();
    const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
    bits = llvm::ConstantInt::get(type, static_cast<uint64_t>(node.payload) & mask);
  }
  return splat(bits, node.lanes);
}

// Parameters are read in the entry block, wherever their node stands.
llvm::Value* Lowering::parameter(const Node& node) {
  llvm::Type* i64 = llvm::Type::getInt64Ty(context_);
  auto& known = node.op == Op::IntParam ? ints_ : scalars_;
  V& value = known[node.index];
  if (value) return value;
  const bool is_int = node.op == Op::IntParam;
  V slot = entry_.CreateConstInBoundsGEP1_64(i64, function_->getArg(is_int ? kInts : kScalars),
                                             node.index);
  if (is_int) return value = entry_.CreateLoad(i64, slot, "int");
  // A scalar arrives as a double or an int64, and is converted to its type.
  const llvm::IRBuilderBase::InsertPointGuard guard(b_);
  b_.SetInsertPoint(entry_.GetInsertBlock());
  const bool is_float = loop::is_float(node.type);
  llvm::Type* payload = is_float ? llvm::Type::getDoubleTy(context_) : i64;
  value =
      cast(node.type, is_float ? Scalar::F64 : Scalar::I64, b_.CreateLoad(payload, slot, "scalar"));
  return value;
}

llvm::Value* Lowering::lower_node(const Node& node) {
  switch (node.op) {
    case Op::Constant:
      return constant(node);
    case Op::IntParam:
    case Op::ScalarParam:
      return parameter(node);
    case Op::RangeBegin:
      return function_->getArg(kBegin);
    case Op::RangeEnd:
      return function_->getArg(kEnd);
    case Op::LaneIndex: {
      std::array<llvm::Constant*, loop::kLanes> lanes;
      for (int i = 0; i < loop::kLanes; ++i) {
        lanes[i] =
            llvm::cast<llvm::Constant>(loop::is_float(node.type) ? number(element(node.type), i)
                                                                 : integer(element(node.type), i));
      }
      return llvm::ConstantVector::get(lanes);
    }
    case Op::Unary:
      return unary(node);
    case Op::Binary:
      return binary(node);
    case Op::Compare:
      return compare(node);
    case Op::Fma:
      return b_.CreateIntrinsic(llvm::Intrinsic::fma, {type_of(node)},
                                {operand(0), operand(1), operand(2)});
    case Op::Select:
      return b_.CreateSelect(operand(0), operand(1), operand(2));
    case Op::Cast:
      return cast(node.type, operand_node(0).type, operand(0));
    case Op::Bitcast:
      return b_.CreateBitCast(operand(0), type_of(node));
    case Op::Broadcast:
      return b_.CreateVectorSplat(loop::kLanes, operand(0));
    case Op::Extract:
      return b_.CreateExtractElement(operand(0), uint64_t{node.index});
    case Op::Reduce:
      return reduce(node);
    case Op::Call:
      return call(node);
    case Op::Load:
    case Op::ScratchLoad:
      return load(node);
    case Op::Carried:
      return brackets_.back().carried[node.index];
    case Op::Result:
      return results_[node.index];
    default:
      fail(ErrorKind::Internal, "the loop IR has an operation LLVM code can't be made for");
  }
}

llvm::BasicBlock* Lowering::block(const char* name) {
  return llvm::BasicBlock::Create(context_, name, function_);
}

void Lowering::begin_for(const Node& node, loop::Value number) {
  Bracket bracket{&node, operands_, number, b_.GetInsertBlock(), block("body"), block("after")};
  b_.CreateCondBr(b_.CreateICmpSLT(operand(0), operand(1)), bracket.body, bracket.after);
  b_.SetInsertPoint(bracket.body);
  auto* index = b_.CreatePHI(llvm::Type::getInt64Ty(context_), 2, "i");
  index->addIncoming(operand(0), bracket.before);
  values_[number] = index;
  for (size_t i = 3; i < operands_.size(); ++i) {
    auto* phi = b_.CreatePHI(operand(i)->getType(), 2, "carried");
    phi->addIncoming(operand(i), bracket.before);
    bracket.carried.push_back(phi);
  }
  brackets_.push_back(std::move(bracket));
}

void Lowering::end_for() {
  const Bracket bracket = std::move(brackets_.back());
  brackets_.pop_back();
  auto* index = llvm::cast<llvm::PHINode>(values_[bracket.number]);
  V next = b_.CreateNSWAdd(index, values_[bracket.operands[2]]);
  auto* latch = b_.GetInsertBlock();
  b_.CreateCondBr(b_.CreateICmpSLT(next, values_[bracket.operands[1]]), bracket.body,
                  bracket.after);
  index->addIncoming(next, latch);
  std::vector<V> next_values(operands_.size());
  for (size_t i = 0; i < operands_.size(); ++i) next_values[i] = operand(i);
  b_.SetInsertPoint(bracket.after);
  results_.clear();
  for (size_t i = 0; i < next_values.size(); ++i) {
    bracket.carried[i]->addIncoming(next_values[i], latch);
    auto* phi = b_.CreatePHI(next_values[i]->getType(), 2, "result");
    phi->addIncoming(values_[bracket.operands[3 + i]], bracket.before);
    phi->addIncoming(next_values[i], latch);
    results_.push_back(phi);
  }
}

void Lowering::begin_if(const Node& node, loop::Value number) {
  Bracket bracket{&node,         operands_,     number,        b_.GetInsertBlock(),
                  block("then"), block("else"), block("endif")};
  b_.CreateCondBr(operand(0), bracket.body, bracket.after);
  b_.SetInsertPoint(bracket.body);
  brackets_.push_back(std::move(bracket));
}

void Lowering::begin_else() {
  Bracket& bracket = brackets_.back();
  for (size_t i = 0; i < operands_.size(); ++i) bracket.then_results.push_back(operand(i));
  bracket.then_exit = b_.GetInsertBlock();
  b_.CreateBr(bracket.end);
  b_.SetInsertPoint(bracket.after);
}

void Lowering::end_if() {
  const Bracket bracket = std::move(brackets_.back());
  brackets_.pop_back();
  auto* else_exit = b_.GetInsertBlock();
  b_.CreateBr(bracket.end);
  b_.SetInsertPoint(bracket.end);
  results_.clear();
  for (size_t i = 0; i < operands_.size(); ++i) {
    auto* phi = b_.CreatePHI(operand(i)->getType(), 2, "result");
    phi->addIncoming(bracket.then_results[i], bracket.then_exit);
    phi->addIncoming(operand(i), else_exit);
    results_.push_back(phi);
  }
}

std::string lanes_symbol(const loop::HostFunction& function, loop::Scalar type) {
  return std::string("tenon_lanes_") + (function.unary ? "unary_" : "binary_") +
         loop::name_of(type);
}

std::string division_symbol(loop::BinaryOp op, loop::Scalar type) {
  return std::string(op == loop::BinaryOp::Div ? "tenon_div_" : "tenon_rem_") + loop::name_of(type);
}

std::unique_ptr<llvm::Module> lower(const loop::Kernel& kernel, llvm::LLVMContext& context,
                                    const std::string& symbol, bool has_avx512) {
  auto module = std::make_unique<llvm::Module>("tenon", context);
  Lowering(kernel, *module, symbol, has_avx512).run();
  return module;
}

}  // namespace tenon::llvm_jit
