// What the JIT made and ran, and how programs run.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "core/allocator.h"
#include "core/optimizations.h"
#include "jit/plan/executor.h"
#include "jit/plan/hot.h"
#include "jit/plan/narrow.h"
#include "jit/tune/tuner.h"
#include "jit/tune/winners.h"
#include "python/packages.h"
#include "trace/early.h"
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
  result["early_steps"] = c.early_steps;
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

nb::list tuned() {
  nb::list result;
  for (const jit::Winner& winner : jit::winners()) {
    nb::dict entry;
    entry["steps"] = winner.what;
    entry["sizes"] = winner.sizes;
    entry["threads"] = winner.threads;
    entry["before"] = winner.before;
    entry["after"] = winner.after;
    entry["choices"] = describe(winner.choices);
    entry["trials"] = winner.trials;
    entry["seconds"] = winner.seconds;
    result.append(entry);
  }
  return result;
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
  result["budget"] = memory_limit();
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
  jit.def("set_narrow_at_once", &jit::set_narrow_at_once, "on"_a);
  jit.def("optimizations", [] {
    nb::dict result;
    for (const OptimizationInfo& o : optimizations()) {
      result[nb::str(o.name.data(), o.name.size())] = nb::str(o.what.data(), o.what.size());
    }
    return result;
  });
  jit.def("disabled", [] {
    nb::list names;
    for (size_t i = 0; i < optimizations().size(); ++i) {
      if (is_enabled(static_cast<Optimization>(i))) continue;
      names.append(nb::str(optimizations()[i].name.data(), optimizations()[i].name.size()));
    }
    return names;
  });
  jit.def(
      "set_disabled",
      [](const std::vector<std::string>& names) {
        const std::vector<std::string_view> views(names.begin(), names.end());
        set_disabled_optimizations(optimizations_named(views));
      },
      "names"_a);
  jit.def("tuning_seconds", &jit::tuning_seconds);
  jit.def("usual_tuning_seconds", &jit::usual_tuning_seconds);
  jit.def("set_tuning_seconds", &jit::set_tuning_seconds, "seconds"_a.none());
  jit.def("tuned", &tuned);
  jit.def(
      "force_choices",
      [](const std::string& text) {
        if (text.empty()) return jit::force_choices(std::nullopt);
        const auto choices = jit::read_choices(text);
        check(choices.has_value(), ErrorKind::Value, "'{}' says no choices", text);
        jit::force_choices(choices);
      },
      "text"_a);
  jit.def("clear_tuned", &jit::clear_winners, "on_disk"_a);
  jit.def("wait_for_hot_kernels", &jit::wait_for_hot_kernels);
  nb::enum_<jit::Recompute>(jit, "Recompute")
      .value("none", jit::Recompute::None)
      .value("cheap", jit::Recompute::Cheap)
      .value("all", jit::Recompute::All);
  jit.def("set_recompute", &jit::set_recompute, "level"_a);
  jit.def("recompute", &jit::recompute);
  jit.def("set_recompute_threshold", &jit::set_recompute_threshold, "bytes"_a);
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
  jit.def(
      "set_early_work",
      [](int64_t nanoseconds) {
        jit::set_early_work(nanoseconds);
        set_least_lead(nanoseconds);
      },
      "nanoseconds"_a);
  jit.def("fail_every", [](uint64_t k) { fail_every(k); }, "k"_a);
  jit.def("fail_once", [](uint64_t k) { fail_once(k); }, "k"_a);
}

}  // namespace tenon::python
