// What tn.compile, tn.profiler and tn.bisect ask of C++: units, captures, events.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "core/profile.h"
#include "jit/plan/describe.h"
#include "jit/plan/executor.h"
#include "python/caster.h"
#include "python/compile.h"
#include "python/packages.h"
#include "python/tensor_type.h"
#include "trace/capture.h"
#include "trace/origin.h"
#include "trace/parse.h"
#include "trace/print.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tenon::python {
namespace {

nb::list lines_of(const std::vector<uint32_t>& origins) {
  nb::list lines;
  std::string last;
  for (uint32_t origin : origins) {
    std::string line = describe_origin(origin);
    if (line.empty() || line == last) continue;
    lines.append(line);
    last = std::move(line);
  }
  return lines;
}

nb::list steps(const Program& program) {
  nb::list result;
  for (const jit::StepInfo& step : jit::steps_of(program)) {
    nb::dict entry;
    entry["name"] = step.name;
    entry["reads"] = step.reads;
    entry["writes"] = step.writes;
    entry["bytes"] = step.bytes;
    entry["operations"] = step.operations;
    entry["apart"] = step.apart;
    entry["lines"] = lines_of(step.origins);
    result.append(entry);
  }
  return result;
}

nb::list stop_profile() {
  nb::list result;
  for (const ProfileEvent& event : stop_events()) {
    nb::dict entry;
    entry["kind"] = name_of(event.kind);
    entry["name"] = event.name;
    entry["begin"] = event.begin;
    entry["end"] = event.end;
    entry["thread"] = event.thread;
    entry["bytes"] = event.bytes;
    entry["operations"] = event.operations;
    entry["lines"] = lines_of(event.origins);
    result.append(entry);
  }
  return result;
}

// A program in Python's hands, with what its inputs were where that is known.
struct ProgramRef {
  Program program;
  std::vector<Tensor> inputs;  // undefined: to be given
};

ProgramRef program_of_capture(const CaptureRef& self, const std::vector<Tensor>& given) {
  std::vector<uint32_t> slots;
  ProgramRef result{program_of(*self.capture, &slots), {}};
  for (uint32_t slot : slots) {
    if (slot < given.size()) {
      result.inputs.push_back(given[slot]);
    } else if (slot >= Capture::kFirstKept && slot != Capture::kUnknown) {
      result.inputs.push_back(from_buffer(self.capture->kept[slot - Capture::kFirstKept]));
    } else {
      result.inputs.emplace_back();
    }
  }
  return result;
}

// The values of some nodes, or of the results alone.
std::vector<Tensor> run_program(const ProgramRef& self,
                                std::optional<std::vector<uint32_t>> nodes) {
  Program program = self.program;
  program.inputs.clear();
  uint32_t next = 0;
  for (const ProgramNode& node : program.nodes) {
    if (node.op != Op::Input) continue;
    const Tensor& input = self.inputs[next++];
    check(input.defined(), ErrorKind::Runtime, "input {} has no value", next - 1);
    check(input.type_id() == node.type, ErrorKind::Runtime, "input {} is {}, not {}", next - 1,
          print_type(input.type_id()), print_type(node.type));
    program.inputs.push_back(input.evaluate());
  }
  program.donatable.assign(program.inputs.size(), 0);
  if (nodes) {
    program.outputs.clear();
    for (uint32_t i : *nodes) {
      check(i < program.nodes.size(), ErrorKind::Index, "there is no node {}", i);
      ProgramNode& node = program.nodes[i];
      check(node.op != Op::Input, ErrorKind::Value, "node {} is an input", i);
      const Type& type = type_of(node.type);
      if (!type.contiguous) node.type = intern_contiguous(type.dtype, type.device, type.dims());
      program.outputs.push_back(i);
    }
  }
  std::vector<Tensor> results;
  for (Buffer& buffer : run_at_once(program)) results.push_back(from_buffer(std::move(buffer)));
  return results;
}

nb::list nodes_of(const Program& program) {
  nb::list result;
  for (uint32_t i = 0; i < program.nodes.size(); ++i) {
    const ProgramNode& node = program.nodes[i];
    nb::dict entry;
    entry["op"] = tenon::name_of(node.op);
    entry["type"] = print_type(node.type);
    const auto list = [](std::span<const int64_t> words) {
      return std::vector<int64_t>(words.begin(), words.end());
    };
    const auto operands = program.operands_of(node);
    entry["operands"] = std::vector<uint32_t>(operands.begin(), operands.end());
    entry["axes"] = list(program.axes_of(node));
    entry["sizes"] = list(program.sizes_of(node));
    entry["dims"] = list(type_of(node.type).dims());
    entry["dtype"] = type_of(node.type).dtype;
    entry["line"] = describe_origin(node.origin);
    result.append(entry);
  }
  return result;
}

}  // namespace

void add_compile(nb::module_& m) {
  nb::class_<CaptureRef>(m, "_Capture")
      .def_prop_ro("obstacle", [](const CaptureRef& self) { return self.capture->obstacle; })
      .def_prop_ro(
          "obstacle_line",
          [](const CaptureRef& self) { return describe_origin(self.capture->obstacle_origin); })
      .def_prop_ro(
          "parts",
          [](const CaptureRef& self) {
            nb::list parts;  // (capture, the effect after it)
            for (const Capture::Part& part : self.capture->before) {
              const bool reads = part.effect == Effect::Read;
              parts.append(nb::make_tuple(
                  CaptureRef{part.capture},
                  reads ? (part.answer ? "read true" : "read false") : name_of(part.effect)));
            }
            return parts;
          })
      .def_prop_ro("symbols",
                   [](const CaptureRef& self) {  // read; compared; recorded
                     const Symbols& symbols = self.capture->symbols;
                     nb::list compared, recorded;
                     for (const Symbols::Comparison& at : symbols.compared) {
                       compared.append(nb::make_tuple(at.symbol, at.with, at.equal));
                     }
                     for (const auto& at : symbols.recorded) recorded.append(at.first);
                     return nb::make_tuple(symbols.read, compared, recorded);
                   })
      .def("bind_symbols",
           [](CaptureRef& self, const CaptureRef& proof) {
             return bind_symbols(*self.capture, *proof.capture);
           })
      .def_prop_ro("recorded", [](const CaptureRef& self) { return self.capture->recorded; })
      .def("__str__", [](const CaptureRef& self) { return print(program_of(*self.capture)); })
      .def("program", &program_of_capture, "given"_a)
      .def("steps", [](const CaptureRef& self) { return steps(program_of(*self.capture)); })
      .def("plan", [](const CaptureRef& self) { return jit::explain(program_of(*self.capture)); })
      .def("peak_bytes",
           [](const CaptureRef& self) { return jit::peak_bytes_of(program_of(*self.capture)); })
      .def("difference_from",
           [](const CaptureRef& self, const CaptureRef& known) {
             return jit::difference_of_keys(program_of(*known.capture), program_of(*self.capture));
           })
      .def_prop_ro("draws", [](const CaptureRef& self) { return self.capture->draws; });
  nb::class_<ProgramRef>(m, "_Program")
      .def("__str__", [](const ProgramRef& self) { return print(self.program); })
      .def("nodes", [](const ProgramRef& self) { return nodes_of(self.program); })
      .def_prop_ro("outputs", [](const ProgramRef& self) { return self.program.outputs; })
      .def_rw("inputs", &ProgramRef::inputs)
      .def("run", &run_program, "nodes"_a = nb::none());
  m.def("_parse_program", [](const std::string& text, std::vector<Tensor> inputs) {
    return ProgramRef{parse_program(text), std::move(inputs)};
  });
  nb::class_<Unit>(m, "_Unit")
      .def(nb::init<std::vector<Tensor>, bool, bool, bool, bool>(), "given"_a, "proving"_a = false,
           "keeps"_a = false, "parting"_a = false, "following"_a = false)
      .def("truth_of", &Unit::truth_of)
      .def("finish",
           [](Unit& self, std::vector<Tensor> results) { return CaptureRef{self.finish(results)}; })
      .def("close", &Unit::close);
  m.def("_start_profile", &start_events);
  m.def("_stop_profile", &stop_profile);
  m.def("_event_clock", &event_clock);
  m.def("_events_begin", &events_begin);
  m.def("_is_plain", &is_outside_transforms);
  m.def("_has_attributes", [](nb::handle tensor) {
    PyObject* dict = reinterpret_cast<TensorObject*>(tensor.ptr())->dict;
    return dict != nullptr && PyDict_GET_SIZE(dict) > 0;
  });
  m.def("_root_id", [](const Tensor& x) {
    return reinterpret_cast<uintptr_t>(x.cell() ? &x.cell()->root() : nullptr);
  });
  m.def("_generator_state", [] {
    const Generator& generator = default_generator();
    return std::make_pair(generator.seed, generator.calls);
  });
  m.def("_set_generator_state", [](uint64_t seed, uint64_t calls) {
    TraceLock lock;
    default_generator() = {seed, calls};
  });
}

}  // namespace tenon::python
