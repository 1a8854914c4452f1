#include "core/small_vector.h"

#include <doctest/doctest.h>

#include <numeric>
#include <random>
#include <vector>

using namespace tenon;

TEST_CASE("inline and on the heap") {
  Dims dims{1, 2, 3};
  CHECK(dims.capacity() == 6);
  for (std::int64_t i = 4; i <= 20; ++i) dims.push_back(i);
  CHECK(dims.size() == 20);
  CHECK(std::accumulate(dims.begin(), dims.end(), std::int64_t{0}) == 210);
  const Dims copy = dims;
  Dims moved = std::move(dims);
  CHECK(moved == copy);
  CHECK(dims.empty());  // NOLINT(bugprone-use-after-move)
  dims.push_back(5);
  CHECK(dims == Dims{5});
  moved = Dims{7, 8};
  CHECK(moved == Dims{7, 8});
  moved = copy;
  CHECK(moved == copy);
}

TEST_CASE("constructors") {
  CHECK(Dims(3, 5) == Dims{5, 5, 5});
  CHECK(Dims(8) == Dims{0, 0, 0, 0, 0, 0, 0, 0});
  const std::vector<int> source{4, 5};
  CHECK(Dims(source.begin(), source.end()) == Dims{4, 5});
  CHECK(Dims(std::span<const std::int64_t>()).empty());
}

TEST_CASE("behaves as std::vector under random edits") {
  const std::uint32_t seed = 11;
  CAPTURE(seed);
  std::mt19937 random(seed);
  SmallVector<std::int64_t, 3> mine;
  std::vector<std::int64_t> reference;
  for (int i = 0; i < 20000; ++i) {
    const auto value = static_cast<std::int64_t>(random() % 1000);
    switch (random() % 7) {
      case 0:
      case 1:
        mine.push_back(value);
        reference.push_back(value);
        break;
      case 2: {
        const std::size_t at = random() % (reference.size() + 1);
        mine.insert(mine.begin() + at, value);
        reference.insert(reference.begin() + static_cast<std::ptrdiff_t>(at), value);
        break;
      }
      case 3:
        if (!reference.empty()) {
          const std::size_t at = random() % reference.size();
          mine.erase(mine.begin() + at);
          reference.erase(reference.begin() + static_cast<std::ptrdiff_t>(at));
        }
        break;
      case 4:
        mine.resize(value % 9, value);
        reference.resize(static_cast<std::size_t>(value % 9), value);
        break;
      case 5: {
        SmallVector<std::int64_t, 3> taken = std::move(mine);
        mine = taken;
        break;
      }
      default:
        if (!reference.empty()) {
          mine.pop_back();
          reference.pop_back();
        }
    }
    REQUIRE(std::vector<std::int64_t>(mine.begin(), mine.end()) == reference);
  }
}
