#include "jit/cuda/nvrtc.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "jit/cuda/library.h"

namespace tenon::cuda {

namespace {

// The part of nvrtc.h that is used (NVIDIA, "NVRTC", API reference).
using Program = void*;
struct Api {
  int (*version)(int* major, int* minor);
  const char* (*error_string)(int);
  int (*create)(Program*, const char* text, const char* name, int headers, const char* const*,
                const char* const*);
  int (*destroy)(Program*);
  int (*compile)(Program, int count, const char* const* options);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
};

struct Compiler {
  Library library;
  Api api{};
  std::string reason;
  int major = 0, minor = 0;

  Compiler() {
    library =
        Library::find({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"});
    if (!library.is_loaded()) {
      reason = "NVRTC is missing (pip install nvidia-cuda-nvrtc): " + library.reason();
      return;
    }
    const auto get = [&](auto& function, const char* name) {
      library.take(function, name, reason);
    };
    get(api.version, "nvrtcVersion");
    get(api.error_string, "nvrtcGetErrorString");
    get(api.create, "nvrtcCreateProgram");
    get(api.destroy, "nvrtcDestroyProgram");
    get(api.compile, "nvrtcCompileProgram");
    get(api.log_size, "nvrtcGetProgramLogSize");
    get(api.log, "nvrtcGetProgramLog");
    get(api.cubin_size, "nvrtcGetCUBINSize");
    get(api.cubin, "nvrtcGetCUBIN");
    if (reason.empty()) api.version(&major, &minor);
  }
};

const Compiler& compiler() {
  static const Compiler* const instance = new Compiler;
  return *instance;
}

std::atomic<int> planned_failures{0};

// Bits: nothing is contracted, flushed to zero or approximated. What is declared and not used is
// no news in generated code (177, 550). The log tells what ptxas spent.
constexpr const char* kOptions[] = {"--std=c++17",
                                    "--fmad=false",
                                    "--ftz=false",
                                    "--prec-div=true",
                                    "--prec-sqrt=true",
                                    "--device-as-default-execution-space",
                                    "--diag-suppress=177,550",
                                    "--ptxas-options=-v"};

[[noreturn]] void fail_compilation(const std::string& text, const std::string& name,
                                   const char* message, const std::string& log) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path folder = fs::temp_directory_path(ignored);
  const fs::path path =
      (ignored ? fs::path(".") : folder) / fmt::format("tenon-{}-{}.cu", name, getpid());
  std::ofstream(path) << text << "\n/* " << message << "\n" << log << "*/\n";
  fail(ErrorKind::Internal,
       "compiling the CUDA kernel {} failed: {}. The text and NVRTC's log are kept in {}; please "
       "report them. The log begins: {}",
       name, message, path.string(), log.substr(0, 400));
}

}  // namespace

std::string why_no_compiler() { return compiler().reason; }

std::string compiler_version() {
  const Compiler& c = compiler();
  if (!c.reason.empty()) fail(ErrorKind::Runtime, "{}", c.reason);
  return fmt::format("{}.{}", c.major, c.minor);
}

Compilation compile_text(const std::string& source, const std::string& name, int architecture) {
  const Compiler& c = compiler();
  if (!c.reason.empty()) fail(ErrorKind::Runtime, "{}", c.reason);
  std::string text = source;
  if (planned_failures.load(std::memory_order_relaxed) > 0 && planned_failures.fetch_sub(1) > 0) {
    text += "\ninjected failure\n";
  }
  Program program = nullptr;
  const int created =
      c.api.create(&program, text.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr);
  if (created != 0) fail_compilation(text, name, c.api.error_string(created), "");
  const std::string target = fmt::format("--gpu-architecture=sm_{}", architecture);
  std::vector<const char*> options(std::begin(kOptions), std::end(kOptions));
  options.push_back(target.c_str());
  int status = c.api.compile(program, static_cast<int>(options.size()), options.data());
  Compilation result;
  size_t size = 0;
  if (c.api.log_size(program, &size) == 0 && size > 1) {
    result.log.resize(size);
    c.api.log(program, result.log.data());
    result.log.resize(size - 1);  // ends with a zero
  }
  if (status == 0) status = c.api.cubin_size(program, &size);
  if (status == 0) {
    result.cubin.resize(size);
    status = c.api.cubin(program, reinterpret_cast<char*>(result.cubin.data()));
  }
  c.api.destroy(&program);
  if (status != 0) fail_compilation(text, name, c.api.error_string(status), result.log);
  return result;
}

void fail_next_compilations(int count) { planned_failures = count; }

}  // namespace tenon::cuda
