#include "jit/llvm/target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/SubtargetFeature.h>

#include <mutex>

#include "core/env.h"
#include "core/error.h"

namespace tenon::llvm_jit {
namespace {

void initialize_targets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
}

}  // namespace

const TargetSpec& host() {
  static const TargetSpec spec = [] {
    // Code for an older processor than this one, to test what it would run (e.g. "haswell").
    const std::string cpu = env_string("TENON_TARGET_CPU", "");
    if (!cpu.empty()) return TargetSpec{llvm::sys::getProcessTriple(), cpu, ""};
    llvm::SubtargetFeatures features;
    for (const auto& feature : llvm::sys::getHostCPUFeatures()) {
      features.AddFeature(feature.getKey(), feature.getValue());
    }
    // LLVM halves vectors on processors where 512 bits once cost frequency; all of ours keep it.
    if (llvm::sys::getHostCPUFeatures().lookup("avx512f")) features.AddFeature("-prefer-256-bit");
    return TargetSpec{llvm::sys::getProcessTriple(), std::string(llvm::sys::getHostCPUName()),
                      features.getString()};
  }();
  return spec;
}

std::string host_description() {
  const TargetSpec& spec = host();
  return spec.triple + " " + spec.cpu + " " + spec.features + " LLVM " LLVM_VERSION_STRING;
}

std::unique_ptr<llvm::TargetMachine> make_machine(const TargetSpec& spec, Tier tier) {
  initialize_targets();
  std::string message;
#if LLVM_VERSION_MAJOR >= 22
  const llvm::Triple triple(spec.triple);
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, message);
#else
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(spec.triple, message);
#endif
  check(target != nullptr, ErrorKind::Internal, "LLVM has no target {}: {}", spec.triple, message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
#if LLVM_VERSION_MAJOR >= 21
  const llvm::Triple machine_triple(spec.triple);
#else
  const std::string& machine_triple = spec.triple;
#endif
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      machine_triple, spec.cpu, spec.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      tier == Tier::Quick ? llvm::CodeGenOptLevel::None : llvm::CodeGenOptLevel::Less, true));
  check(machine != nullptr, ErrorKind::Internal, "LLVM can't make code for {}", spec.triple);
  machine->setFastISel(tier == Tier::Quick);
  return machine;
}

}  // namespace tenon::llvm_jit
