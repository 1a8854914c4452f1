#include "core/optimizations.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "core/env.h"
#include "core/error.h"

namespace tenon {
namespace {

constexpr std::size_t kCount = static_cast<std::size_t>(Optimization::Count);

constexpr std::array<OptimizationInfo, kCount> kInfo{{
    {"outer_products", "products that contract nothing are multiplications"},
    {"cse", "nodes that compute the same are computed once"},
    {"algebra", "x * 1, x + (-0), casts to the same type and the like are x"},
    {"compose_movement", "chains of permutations, reshapes and broadcasts become one"},
    {"channels_last", "channels lie innermost in what lies between convolutions"},
    {"fuse_maps", "elementwise operations share a kernel"},
    {"fuse_rows", "reductions along rows share a kernel with what makes and reads the row"},
    {"fuse_columns", "reductions of columns share a kernel with what makes and reads them"},
    {"fuse_full", "reductions to one number share a kernel with what makes and reads them"},
    {"fuse_siblings", "kernels that read the same values become one"},
    {"inline_movement", "slices, pads, gathers and the like are computed where they are read"},
    {"recompute", "what is cheap is computed again by each reader instead of stored"},
    {"large_kernels", "kernels that read few buffers may be four times as long"},
    {"select_concatenate", "a concatenation of few parts is computed where it is read"},
    {"merge_loops", "neighbouring loops over contiguous memory run as one"},
    {"hoist", "what a loop does not change is computed before it"},
    {"keep_rows", "dear values of a row are kept for its later passes"},
    {"unroll", "several vectors are in flight"},
    {"narrow_loops", "kernels have a variant for short loops, whose lanes lie across them"},
    {"rematerialize", "cheap values are computed again rather than kept until they are read late"},
    {"donation", "a result may take the memory of an input that nobody needs any more"},
    {"update_in_place", "a temporary that is updated is updated where it lies"},
    {"slab_reuse", "temporaries share memory when they don't live at once"},
    {"batch_launches", "neighbouring kernels that don't depend on each other are launched at once"},
    {"share_kernels", "equal kernels are compiled once"},
    {"quick_tier", "kernels are first compiled by the quick instruction selector"},
    {"hot_tier", "kernels that cost are compiled again, better, in the background"},
    {"kernel_cache", "compiled kernels are kept on disk"},
    {"plan_cache", "a program seen before runs by its plan"},
    {"binding_cache", "sizes and places are kept while extents stay the same"},
    {"tuned_plans", "choices that the autotuner found are used"},
    {"matching", "a segment that repeats an earlier one is not worked out again"},
    {"periods", "a stream of operations is cut where its loop begins again"},
    {"early_launches", "what repeats begins to run while Python still records the rest"},
    {"skip_python", "compiled functions skip Python where that is proven to be the same"},
}};

std::array<std::string_view, kCount> names() {
  std::array<std::string_view, kCount> result;
  for (std::size_t i = 0; i < kCount; ++i) result[i] = kInfo[i].name;
  return result;
}

std::atomic<OptimizationSet>& disabled() {
  static std::atomic<OptimizationSet> set{env_set("TENON_DISABLE", names(), 0)};
  return set;
}

}  // namespace

std::span<const OptimizationInfo> optimizations() { return kInfo; }

OptimizationSet disabled_optimizations() { return disabled().load(std::memory_order_relaxed); }

void set_disabled_optimizations(OptimizationSet set) {
  disabled().store(set, std::memory_order_relaxed);
}

OptimizationSet optimizations_named(std::span<const std::string_view> wanted) {
  OptimizationSet set = 0;
  for (const std::string_view name : wanted) {
    const auto found = std::ranges::find(kInfo, name, &OptimizationInfo::name);
    check(found != kInfo.end(), ErrorKind::Value, "there is no optimization '{}'; there are {}",
          name, fmt::join(names(), ", "));
    set |= OptimizationSet{1} << (found - kInfo.begin());
  }
  return set;
}

}  // namespace tenon
