// The tests of the loop IR's operations (tests/llvm) and of programs (tests/jit) run twice: on the
// interpreter, which meets all their kernels; then with these kernels as CUDA C++ on the emulated
// device, and as plans of a CUDA device on the fake driver. The bits have to be the same. Where
// there is a device and NVRTC they run a third time, there.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/allocator.h"
#include "core/error.h"
#include "jit/cuda/library.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/kernel_table.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/fake_device.h"
#include "tests/cuda/generated.h"
#include "tests/jit/harness.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

// What is about LLVM, or about functions' errors on millions of values.
constexpr const char* kOthers =
    "*within their bound*,digamma and erfinv*,integer powers*,a failed compilation*,"
    "objects for aarch64";

int run_tests(int argc, char** argv) {
  doctest::Context context(argc, argv);
  context.addFilter("test-case-exclude", kOthers);
  return context.run();
}

struct Generated {
  std::vector<loop::Kernel> kernels;
  Emulated emulated;
  std::map<std::vector<std::byte>, size_t> numbers;  // by canonical form: in the lists above

  void add(const loop::Kernel& kernel) {
    if (numbers.emplace(loop::canonical_form(kernel), kernels.size()).second) {
      kernels.push_back(kernel);
    }
  }
  // One that no plan has, but a product on a device: what makes an operand dense.
  void emulate_too(const loop::Kernel& kernel) {
    if (numbers.contains(loop::canonical_form(kernel))) return;
    add(kernel);
    const loop::Kernel* const one = &kernels.back();
    Emulated more = emulate(std::span(&one, 1));
    emulated.functions.push_back(more.functions[0]);
    emulated.cubins.push_back(std::move(more.cubins[0]));
  }
  size_t number(const loop::Kernel& kernel) const {
    const auto found = numbers.find(loop::canonical_form(kernel));
    if (found == numbers.end()) {
      fail(ErrorKind::Internal, "a kernel that the interpreter has not run:\n{}",
           loop::print(kernel));
    }
    return found->second;
  }
};
Generated generated;

// Every kernel that was interpreted, from now on emulated.
void emulate_all() {
  std::vector<jit::CompiledKernel*> interpreted;
  for (jit::CompiledKernel* kernel : jit::known_kernels()) {
    if (kernel->later || kernel->function.load()) continue;
    interpreted.push_back(kernel);
    generated.add(kernel->code);
  }
  generated.emulated = emulate(generated_kernels());
  for (jit::CompiledKernel* kernel : interpreted) {
    kernel->function.store(generated.emulated.functions[generated.number(kernel->code)]);
  }
  std::printf("%zu kernels on the emulated device\n", generated.kernels.size());
}

std::vector<cuda::CompiledKernel> known_cubins(std::span<const loop::Kernel* const> kernels, int) {
  std::vector<cuda::CompiledKernel> result;
  for (const loop::Kernel* kernel : kernels) {
    generated.emulate_too(*kernel);
    result.push_back(generated.emulated.cubins[generated.number(*kernel)]);
  }
  return result;
}

// Whether there is no device, and so the fakes of all libraries are in use.
bool has_fakes = false;

struct Counts {
  size_t programs = 0, refused = 0, inexact = 0;  // refused: some step has no code for devices
};
Counts counts;

// The device's library of f64 functions is not the host's: their last places may differ.
bool calls_functions(const loop::Kernel& kernel) {
  return std::ranges::any_of(kernel.nodes, [](const auto& n) { return n.op == loop::Op::Call; });
}

// The same program with its inputs and outputs on a device, which is what `expected` holds.
void check_on(cuda::Runtime& device, const Build& build, const std::vector<Buffer>& expected,
              bool is_emulated) {
  ProgramBuilder p;
  build(p);
  Program& program = p.program();
  jit::set_mode(jit::Mode::Device);
  jit::Plan& plan = jit::plan_for(program);
  jit::set_mode(jit::Mode::Fused);
  for (Buffer& input : program.inputs) {
    input.storage = device.to_device(input.storage->data(), input.storage->bytes());
  }
  ++counts.programs;
  if (is_emulated && !has_fakes && plan.uses_libraries()) {  // the library is the real device's
    ++counts.refused;
    return;
  }
  std::vector<Buffer> outputs;
  try {
    outputs = plan.run_on(device, program);
  } catch (const Error& error) {
    CHECK_MESSAGE(error.kind() == ErrorKind::NotImplemented, std::string(error.what()));
    ++counts.refused;
    return;
  }
  for (Buffer& output : outputs) {
    Ref<Storage> host = allocate(output.storage->bytes());
    device.to_host(host->data(), *output.storage, 0, host->bytes());
    output.storage = std::move(host);
  }
  const bool calls_any = std::ranges::any_of(
      plan.kernels(), [](const auto* kernel) { return kernel && calls_functions(kernel->code); });
  if ((is_emulated || !calls_any) && !plan.uses_libraries()) {
    CHECK_MESSAGE(bits_of(outputs) == bits_of(expected), "a plan on the device gives other bits");
    return;
  }
  ++counts.inexact;
  for (size_t k = 0; k < outputs.size(); ++k) {
    const DType dtype = type_of(outputs[k].type).dtype;
    const double bound = dtype == DType::Float16 ? 1e-3 : dtype == DType::BFloat16 ? 8e-3 : 5e-6;
    CHECK(distance(to_array(outputs[k]), to_array(expected[k])) <= bound);
  }
}

// One kernel on a real device, with the arguments of loop::KernelFunction.
struct OneKernel {
  cuda::Runtime* device = nullptr;
  const loop::Kernel* kernel = nullptr;
  std::vector<size_t> bytes;
};
OneKernel one_kernel;

void run_one_kernel(void* const* buffers, const int64_t* ints, const uint64_t* scalars, void*,
                    int64_t begin, int64_t end, loop::ErrorSlot* error) {
  REQUIRE(begin == 0);
  cuda::Runtime& device = *one_kernel.device;
  const loop::Kernel& kernel = *one_kernel.kernel;
  const Hash128 hash = hash128(loop::canonical_form(kernel));
  const cuda::Runtime::Code code{hash, &kernel};
  device.load(std::span(&code, 1));
  std::vector<Ref<Storage>> storages;
  std::vector<void*> addresses;
  for (size_t i = 0; i < kernel.buffers.size(); ++i) {
    storages.push_back(device.to_device(buffers[i], one_kernel.bytes[i]));
    addresses.push_back(storages.back()->data());
  }
  const Ref<Storage> slot = device.to_device(error, sizeof *error);
  cuda::Runtime::Arguments arguments;
  arguments.buffers = addresses;
  arguments.ints = {ints, kernel.ints};
  arguments.scalars = {scalars, kernel.scalars.size()};
  arguments.range = end;
  arguments.unit_elements = true;
  arguments.error = reinterpret_cast<cuda::DeviceAddress>(slot->data());
  device.launch(hash, arguments);
  for (size_t i = 0; i < storages.size(); ++i) {
    device.to_host(buffers[i], *storages[i], 0, one_kernel.bytes[i]);
  }
  device.to_host(error, *slot, 0, sizeof *error);
}

}  // namespace

std::vector<const loop::Kernel*> tenon::test::generated_kernels() {
  std::vector<const loop::Kernel*> result;
  for (const loop::Kernel& kernel : generated.kernels) result.push_back(&kernel);
  return result;
}

int main(int argc, char** argv) {
  setenv("TENON_CACHE", "0", 1);
  setenv("TENON_CUDA_LIBRARY_PATH", TENON_NVRTC_FOLDERS, 0);
  has_fakes = !cuda::why_unavailable().empty();
  if (has_fakes) cuda::add_library_folder(TENON_FAKE_LIBRARIES);
  std::vector<std::vector<Buffer>> expected;
  other_check = [&](const Build& build) {
    expected.push_back(run(build, jit::Mode::Interpret));
    const bool same = bits_of(run(build, jit::Mode::Device)) == bits_of(expected.back());
    CHECK_MESSAGE(same, "interpreted, fused differs from unfused");
  };
  other_code = [](const auto& kernel, const auto&) -> loop::KernelFunction {
    generated.add(kernel);
    return nullptr;
  };
  if (const int failed = run_tests(argc, argv); failed || !kCanEmulate) return failed;

  emulate_all();
  const auto check_emulation = [] {
    const std::string failure = emulation_failure();
    CHECK_MESSAGE(failure.empty(), failure);
  };
  size_t next = 0;
  other_check = [&](const Build& build) {
    REQUIRE(next < expected.size());
    for (const jit::Mode mode : {jit::Mode::Interpret, jit::Mode::Device}) {
      const std::string bits = bits_of(run(build, mode));
      check_emulation();
      CHECK_MESSAGE(bits == bits_of(expected[next]), "the emulated device gives other bits");
    }
    const FakeDevice fake;
    cuda::Runtime device(0, known_cubins);
    check_on(device, build, expected[next++], true);
  };
  other_code = [&](const auto& kernel, const auto&) {
    check_emulation();
    return generated.emulated.functions[generated.number(kernel)];
  };
  if (const int failed = run_tests(argc, argv)) return failed;
  std::printf("%zu programs on the fake device, %zu refused\n", counts.programs, counts.refused);

  const std::string reason = cuda::why_unavailable();
  if (!reason.empty()) {
    std::printf("not run on a device: %s\n", reason.c_str());
    return 0;
  }
  static cuda::Runtime& device = *new cuda::Runtime(0);  // the driver may be gone before statics
  counts = {};
  next = 0;
  other_check = [&](const Build& build) { check_on(device, build, expected[next++], false); };
  other_code = [&](const auto& kernel, const auto& buffers) -> loop::KernelFunction {
    if (calls_functions(kernel)) return nullptr;  // interpreted: nothing to compare
    one_kernel = {&device, &kernel, {}};
    for (const Data& buffer : buffers) one_kernel.bytes.push_back(buffer.bytes.size());
    return run_one_kernel;
  };
  const int failed = run_tests(argc, argv);
  std::printf("%zu programs on %s, %zu refused, %zu compared within 1e-6\n", counts.programs,
              device.device().name().c_str(), counts.refused, counts.inexact);
  return failed;
}
