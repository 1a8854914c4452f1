// NVRTC: every kernel compiles, for three generations of devices; errors, the cache, and what
// cubins tell. Without NVRTC these tests say so and check the reason.
#include "jit/cuda/compiler.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>

#include "core/env.h"
#include "core/error.h"
#include "jit/cuda/nvrtc.h"
#include "tests/cache/temporary_folder.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/generated.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;

namespace {

bool has_compiler() {
  // NVRTC's own threads are not for sanitizers, either.
  const std::string reason = kCanEmulate ? cuda::why_no_compiler() : "a sanitizer's build";
  if (!reason.empty()) MESSAGE("not compiled: ", reason);
  return reason.empty();
}

Kernel add_number(double number) {
  return elementwise("add", std::array{Scalar::F32}, Scalar::F32,
                     [&](Builder& b, const auto& x) { return b.add(x[0], b.f32(number)); });
}

// The number in front of `what` in ptxas' report.
uint32_t reported(const std::string& log, const std::string& what) {
  const size_t end = log.find(what);
  REQUIRE(end != std::string::npos);
  const size_t begin = log.find_last_not_of("0123456789", end - 1) + 1;
  return static_cast<uint32_t>(std::stoul(log.substr(begin, end - begin)));
}

}  // namespace

// A kernel takes a tenth of a second, so each is compiled for one of the architectures in turn; for
// all three where TENON_TEST_ALL_ARCHITECTURES is set.
TEST_CASE("every generated kernel compiles for sm_80, sm_90 and sm_100") {
  if (!has_compiler()) return;
  cuda::set_cache_folder({});
  const auto kernels = generated_kernels();
  if (kernels.empty()) return;  // the first of the two runs
  const bool all = env_flag("TENON_TEST_ALL_ARCHITECTURES", false);
  constexpr int kArchitectures[] = {80, 90, 100};
  for (size_t a = 0; a < std::size(kArchitectures); ++a) {
    std::vector<const Kernel*> mine;
    for (size_t i = 0; i < kernels.size(); ++i) {
      if (all || i % std::size(kArchitectures) == a) mine.push_back(kernels[i]);
    }
    const int architecture = kArchitectures[a];
    const auto compiled = cuda::compile(mine, architecture);
    uint32_t most_registers = 0, most_spilled = 0, with_stack = 0;
    for (const cuda::CompiledKernel& kernel : compiled) {
      INFO(kernel.info.symbol, " for sm_", architecture);
      CHECK(kernel.info.architecture == static_cast<uint32_t>(architecture));
      CHECK(kernel.info.registers == reported(kernel.log, " registers"));
      CHECK(kernel.info.stack_bytes == reported(kernel.log, " bytes stack frame"));
      // What is live across a call of a division's rare cases is spilled; a loop's values are not.
      const uint32_t spilled = reported(kernel.log, " bytes spill stores");
      CHECK(spilled <= 512);
      most_spilled = std::max(most_spilled, spilled);
      // Scratch's size is the launch's; what the system keeps of a block's memory may be counted.
      CHECK(kernel.info.shared_bytes <= 1024);
      most_registers = std::max(most_registers, kernel.info.registers);
      with_stack += kernel.info.stack_bytes != 0;
    }
    MESSAGE("sm_", architecture, ": ", compiled.size(), " kernels, at most ", most_registers,
            " registers, ", with_stack, " with a stack, at most ", most_spilled, " bytes spilled");
  }
}

TEST_CASE("a kernel compiled once is loaded afterwards") {
  if (!has_compiler()) return;
  const TemporaryFolder folder;
  cuda::set_cache_folder(folder.path);
  const Kernel kernel = add_number(2), different = add_number(3);
  const Kernel *kernels[] = {&kernel}, *others[] = {&different};
  const auto first = cuda::compile(kernels, 90)[0];
  CHECK(!first.from_disk);
  CHECK(first.info.symbol == "tenon_add");
  const auto second = cuda::compile(kernels, 90)[0];
  CHECK(second.from_disk);
  CHECK(second.cubin == first.cubin);
  CHECK(second.info.registers == first.info.registers);
  CHECK(!cuda::compile(kernels, 80)[0].from_disk);  // another architecture
  CHECK(!cuda::compile(others, 90)[0].from_disk);
  for (const auto& file : std::filesystem::directory_iterator(folder.path)) {
    std::filesystem::resize_file(file.path(), 200);
  }
  CHECK(!cuda::compile(kernels, 90)[0].from_disk);
  cuda::set_cache_folder({});
}

TEST_CASE("a text that does not compile is kept with the log") {
  const Kernel kernel = add_number(4);
  const Kernel* kernels[] = {&kernel};
  if (!has_compiler()) {
    if (!cuda::why_no_compiler().empty()) CHECK_THROWS_AS(cuda::compile(kernels, 90), Error);
    return;
  }
  cuda::set_cache_folder({});
  cuda::fail_next_compilations(1);
  std::string message;
  try {
    cuda::compile(kernels, 90);
  } catch (const Error& error) {
    message = error.what();
  }
  INFO(message);
  const size_t at = message.find(" kept in ") + 9;
  REQUIRE(at != std::string::npos + 9);
  const std::string path = message.substr(at, message.find(';', at) - at);
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  CHECK(text.find("// add: ") != std::string::npos);
  CHECK(text.find("injected failure") != std::string::npos);
  CHECK(text.find("error: ") != std::string::npos);
  CHECK(message.find("error: ") != std::string::npos);
  std::filesystem::remove(path);
  CHECK(cuda::compile(kernels, 90)[0].info.symbol == "tenon_add");  // the next one works
}

TEST_CASE("what is no cubin is not read") {
  CHECK(!cuda::read_cubin({}));
  const std::vector<std::byte> zeros(500);
  CHECK(!cuda::read_cubin(zeros));
  if (!has_compiler()) return;
  cuda::set_cache_folder({});
  const Kernel kernel = add_number(5);
  const Kernel* kernels[] = {&kernel};
  auto cubin = cuda::compile(kernels, 90)[0].cubin;
  REQUIRE(cuda::read_cubin(cubin));
  for (size_t size = 0; size < cubin.size(); size += 7) {  // cut anywhere: no crash
    (void)cuda::read_cubin(std::span(cubin).first(size));
  }
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    auto damaged = cubin;
    for (int k = 0; k < 4; ++k) damaged[random() % damaged.size()] = std::byte(random());
    (void)cuda::read_cubin(damaged);
  }
}
