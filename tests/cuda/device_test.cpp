// The runtime on the fake driver: every call is checked there, work runs as late as it may.
#include "jit/cuda/device.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "jit/cuda/memory.h"
#include "tests/cuda/emulator.h"
#include "tests/cuda/fake_device.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using cuda::DeviceAddress;
using loop::CheckCode;
using loop::ReduceOp;

namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// y[row] = sum of x[row, :], which keeps the row in scratch and fails on a negative first element.
Kernel row_sums(int64_t scratch_bytes) {
  Kernel kernel;
  kernel.name = "row_sums";
  Builder b(kernel);
  const uint32_t x = b.add_buffer(Scalar::F32, Access::Read);
  const uint32_t y = b.add_buffer(Scalar::F32, Access::Write);
  const Pack n = b.int_param(b.add_int());
  const Pack scale = b.scalar_param(b.add_scalar(Scalar::F32));
  kernel.scratch.constant = scratch_bytes;
  b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack row) {
    const Pack start = b.mul(row, n);
    const Pack first = b.load(x, start, 1);
    b.check(b.ge(first, b.f32(0)), CheckCode::Other, 4, row, b.cast(Scalar::I64, first));
    b.for_each(b.i64(0), n, b.i64(16), [&](Pack i) {
      const Pack mask = b.tail_mask(i, n);
      b.scratch_store(b.i64(0), i, b.load(x, b.add(start, i), 16, mask), mask);
    });
    const Pack sum = b.for_loop(b.i64(0), n, b.i64(16), {b.constant(Scalar::F32, 0, 16)},
                                [&](Pack i, const auto& carried) -> Builder::Packs {
                                  // Backwards: another lane's element than it has stored.
                                  const Pack at = b.sub(b.sub(n, b.i64(1)), b.lanes_from(i));
                                  const Pack v = b.scratch_load(Scalar::F32, b.i64(0), at, 16,
                                                                b.tail_mask(i, n));
                                  return {b.add(carried[0], v)};
                                })[0];
    b.store(y, row, b.mul(b.reduce(ReduceOp::Sum, sum), scale));
  });
  return kernel;
}

constexpr int64_t kRows = 150, kColumns = 37;

Data rows() {
  Data x(Scalar::F32, kRows * kColumns);
  for (int64_t i = 0; i < kRows * kColumns; ++i) x.as<float>()[i] = static_cast<float>(i % 101) / 7;
  return x;
}

}  // namespace

TEST_CASE("the reason why there is no device") {
  cuda::use_driver_library("/nowhere/libcuda.so.1");
  CHECK(cuda::why_no_device().find("/nowhere/libcuda.so.1") != std::string::npos);
  CHECK(cuda::device_count() == 0);
  CHECK(message_of([] { cuda::driver(); }).find("CUDA is not available: no NVIDIA driver") == 0);
  const FakeDevice fake;
  CHECK(cuda::why_no_device() == "");
  CHECK(message_of([] { cuda::Device(1); }) == "cuda:1: there are 1 CUDA devices, numbered from 0");
  fake_set_version(11040);
  cuda::use_driver_library(TENON_FAKE_DRIVER);
  CHECK(cuda::why_no_device() == "the NVIDIA driver is for CUDA 11.4, too old; 12.0 is needed");
  fake_set_version(13000);
  fake_set_devices(0);
  cuda::use_driver_library(TENON_FAKE_DRIVER);
  CHECK(cuda::why_no_device().find("finds no device") != std::string::npos);
  fake_set_devices(1);
  fake_fail("cuInit", 0, 1, 999);
  cuda::use_driver_library(TENON_FAKE_DRIVER);
  CHECK(cuda::why_no_device() ==
        "the NVIDIA driver does not start: a failure of the fake driver (CUDA_ERROR_OTHER, 999)");
  CHECK(cuda::device_count() == 0);
}

TEST_CASE("kernels launched through the driver give the interpreter's bits") {
  if (!kCanEmulate) return;
  const FakeDevice fake;
  const cuda::Device device(0);
  CHECK(device.architecture() == 90);
  CHECK(device.threads() == 512);
  cuda::DeviceMemory memory(device);
  // Scratch in shared memory, and too much of it for that.
  const Kernel small = row_sums(kColumns * 4 + 12), large = row_sums(1 << 14);
  const Kernel map = elementwise("map", std::array{Scalar::F32}, Scalar::F32,
                                 [](Builder& b, const auto& x) { return b.sqrt(x[0]); });
  const Kernel* kernels[] = {&small, &large, &map};
  const auto cubins = emulate(kernels).cubins;
  const Data x = rows();
  const int64_t ints[] = {kColumns};
  const uint64_t scalars[] = {std::bit_cast<uint64_t>(0.3)};
  for (int k = 0; k < 3; ++k) {
    const bool is_map = k == 2;
    const auto used_ints = std::span(ints).first(is_map ? 0 : 1);
    const auto used_scalars = std::span(scalars).first(is_map ? 0 : 1);
    Data expected(Scalar::F32, is_map ? x.size() : kRows), got = expected;
    void* pointers[] = {const_cast<std::byte*>(x.bytes.data()), expected.bytes.data()};
    std::vector<std::byte> scratch(1 << 14);
    loop::ErrorSlot no_error;
    const auto range = static_cast<int64_t>(expected.size());
    loop::interpret(*kernels[k], pointers, ints, scalars, scratch.data(), 0, range, &no_error);

    const cuda::Function function(*kernels[k], cubins[k]);
    const cuda::Stream stream;
    const auto grid = function.grid(range, is_map, ints, device.threads());
    CHECK((grid.pool_bytes != 0) == (k == 1));
    CHECK((grid.shared_bytes != 0) == (k == 0));
    const DeviceAddress in = memory.allocate(x.bytes.size(), stream);
    const DeviceAddress out = memory.allocate(got.bytes.size(), stream);
    const DeviceAddress error = memory.allocate(sizeof(loop::ErrorSlot), stream);
    const DeviceAddress pool = grid.pool_bytes ? memory.allocate(grid.pool_bytes, stream) : 0;
    stream.copy_to_device(in, x.bytes.data(), x.bytes.size());
    stream.fill(error, 0, sizeof(loop::ErrorSlot));
    const DeviceAddress buffers[] = {in, out};
    function.launch(stream, grid, buffers, used_ints, used_scalars, pool, error);
    if (pool) memory.free(pool);  // in the stream's order
    loop::ErrorSlot slot;
    stream.copy_to_host(got.bytes.data(), out, got.bytes.size());
    stream.copy_to_host(&slot, error, sizeof slot);
    stream.synchronize();
    CHECK(!slot.failed());
    CHECK(first_difference(expected, got) == -1);
    for (const DeviceAddress address : {in, out, error}) memory.free(address);
  }
  CHECK(memory.stats().allocated == 0);
}

TEST_CASE("a failed check is found at the synchronization, and work goes on") {
  if (!kCanEmulate) return;
  const FakeDevice fake;
  const cuda::Device device(0);
  cuda::DeviceMemory memory(device);
  const Kernel kernel = row_sums(1 << 10);
  const Kernel* kernels[] = {&kernel};
  const cuda::Function function(kernel, emulate(kernels).cubins[0]);
  const cuda::Stream stream;
  const int64_t ints[] = {kColumns};
  const uint64_t scalars[] = {std::bit_cast<uint64_t>(1.0)};
  const auto grid = function.grid(kRows, false, ints, device.threads());
  const DeviceAddress in = memory.allocate(kRows * kColumns * 4, stream);
  const DeviceAddress out = memory.allocate(kRows * 4, stream);
  const DeviceAddress error = memory.allocate(sizeof(loop::ErrorSlot), stream);
  const DeviceAddress pool = grid.pool_bytes ? memory.allocate(grid.pool_bytes, stream) : 0;
  Data x = rows();
  for (const bool fails : {true, false}) {
    x.as<float>()[120 * kColumns] = x.as<float>()[77 * kColumns] = fails ? -5.0f : 5.0f;
    stream.fill(error, 0, sizeof(loop::ErrorSlot));
    stream.copy_to_device(in, x.bytes.data(), x.bytes.size());
    const DeviceAddress buffers[] = {in, out};
    function.launch(stream, grid, buffers, ints, scalars, pool, error);
    loop::ErrorSlot slot;
    stream.copy_to_host(&slot, error, sizeof slot);
    stream.synchronize();
    CHECK(slot.failed() == fails);
    if (!fails) continue;
    CHECK(slot.site == 4);
    CHECK(slot.index == 77);  // the first, whichever group was ahead
    CHECK(slot.value == -5);
  }
  for (const DeviceAddress address : {in, out, error, pool}) memory.free(address);
}

TEST_CASE("streams run apart, and events order them") {
  const FakeDevice fake;
  const cuda::Device device(0);
  const cuda::Stream first, second;
  cuda::DeviceMemory memory(device);
  const DeviceAddress a = memory.allocate(64, first), c = memory.allocate(64, first);
  cuda::Event filled;
  CHECK(filled.is_done());  // nothing recorded
  first.fill(a, 7, 64);
  first.record(filled);
  CHECK(!filled.is_done());
  second.wait(filled);
  second.copy(c, a, 64);
  unsigned char bytes[64] = {};
  second.copy_to_host(bytes, c, 64);
  CHECK(filled.is_done());
  CHECK(bytes[63] == 7);
  memory.used_by(a, second);
  memory.free(a);
  memory.free(c);
}

TEST_CASE("freed memory is taken again in the order of its stream") {
  const FakeDevice fake;
  const cuda::Device device(0);
  const cuda::Stream first, second;
  cuda::DeviceMemory memory(device);
  const DeviceAddress a = memory.allocate(1000, first);
  CHECK(a % 512 == 0);
  memory.free(a);
  CHECK(memory.allocate(1000, first) == a);  // at once
  CHECK(memory.stats().device_allocations == 1);
  memory.free(a);
  const DeviceAddress b = memory.allocate(1000, second);
  CHECK(b != a);  // another stream's work may still use it

  first.fill(a, 1, 512);
  second.copy(b, a, 512);  // by a's address after it is freed: queued before
  CHECK(memory.allocate(1000, first) == a);
  memory.used_by(a, second);
  memory.free(a);
  const DeviceAddress c = memory.allocate(1000, first);
  CHECK(c != a);  // the second stream is not past it
  second.synchronize();
  const DeviceAddress d = memory.allocate(1000, first);
  CHECK(d == a);
  for (const DeviceAddress address : {b, c, d}) memory.free(address);
  CHECK(memory.stats().allocated == 0);
  CHECK(memory.stats().reserved == 3 * memory.stats().peak / 3);
  CHECK(memory.trim() == memory.stats().peak);
  CHECK(memory.stats().reserved == 0);
}

TEST_CASE("out of memory gives back what is cached, then says what is missing") {
  const FakeDevice fake(1 << 20);
  const cuda::Device device(0);
  const cuda::Stream stream;
  cuda::DeviceMemory memory(device);
  const DeviceAddress half = memory.allocate(1 << 19, stream);
  memory.free(half);
  const DeviceAddress whole = memory.allocate(1 << 20, stream);  // only without the cached half
  const std::string message = message_of([&] { memory.allocate(4096, stream); });
  CHECK(message ==
        "CUDA out of memory: 4096 bytes asked for; of 1048576 bytes on the device 0 are free, and "
        "1048576 are held by this process' tensors");
  memory.free(whole);
  const DeviceAddress again = memory.allocate(4096, stream);
  memory.free(again);
}

TEST_CASE("a call of the driver that fails raises its words, and nothing leaks") {
  if (!kCanEmulate) return;
  const FakeDevice fake;
  const cuda::Device device(0);
  const Kernel kernel = row_sums(1 << 10);
  const Kernel* kernels[] = {&kernel};
  const auto cubin = emulate(kernels).cubins[0];
  for (const char* call : {"cuModuleLoadData", "cuModuleGetFunction"}) {
    fake_fail(call, 0, 1, 719);
    CHECK(message_of([&] { cuda::Function(kernel, cubin); }) ==
          std::string(call) + ": a failure of the fake driver (CUDA_ERROR_LAUNCH_FAILED, 719)");
    CHECK(fake_count("module") == 0);
  }
  fake_fail("cuStreamCreate", 0, 1, 719);
  CHECK(message_of([] { cuda::Stream stream; }).find("cuStreamCreate: ") == 0);
  fake_fail("cuEventCreate", 0, 1, 719);
  CHECK(message_of([] { cuda::Event event; }).find("cuEventCreate: ") == 0);
  cuda::DeviceMemory memory(device);
  const cuda::Stream first, second;
  const DeviceAddress a = memory.allocate(64, first);
  memory.used_by(a, second);
  fake_fail("cuEventRecord", 0, 1, 719);
  memory.free(a);  // waits for the other stream instead
  CHECK(fake_calls("cuStreamSynchronize") == 1);
  CHECK(fake_count("event") == 0);
  fake_fail("cuMemAlloc", 0, 1, 719);
  CHECK(message_of([&] { memory.allocate(1 << 16, first); }).find("cuMemAlloc: ") == 0);
  const DeviceAddress b = memory.allocate(1 << 16, first);  // and the next one works
  memory.free(b);
}
