// Kernels through the disk cache: the second time is a load, and a damaged entry is compiled again.
#include <doctest/doctest.h>

#include <chrono>
#include <fstream>

#include "tests/cache/temporary_folder.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
namespace fs = std::filesystem;

namespace {

Kernel add_number(double number) {
  return elementwise("add", std::array{Scalar::F32}, Scalar::F32,
                     [&](Builder& b, const auto& x) { return b.add(x[0], b.f32(number)); });
}

float run_once(const llvm_jit::CompiledCode& code) {
  float x = 1, y = 0;
  void* buffers[] = {&x, &y};
  code.function(buffers, nullptr, nullptr, nullptr, 0, 1, nullptr);
  return y;
}

}  // namespace

TEST_CASE("a kernel compiled once is loaded afterwards") {
  const TemporaryFolder folder;
  llvm_jit::set_cache_folder(folder.path);
  const Kernel kernel = add_number(2);
  const Kernel* kernels[] = {&kernel};
  const auto first = llvm_jit::compile(kernels)[0];
  CHECK(!first->from_disk);
  CHECK(run_once(*first) == 3);

  Kernel renamed = add_number(2);  // names are no part of the key
  renamed.name = "other";
  const Kernel* again[] = {&renamed};
  const auto second = llvm_jit::compile(again)[0];
  CHECK(second->from_disk);
  CHECK(run_once(*second) == 3);

  const Kernel different = add_number(3);
  const Kernel* others[] = {&different};
  CHECK(!llvm_jit::compile(others)[0]->from_disk);
  CHECK(!llvm_jit::compile(kernels, llvm_jit::Tier::Hot)[0]->from_disk);

  for (const auto& file : fs::directory_iterator(folder.path)) fs::resize_file(file.path(), 200);
  const auto third = llvm_jit::compile(kernels)[0];
  CHECK(!third->from_disk);
  CHECK(run_once(*third) == 3);

  double best = 1e9;
  for (int i = 0; i < 50; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto loaded = llvm_jit::compile(kernels)[0];
    best = std::min(
        best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                  .count());
    CHECK(loaded->from_disk);
  }
  MESSAGE("loading a kernel takes ", best, " us");
  llvm_jit::set_cache_folder(std::nullopt);
  CHECK(!llvm_jit::compile(kernels)[0]->from_disk);
}

TEST_CASE("code of the hot tier serves the next process from its first run on") {
  const TemporaryFolder folder;
  llvm_jit::set_cache_folder(folder.path);
  const Kernel kernel = add_number(4);
  const Kernel* kernels[] = {&kernel};
  CHECK(llvm_jit::compile(kernels)[0]->tier == llvm_jit::Tier::Quick);
  CHECK(llvm_jit::compile(kernels, llvm_jit::Tier::Hot)[0]->tier == llvm_jit::Tier::Hot);
  const auto loaded = llvm_jit::compile(kernels)[0];
  CHECK(loaded->from_disk);
  CHECK(loaded->tier == llvm_jit::Tier::Hot);
  CHECK(run_once(*loaded) == 5);
  llvm_jit::set_cache_folder(std::nullopt);
}
