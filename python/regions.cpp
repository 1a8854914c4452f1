// Bodies of scan, while_loop and cond as Python records them (tenon/func/_regions.py).
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/caster.h"
#include "python/library.h"
#include "python/packages.h"
#include "trace/region.h"
#include "trace/tensor.h"

namespace nb = nanobind;

namespace tenon::python {
namespace {

class Body {
 public:
  Body(const std::string& name, int64_t length)
      : name_(name == "scan"   ? "scan"
              : name == "cond" ? "cond"
              : name == "call" ? "call"
                               : "while_loop"),
        recording_(name_, length) {}

  // What stands for a tensor's value in every step; for one element of it along dimension 0.
  Tensor parameter(const Tensor& like) { return add(like.type_id()); }
  Tensor element(const Tensor& stack) { return add(step_of(row_major(stack.type_id()))); }

  void finish(const std::vector<Tensor>& outputs) {
    OpScope scope(name_);
    recording_.finish(use(scope, outputs));
  }
  std::vector<Tensor> scan(const std::vector<Tensor>& outputs, const std::vector<Tensor>& carry,
                           const std::vector<Tensor>& xs, int64_t length, bool reverse) {
    OpScope scope(name_);
    const std::vector<Value> begin = use(scope, carry), stacks = use(scope, xs);
    recording_.finish(use(scope, outputs));
    return results(scope, record_scan(recording_, parameters_, begin, stacks, length, reverse));
  }
  std::vector<Tensor> while_loop(const Body& condition, const std::vector<Tensor>& outputs,
                                 const std::vector<Tensor>& carry) {
    OpScope scope(name_);
    const std::vector<Value> begin = use(scope, carry);
    recording_.finish(use(scope, outputs));
    return results(scope, record_while(condition.recording_, condition.parameters_, recording_,
                                       parameters_, begin));
  }
  std::vector<Tensor> cond(const Body& if_true, const std::vector<Tensor>& outputs,
                           const Tensor& predicate) {
    OpScope scope(name_);
    const std::vector<Value> values = use(scope, outputs);
    recording_.finish(values);
    return results(scope, record_cond(if_true.recording_, recording_, scope.use(predicate)));
  }
  // A call of a user's operation with this for its body.
  std::vector<Tensor> call(int64_t id, const std::vector<Tensor>& outputs,
                           const std::vector<Tensor>& tensors,
                           const std::vector<GivenAttribute>& attributes) {
    OpScope scope(library::operation_of(id).name.c_str());
    library::CallSizes sizes;
    std::vector<Value> operands;
    for (const Tensor& tensor : tensors) {
      sizes.is_given.push_back(tensor.defined());
      if (tensor.defined()) operands.push_back(scope.use(tensor));
    }
    for (const GivenAttribute& given : attributes) sizes.attributes.push_back(as_attribute(given));
    for (const Tensor& output : outputs) {
      sizes.results.push_back({output.dtype(), Dims(output.dims())});
    }
    recording_.finish(use(scope, outputs));
    return results(scope, library::record_call(id, recording_, parameters_, operands, sizes));
  }
  void close() { recording_.close(); }

 private:
  Tensor add(TypeId type) {
    OpScope scope(name_);
    parameters_.push_back(recording_.parameter(type));
    return scope.result(parameters_.back());
  }
  static std::vector<Value> use(OpScope& scope, const std::vector<Tensor>& tensors) {
    std::vector<Value> values;
    for (const Tensor& tensor : tensors) values.push_back(scope.use(tensor));
    return values;
  }
  static std::vector<Tensor> results(OpScope& scope, const std::vector<Value>& values) {
    std::vector<Tensor> tensors;
    for (Value value : values) tensors.push_back(scope.result(value));
    return tensors;
  }

  const char* name_;
  RegionRecording recording_;
  std::vector<Value> parameters_;
};

}  // namespace

void add_regions(nb::module_& m) {
  nb::class_<Body>(m, "_Region")
      .def(nb::init<const std::string&, int64_t>())
      .def("parameter", &Body::parameter)
      .def("element", &Body::element)
      .def("finish", &Body::finish)
      .def("scan", &Body::scan)
      .def("while_loop", &Body::while_loop)
      .def("cond", &Body::cond)
      .def("call", &Body::call)
      .def("close", &Body::close);
  m.attr("_NO_STEPS") = RegionRecording::kNoSteps;
  m.attr("_ONCE") = RegionRecording::kOnce;
}

}  // namespace tenon::python
