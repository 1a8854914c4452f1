// One kernel of the loop IR as one function of LLVM IR. Internal to jit/llvm/.
#pragma once

#include <llvm/IR/Module.h>

#include <memory>
#include <string>

#include "jit/loop/ir.h"
#include "jit/loop/math.h"

namespace tenon::llvm_jit {

// Symbols that compiled code calls: host functions carry their name behind this prefix.
inline constexpr const char* kHostPrefix = "tenon_host_";
// Helpers that apply a host function to 16 lanes: void(function, const T* x, const T* y, T*
// result).
std::string lanes_symbol(const loop::HostFunction& function, loop::Scalar type);
// Helpers that divide 16 lanes of i64 or u64: void(const T* x, const T* y, T* result).
std::string division_symbol(loop::BinaryOp op, loop::Scalar type);
inline constexpr const char* kReportSymbol = "tenon_report_checks";
// void(ErrorSlot*, u32 code, u32 site, u32 failed lanes, const i64* index, const i64* value)

std::unique_ptr<llvm::Module> lower(const loop::Kernel& kernel, llvm::LLVMContext& context,
                                    const std::string& symbol, bool has_avx512);

}  // namespace tenon::llvm_jit
