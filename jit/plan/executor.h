// The Executor that runs programs through plans.
#pragma once

#include <string>

#include "jit/plan/counters.h"
#include "jit/plan/plan.h"
#include "trace/executor.h"

namespace tenon::jit {

// Makes the JIT the process' Executor.
void install();

// The plan of a program, made if it is not known; lives as long as the process.
Plan& plan_for(const Program& program);
// The same with given choices, in the present mode.
Plan& plan_with(const Program& program, const Choices& choices);

// The plan of a program whose inputs and outputs are in a device's memory (see Plan::run_on).
Plan& plan_for_device(const Program& program);

// Makes all plans with these choices (tests), whatever was tuned; nullopt: as ever.
void force_choices(std::optional<Choices> choices);

// What would run for a program: its graph, groups, kernels and buffers.
std::string explain(const Program& program);

// Forgets plans and kernels (tests count what is made afresh).
void clear_plans();

}  // namespace tenon::jit
