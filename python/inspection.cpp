// What the JIT made and ran, and how programs run.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "core/allocator.h"
#include "jit/plan/executor.h"
#include "jit/plan/narrow.h"
#include "python/packages.h"
#include "trace/inspect.h"
#include "trace/origin.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tenon::python {
namespace {

nb::dict counters() {
  const jit::Counters c = jit::counters();
  nb::dict result;
  result["programs"] = c.programs;
  result["plans"] = c.plans;
  result["kernels"] = c.kernels;
  result["compiled"] = c.compiled;
  result["from_disk"] = c.from_disk;
  result["launches"] = c.launches;
  result["library_calls"] = c.library_calls;
  result["library_primitives"] = c.library_primitives;
  const SegmentCounts segments = segment_counts();
  result["segments_matched"] = segments.matched;
  result["segments_unmatched"] = segments.unmatched;
  return result;
}

nb::list last_run() {
  nb::list steps;
  for (const jit::StepRecord& step : jit::last_run()) {
    nb::dict entry;
    entry["name"] = step.name;
    entry["seconds"] = step.seconds;
    entry["bytes"] = step.bytes;
    entry["operations"] = step.operations;
    nb::list lines;
    std::string last;
    for (uint32_t origin : step.origins) {
      std::string line = describe_origin(origin);
      if (line.empty() || line == last) continue;
      lines.append(line);
      last = std::move(line);
    }
    entry["lines"] = lines;
    steps.append(entry);
  }
  return steps;
}

nb::dict memory() {
  const AllocatorStats s = allocator_stats();
  nb::dict result;
  result["allocated"] = s.allocated;
  result["peak"] = s.peak;
  result["reserved"] = s.reserved;
  result["peak_reserved"] = s.peak_reserved;
  result["allocations"] = s.allocations;
  result["frees"] = s.frees;
  result["system_allocations"] = s.system_allocations;
  return result;
}

}  // namespace

void add_inspection(nb::module_& m) {
  nb::module_ jit = m.def_submodule("_jit");
  nb::enum_<jit::Mode>(jit, "Mode")
      .value("fused", jit::Mode::Fused)
      .value("unfused", jit::Mode::Unfused)
      .value("interpret", jit::Mode::Interpret);
  jit.def("set_mode", &jit::set_mode, "mode"_a);
  jit.def("mode", &jit::mode);
  nb::enum_<jit::NarrowUse>(jit, "NarrowUse")
      .value("hot", jit::NarrowUse::Hot)
      .value("always", jit::NarrowUse::Always)
      .value("never", jit::NarrowUse::Never);
  jit.def("set_narrow_use", &jit::set_narrow_use, "use"_a);
  jit.def("narrow_use", &jit::narrow_use);
  jit.def("counters", &counters);
  jit.def("last_run", &last_run);
  jit.def("set_profiling", &jit::set_profiling, "on"_a);
  jit.def("is_profiling", &jit::is_profiling);
  jit.def("memory", &memory);
  jit.def("reset_peak", &reset_peak);
  jit.def("explain_pending", [] {
    return explain_pending([](const Program& program) { return jit::explain(program); });
  });
  jit.def("set_chunk_work", &jit::set_chunk_work, "operations"_a);
  jit.def("fail_every", [](uint64_t k) { fail_every(k); }, "k"_a);
}

}  // namespace tenon::python
