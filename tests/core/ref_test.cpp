#include "core/ref.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace tenon;

namespace {
struct Counted : RefCounted {
  explicit Counted(int* alive) : alive(alive) { ++*alive; }
  ~Counted() override { --*alive; }
  int* alive;
};
struct Derived : Counted {
  using Counted::Counted;
};
}  // namespace

TEST_CASE("an object lives as long as its references") {
  int alive = 0;
  {
    Ref<Counted> a = make_ref<Derived>(&alive);
    CHECK(a->is_unique());
    const Ref<Counted> b = a;
    CHECK(a->use_count() == 2);
    CHECK_FALSE(a->is_unique());
    CHECK(a == b);
    a = Ref<Counted>();
    CHECK(a == nullptr);
    CHECK(alive == 1);
    a = b;
    const Ref<Counted> moved = std::move(a);
    CHECK(moved->use_count() == 2);
    CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move): a moved-from Ref is null
  }
  CHECK(alive == 0);
}

TEST_CASE("self assignment and detach") {
  int alive = 0;
  Ref<Counted> a = make_ref<Counted>(&alive);
  Ref<Counted>& same = a;
  a = same;
  CHECK(alive == 1);
  Counted* raw = a.detach();
  CHECK_FALSE(a);
  CHECK(raw->use_count() == 1);
  a = Ref<Counted>::adopt(raw);
  CHECK(a->use_count() == 1);
  a.reset();
  CHECK(alive == 0);
}

TEST_CASE("references are counted across threads") {
  int alive = 0;
  Ref<Counted> shared = make_ref<Counted>(&alive);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([copy = shared] {
      for (int i = 0; i < 20000; ++i) {
        Ref<Counted> local = copy;
        const Ref<Counted> other = local;
        local.reset();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  CHECK(shared->is_unique());
  shared.reset();
  CHECK(alive == 0);
}
