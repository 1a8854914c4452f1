// What may be chosen about a plan without changing a bit of what it computes.
#pragma once

#include <string>
#include <vector>

#include "core/hash.h"
#include "jit/group/group.h"
#include "jit/plan/counters.h"

namespace tenon::jit {

struct Choices {
  OptimizationSet off = 0;
  uint16_t kernel_size = 100;              // percent of the caps on fused kernels
  bool hot = false;                        // the better instruction selector at once
  Recompute recompute = Recompute::Cheap;  // not written: choices are tuned at the level at hand
  std::vector<KernelChoice> kernels;       // by group; the last one for all that follow

  bool operator==(const Choices&) const = default;
};

// A part of the key of plans; zero for what is chosen by default.
Hash128 hash_of(const Choices& choices);
// For people: "without recompute; 3 of 12 kernels: 1 vector in flight".
std::string describe(const Choices& choices);
// One line of text, and what it says. Nothing for a text of another form.
std::string write(const Choices& choices);
std::optional<Choices> read_choices(std::string_view text);

}  // namespace tenon::jit
