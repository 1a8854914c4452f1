// Running a segment's beginning while the rest is recorded.
//
// While recorded nodes are those of the segment that is predicted (see match.h), the first steps of
// its program may run on other threads beside the recorder. It pays where the steps are large and
// Python takes its time: the executor says after which nodes there is enough to run, and how long
// recording then still took is measured each time. What runs early is taken over by the segment's
// own run if all came as predicted, and dropped otherwise; after that it is not tried for a while.
#pragma once

#include <memory>

#include "trace/executor.h"
#include "trace/match.h"

namespace tenon {

struct Recorder;

// Of an open segment.
struct EarlySegment {
  std::shared_ptr<RunRecipe> recipe;
  std::shared_ptr<EarlyRun> run;
  NodeId compared;  // nodes that were found to be those predicted

  ~EarlySegment() { run->cancel(); }
};

inline constexpr size_t kNoLaunch = ~size_t{0};

// What recording must still take from where a run may begin, in nanoseconds, for it to begin
// (default: 50 us). With 0 nothing has to have come before, either; for tests.
void set_least_lead(int64_t nanoseconds);

// After a flush: sets at how many nodes the next segment's run may begin.
void expect_launches(Recorder& recorder);
// Recording has come to that many.
void launch_early(Recorder& recorder);
// Before a flush: how long recording took from there on.
void note_lead(Recorder& recorder);
// What a stopped early run computed, if the segment turned out as predicted. Lets go of the inputs,
// so that they can be donated.
std::shared_ptr<EarlyRun> take_early(const Segment& segment, EarlySegment& early,
                                     const RunRecipe& recipe);
// After the run: whether it was worth trying.
void judge_early(const EarlySegment& early);

}  // namespace tenon
