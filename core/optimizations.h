// The optimizations that can be switched off, one at a time: to find what is at fault when a result
// or a speed is wrong. None changes a bit of a result. What decides bits (which library multiplies,
// how a reduction is cut) is no optimization in this sense: it comes from tables of shapes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tenon {

enum class Optimization : std::uint8_t {
  // jit/simplify
  OuterProducts,
  Cse,
  Algebra,
  ComposeMovement,
  ChannelsLast,
  // jit/group
  FuseMaps,
  FuseRows,
  FuseColumns,
  FuseFull,
  FuseSiblings,
  InlineMovement,
  Recompute,
  LargeKernels,
  SelectConcatenate,
  // jit/schedule
  MergeLoops,
  Hoist,
  KeepRows,
  Unroll,
  NarrowLoops,
  // jit/plan
  Rematerialize,
  Donation,
  UpdateInPlace,
  SlabReuse,
  BatchLaunches,
  ShareKernels,
  QuickTier,
  HotTier,
  KernelCache,
  PlanCache,
  BindingCache,
  TunedPlans,
  // trace
  Matching,
  Periods,
  EarlyLaunches,
  // python
  SkipPython,
  Count,
};
static_assert(static_cast<int>(Optimization::Count) < 64);

// By Optimization.
struct OptimizationInfo {
  std::string_view name;
  std::string_view what;  // it does, in a few words
};
std::span<const OptimizationInfo> optimizations();

// A set of optimizations, as bits.
using OptimizationSet = std::uint64_t;
constexpr OptimizationSet bit_of(Optimization o) {
  return OptimizationSet{1} << static_cast<int>(o);
}
constexpr bool contains(OptimizationSet set, Optimization o) { return (set & bit_of(o)) != 0; }

// What is switched off: TENON_DISABLE, a comma-separated list of names, until it is set.
OptimizationSet disabled_optimizations();
void set_disabled_optimizations(OptimizationSet set);
// The set of a list of names. Value error, naming those there are, for any other.
OptimizationSet optimizations_named(std::span<const std::string_view> wanted);

inline bool is_enabled(Optimization o) { return !contains(disabled_optimizations(), o); }

}  // namespace tenon
