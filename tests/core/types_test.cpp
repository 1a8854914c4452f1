#include "core/types.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "core/shape.h"
#include "tests/core/expect_error.h"

using namespace tenon;

namespace {
constexpr std::int64_t kHuge = std::int64_t{1} << 62;
TypeId make(const Dims& dims) { return intern_contiguous(DType::Float32, kCPU, dims); }
}  // namespace

TEST_CASE("equal types have equal ids, and others don't") {
  const TypeId id = make({2, 3});
  CHECK(id == make({2, 3}));
  CHECK(id == intern(DType::Float32, kCPU, Dims{2, 3}, Dims{3, 1}));
  CHECK(id != make({3, 2}));
  CHECK(id != make({2, 3, 1}));
  CHECK(id != make({6}));
  CHECK(id != intern(DType::Float32, kCPU, Dims{2, 3}, Dims{1, 2}));
  CHECK(id != intern_contiguous(DType::Int32, kCPU, Dims{2, 3}));
  CHECK(id != intern_contiguous(DType::Float32, kMeta, Dims{2, 3}));
  CHECK(id != intern_contiguous(DType::Float32, Device{Device::Kind::CUDA, 0}, Dims{2, 3}));
  CHECK(intern_contiguous(DType::Float32, Device{Device::Kind::CUDA, 1}, Dims{2}) !=
        intern_contiguous(DType::Float32, Device{Device::Kind::CUDA, 0}, Dims{2}));
  CHECK(make({}) == make({}));
  CHECK(make({}) != make({1}));
}

TEST_CASE("a type says what it was made of") {
  const Type& type = type_of(intern(DType::Int16, kMeta, Dims{4, 5, 6}, Dims{1, 4, 20}));
  CHECK(type.dtype == DType::Int16);
  CHECK(type.device == kMeta);
  CHECK(type.rank == 3);
  CHECK(type.numel == 120);
  CHECK_FALSE(type.contiguous);
  CHECK(Dims(type.dims()) == Dims{4, 5, 6});
  CHECK(Dims(type.strides()) == Dims{1, 4, 20});
  CHECK(dense_bytes(type) == 240);
  const Type& scalar = type_of(make({}));
  CHECK(scalar.numel == 1);
  CHECK(scalar.contiguous);
  CHECK(scalar.dims().empty());
}

// Strides as torch.empty(dims).stride() gives them.
TEST_CASE("row-major strides are PyTorch's") {
  CHECK(contiguous_strides(Dims{2, 3, 4}) == Dims{12, 4, 1});
  CHECK(contiguous_strides(Dims{2, 0, 4}) == Dims{4, 4, 1});
  CHECK(contiguous_strides(Dims{}) == Dims{});
  CHECK(contiguous_strides(Dims{0, 9223372036854775807}) == Dims{9223372036854775807, 1});
}

TEST_CASE("contiguity is PyTorch's") {
  CHECK(is_contiguous(Dims{2, 1, 3}, Dims{3, 77, 1}));  // the stride of a size of 1 is of no matter
  CHECK(is_contiguous(Dims{0, 5}, Dims{1, 9}));         // nor is any of no elements
  CHECK_FALSE(is_contiguous(Dims{2, 3}, Dims{1, 2}));
  CHECK_FALSE(is_contiguous(Dims{3}, Dims{0}));
  const Type& odd = type_of(intern(DType::Float32, kCPU, Dims{2, 1, 3}, Dims{3, 77, 1}));
  CHECK(odd.contiguous);
  CHECK_FALSE(odd.canonical);
  CHECK(type_of(make({2, 1, 3})).canonical);
}

TEST_CASE("a product above 2^63 fails with the sizes") {
  for (const Dims& dims : {Dims{kHuge, 2}, Dims{kHuge, kHuge, 0}, Dims{0, kHuge, kHuge}}) {
    const std::string text = to_string(dims);
    testing::expect_error(ErrorKind::Runtime, {"overflow", text.c_str()}, [&] { make(dims); });
  }
  CHECK(type_of(make({kHuge})).numel == kHuge);
  CHECK(type_of(make({9223372036854775807})).numel == 9223372036854775807);
  testing::expect_error(ErrorKind::Runtime, {"overflow", "float32"},
                        [] { dense_bytes(type_of(make({kHuge}))); });
}

TEST_CASE("negative dimensions and too many") {
  testing::expect_error(ErrorKind::Runtime, {"negative dimension -1", "[2, -1]"},
                        [] { make({2, -1}); });
  testing::expect_error(ErrorKind::Runtime, {"64", "65"}, [] { make(Dims(65, 1)); });
  CHECK(type_of(make(Dims(64, 1))).rank == 64);
}

TEST_CASE("broadcasting") {
  CHECK(broadcast_dims(Dims{2, 3}, Dims{3}) == Dims{2, 3});
  CHECK(broadcast_dims(Dims{4, 1}, Dims{3}) == Dims{4, 3});
  CHECK(broadcast_dims(Dims{}, Dims{2}) == Dims{2});
  CHECK(broadcast_dims(Dims{1}, Dims{0}) == Dims{0});
  CHECK(broadcast_dims(Dims{5, 1, 7}, Dims{6, 1}) == Dims{5, 6, 7});
  testing::expect_error(ErrorKind::Runtime, {"(3)", "(4)", "dimension 1", "[2, 3]"},
                        [] { broadcast_dims(Dims{2, 3}, Dims{2, 4}); });
  testing::expect_error(ErrorKind::Runtime, {}, [] { broadcast_dims(Dims{2}, Dims{0}); });
}

// Far more types than a thread caches, made by several threads at once in different orders.
TEST_CASE("ids agree across threads") {
  constexpr int kTypes = 20000;
  constexpr int kThreads = 4;
  const auto dims_of = [](int i) { return Dims{i % 7, i, 3, i / 100}; };
  std::vector<std::vector<TypeId>> ids(kThreads, std::vector<TypeId>(kTypes));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::vector<int> order(kTypes);
      for (int i = 0; i < kTypes; ++i) order[static_cast<std::size_t>(i)] = i;
      std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<unsigned>(t)));
      for (const int i : order)
        ids[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)] = make(dims_of(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 1; t < kThreads; ++t) CHECK(ids[static_cast<std::size_t>(t)] == ids[0]);
  for (int i = 0; i < kTypes; ++i) {
    REQUIRE(Dims(type_of(ids[0][static_cast<std::size_t>(i)]).dims()) == dims_of(i));
  }
  const std::uint32_t count = type_count();
  for (int i = 0; i < kTypes; ++i) make(dims_of(i));
  CHECK(type_count() == count);
}
