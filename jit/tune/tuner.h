// The autotuner: measures choices that keep bits on the real arguments of a program.
//
// First what changes the groups (recomputation, siblings, the size of kernels, ...), each kept if
// the whole program runs faster by it; then, for every kernel by itself, how many vectors are in
// flight, how wide they are and how large a thread's chunks; last the outcome against the default,
// in turns. Nothing is written but new memory, so the program itself runs afterwards as ever.
#pragma once

#include <optional>

#include "trace/program.h"

namespace tenon::jit {

// Seconds for which a program that this thread runs may be tuned before its first run; 0: not at
// all. By default TENON_AUTOTUNE_SECONDS (5) if TENON_AUTOTUNE is set, else 0.
double tuning_seconds();
double usual_tuning_seconds();  // TENON_AUTOTUNE_SECONDS, or 5
// nullopt: the default again. The old value.
std::optional<double> set_tuning_seconds(std::optional<double> seconds);

// Finds choices for the program, unless they are known, and keeps them. What the program itself
// would raise is left to its run.
void tune(const Program& program);

}  // namespace tenon::jit
