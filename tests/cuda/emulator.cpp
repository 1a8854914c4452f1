#include "tests/cuda/emulator.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "jit/cuda/lower.h"

namespace tenon::test {

namespace {

const char** failure = nullptr;  // of the library that is loaded

const char* memory_type(loop::Scalar type) {
  return type == loop::Scalar::I1 ? "u8" : name_of(type);
}

// A function with the arguments of loop::KernelFunction that launches the kernel.
std::string host_entry(const loop::Kernel& kernel, size_t number) {
  std::string arguments;
  for (size_t i = 0; i < kernel.buffers.size(); ++i) {
    arguments += fmt::format("({}*)buffers[{}], ", memory_type(kernel.buffers[i].type), i);
  }
  for (uint32_t i = 0; i < kernel.ints; ++i) arguments += fmt::format("ints[{}], ", i);
  for (size_t i = 0; i < kernel.scalars.size(); ++i) {
    const std::string bits = fmt::format("i64(scalars[{}])", i);
    arguments += is_float(kernel.scalars[i]) ? "__longlong_as_double(" + bits + "), " : bits + ", ";
  }
  std::string bytes = fmt::format("{}ll", kernel.scratch.constant);
  for (const auto& term : kernel.scratch.terms) {
    bytes += fmt::format(" + {}ll * ints[{}]", term.factor, term.param);
  }
  return fmt::format(
      "\nextern \"C\" void run_{0}(void* const* buffers, const i64* ints, const u64* scalars,\n"
      "                         void*, i64 begin, i64 end, void* error) {{\n"
      "  emulation::launch(end - begin, {1}, [=](u8* scratch, i64 scratch_bytes, i64 chunk, i64 "
      "row) {{\n"
      "    k{0}({2}scratch, scratch_bytes, begin, end, chunk, row, (ErrorSlot*)error);\n  "
      "}});\n}}\n",
      number, bytes, arguments);
}

// A function that runs a grid with the parameters of cuLaunchKernel.
std::string driver_entry(const loop::Kernel& kernel, size_t number) {
  std::string arguments;
  size_t count = 0;
  const auto add = [&](const std::string& type) {
    arguments += fmt::format("{}*({}*)p[{}]", count ? ", " : "", type, count);
    ++count;
  };
  for (const auto& buffer : kernel.buffers) add(std::string(memory_type(buffer.type)) + "*");
  for (uint32_t i = 0; i < kernel.ints; ++i) add("i64");
  for (const loop::Scalar scalar : kernel.scalars) add(is_float(scalar) ? "f64" : "i64");
  for (const char* type : {"u8*", "i64", "i64", "i64", "i64", "i64", "ErrorSlot*"}) add(type);
  return fmt::format(
      "\nextern \"C\" {{\nextern const int launch_{0}_parameters = {2};\nvoid launch_{0}(void** p, "
      "unsigned blocks) {{\n"
      "  emulation::run_grid(blocks, [=] {{ k{0}({1}); }});\n}}\n}}\n",
      number, arguments, count);
}

// The path of a library with these kernels and their entries.
std::string build(std::span<const loop::Kernel* const> kernels) {
  namespace fs = std::filesystem;
  std::string folder = (fs::temp_directory_path() / "tenon-emulation-XXXXXX").string();
  if (!mkdtemp(folder.data())) throw std::runtime_error("no temporary folder");
  const fs::path source = fs::path(folder) / "kernels.cpp";
  const fs::path library = fs::path(folder) / "kernels.so", log = fs::path(folder) / "log";
  {
    std::ofstream file(source);
    file << "#include \"" TENON_EMULATION_HEADER "\"\n" << cuda::prelude();
    for (size_t i = 0; i < kernels.size(); ++i) {
      file << cuda::lower(*kernels[i], fmt::format("k{}", i)) << host_entry(*kernels[i], i)
           << driver_entry(*kernels[i], i);
    }
  }
  const std::string command = fmt::format(
      TENON_HOST_COMPILER
      " -std=c++20 -O0 -w -fPIC -shared -ffp-contract=off -fno-math-errno -U_FORTIFY_SOURCE {} -o "
      "{} > {} 2>&1",
      source.string(), library.string(), log.string());
  if (std::system(command.c_str()) != 0) {
    std::ifstream file(log);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    throw std::runtime_error(
        fmt::format("{} did not compile:\n{}", source.string(), text.substr(0, 4000)));
  }
  return library.string();
}

}  // namespace

Emulated emulate(std::span<const loop::Kernel* const> kernels) {
  const std::string library = build(kernels);
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(dlerror());
  failure = static_cast<const char**>(dlsym(handle, "emulation_failure"));
  // The library stays loaded, and the loader finds it by its path.
  std::filesystem::remove_all(std::filesystem::path(library).parent_path());
  const std::string image = "host image " + library;
  const auto* bytes = reinterpret_cast<const std::byte*>(image.c_str());
  Emulated result;
  for (size_t i = 0; i < kernels.size(); ++i) {
    result.functions.push_back(
        reinterpret_cast<loop::KernelFunction>(dlsym(handle, fmt::format("run_{}", i).c_str())));
    cuda::CompiledKernel& cubin = result.cubins.emplace_back();
    cubin.cubin.assign(bytes, bytes + image.size() + 1);
    cubin.info.symbol = fmt::format("launch_{}", i);
  }
  return result;
}

std::string emulation_failure() {
  if (!failure || !*failure) return {};
  std::string text = *failure;
  *failure = nullptr;
  return text;
}

}  // namespace tenon::test
