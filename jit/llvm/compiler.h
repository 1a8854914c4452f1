// From kernels of the loop IR to machine code, through LLVM.
//
// In: verified kernels. Out: functions of the signature loop::KernelFunction that live as long as
// their CompiledCode. Code is emitted as explicit vectors for the host's features; nothing is
// contracted or reassociated, so compiled and interpreted bits agree. LLVM's headers stay inside
// this folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ref.h"
#include "jit/loop/ir.h"

namespace tenon::llvm_jit {

enum class Tier : uint8_t {
  Quick,  // FastISel: for the first run
  Hot,    // the full instruction selector: for kernels that turn out to cost
};

// Loaded machine code of one kernel.
class CompiledCode : public RefCounted {
 public:
  ~CompiledCode() override;  // frees the code: nothing may be running it

  loop::KernelFunction function = nullptr;
  size_t object_bytes = 0;
  double milliseconds = 0;  // spent compiling; 0 when it came from the disk
  bool from_disk = false;
  Tier tier = Tier::Quick;
  void* library = nullptr;  // the loader's handle
};

// Compiles all kernels, on every core; those found in the disk cache (jit/cache) are only loaded,
// in the hot tier's code if an earlier process came so far. Error (Internal) where LLVM fails: the
// kernel's text and LLVM's message are kept in a file that the error names.
std::vector<Ref<CompiledCode>> compile(std::span<const loop::Kernel* const> kernels,
                                       Tier tier = Tier::Quick);

// A relocatable object for a target triple, e.g. "aarch64-linux-gnu" (empty: the host).
std::vector<std::byte> emit_object(const loop::Kernel& kernel, const std::string& triple,
                                   const std::string& cpu, const std::string& features);
// LLVM IR of a kernel, as text.
std::string llvm_text(const loop::Kernel& kernel);

// What compiled code depends on besides the kernel: part of the key of cached objects.
std::string host_description();

// Uses another cache folder than the environment names; nothing: no cache.
void set_cache_folder(const std::optional<std::filesystem::path>& folder);

// Fault injection for tests: the next `count` compilations fail.
void fail_next_compilations(int count);

}  // namespace tenon::llvm_jit
