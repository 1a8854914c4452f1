// The extension module: what is bound by hand, off the hot path.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>

#include <cstring>
#include <memory>

#include "autograd/autograd.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/threads.h"
#include "generated/bindings.h"
#include "generated/functions.h"
#include "jit/plan/executor.h"
#include "python/arguments.h"
#include "python/blocking.h"
#include "python/caster.h"
#include "python/compile.h"
#include "python/deferred_release.h"
#include "python/docstrings.h"
#include "python/errors.h"
#include "python/nn_module.h"
#include "python/origins.h"
#include "python/packages.h"
#include "python/symbolic_number.h"
#include "python/tensor_type.h"
#include "trace/shared_memory.h"
#include "trace/vmap.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tenon::python {
namespace {

// Puts the generated functions into the module and its submodules, methods onto the type.
void add_operations(nb::module_& m) {
  nb::module_ functional = m.def_submodule("_functional");
  for (const auto table : all_bindings()) {
    for (const Binding& b : table) {
      const char* dot = std::strchr(b.name, '.');
      const char* name = dot != nullptr ? dot + 1 : b.name;
      // Methods and functions share one definition; CPython keeps the pointer.
      auto* definition = new PyMethodDef{
          name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(b.function)),
          METH_FASTCALL | METH_KEYWORDS, b.doc};
      nb::object function = nb::steal(PyCFunction_NewEx(definition, nullptr, m.ptr()));
      if (dot != nullptr) {
        const std::string module(b.name, dot);
        nb::module_ submodule = nb::hasattr(m, module.c_str())
                                    ? nb::borrow<nb::module_>(m.attr(module.c_str()))
                                    : m.def_submodule(module.c_str());
        submodule.attr(name) = function;
        continue;
      }
      m.attr("_all")[name] = function;
      if (b.is_function) m.attr("_functions")[name] = function;
      if (b.is_functional) functional.attr(name) = function;
      if (b.is_method) {
        nb::object method = nb::steal(PyDescr_NewMethod(tensor_type, definition));
        nb::handle(reinterpret_cast<PyObject*>(tensor_type)).attr(name) = method;
      }
    }
  }
}

void set_memory_budget(std::optional<int64_t> bytes) {
  if (!bytes) return set_memory_limit(default_memory_limit());
  check(*bytes >= 0, ErrorKind::Value, "set_memory_budget: bytes must not be negative, got {}",
        *bytes);
  set_memory_limit(static_cast<std::size_t>(*bytes));
}

void add_modes(nb::module_& m) {
  m.def("is_grad_enabled", &is_grad_enabled, docs::kIsGradEnabled);
  m.def("_set_grad_enabled", &set_grad_enabled, "Sets the mode; returns what was.");
  m.def("_set_sync_errors", &set_sync_errors, "Sets the mode; returns what was.");
  m.def("_manual_seed", [](int64_t seed) { manual_seed(static_cast<uint64_t>(seed)); });
  m.def("get_default_dtype", &default_dtype, docs::kGetDefaultDtype);
  m.def(
      "set_default_dtype", [](DType dtype) { set_default_dtype(dtype); }, "d"_a,
      docs::kSetDefaultDtype);
  m.def("set_num_threads", &set_num_threads, "threads"_a, docs::kSetNumThreads);
  m.def("get_num_threads", &num_threads, docs::kGetNumThreads);
  m.def("set_memory_budget", &set_memory_budget, "bytes"_a.none(), docs::kSetMemoryBudget);
  m.def("get_memory_budget", &memory_limit, docs::kGetMemoryBudget);
  m.def(
      "promote_types", [](DType a, DType b) { return promote(a, b); }, "type1"_a, "type2"_a,
      docs::kPromoteTypes);
  m.def(
      "can_cast", [](DType a, DType b) { return can_cast(a, b); }, "from_"_a, "to"_a,
      docs::kCanCast);
  m.def("flush", &flush, docs::kFlush);
  m.def("pending_trace", &pending_trace, docs::kPendingTrace);
}

// A Python callable that takes a gradient and returns another, or None.
GradientHooks::Function as_hook(nb::object callable) {
  const std::shared_ptr<PyObject> function(callable.release().ptr(),
                                           [](PyObject* object) { release_later(object); });
  return [function](const Tensor& gradient) -> Tensor {
    const nb::object given = nb::steal(wrap(gradient));
    const nb::object result = nb::steal(PyObject_CallOneArg(function.get(), given.ptr()));
    if (!result.is_valid()) throw PythonError{};
    if (result.is_none()) return {};
    if (!is_tensor(result.ptr())) {
      raise_type_error("a hook of a gradient must return None or a Tensor, not %s",
                       Py_TYPE(result.ptr())->tp_name);
    }
    return to_tensor(result.ptr());
  };
}

// A Python function of (gradients, saved outputs) that returns a list of gradients.
CustomDerivative::Function as_derivative(nb::object callable) {
  const std::shared_ptr<PyObject> function(callable.release().ptr(),
                                           [](PyObject* object) { release_later(object); });
  return [function](const std::vector<Tensor>& gradients, const std::vector<Tensor>& saved) {
    const nb::object given = nb::cast(gradients), kept = nb::cast(saved);
    const nb::object result =
        nb::steal(PyObject_CallFunctionObjArgs(function.get(), given.ptr(), kept.ptr(), nullptr));
    if (!result.is_valid()) throw PythonError{};
    return nb::cast<std::vector<Tensor>>(result);
  };
}

void add_custom(nb::module_& m) {
  m.def("_is_differentiated", &autograd::is_differentiated);
  m.def("_has_tangent", &autograd::has_tangent);
  m.def(
      "_same_value",
      [](const Tensor& x) {
        OpScope scope("save_for_backward");
        return scope.result(scope.use(x));
      },
      "Another tensor of this value and its derivative, which later writes leave alone.");
  m.def(
      "_record_custom",
      [](nb::object function, nb::object forward, std::vector<Tensor> inputs,
         std::vector<Tensor> outputs, std::vector<std::pair<int, Tensor>> saved_outputs,
         bool saves) {
        auto derivative = make_ref<CustomDerivative>();
        derivative->function = as_derivative(std::move(function));
        if (!forward.is_none()) derivative->forward = as_derivative(std::move(forward));
        derivative->saved_outputs = std::move(saved_outputs);
        derivative->saves = saves;
        return autograd::record_custom(std::move(derivative), inputs, outputs);
      },
      nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
}

struct HookTable {
  Ref<GradientHooks> hooks;
};

void add_hooks(nb::module_& m) {
  nb::class_<HookTable>(m, "_HookTable")
      .def("__setitem__",
           [](HookTable& self, int64_t number, nb::object hook) {
             TraceLock lock;
             self.hooks->add(number, as_hook(std::move(hook)));
           })
      .def(
          "pop",
          [](HookTable& self, int64_t number, nb::object) {
            TraceLock lock;
            self.hooks->remove(number);
          },
          "number"_a, "default"_a = nb::none());
  m.def("_gradient_hooks", [](const Tensor& x) { return HookTable{autograd::gradient_hooks(x)}; });
  m.def("_accumulation_hooks",
        [](const Tensor& x) { return HookTable{autograd::accumulation_hooks(x)}; });
}

void add_autograd(nb::module_& m) {
  add_custom(m);
  add_hooks(m);
  m.def("_backward", [](std::vector<Tensor> roots, std::vector<Tensor> gradients, bool retain_graph,
                        bool create_graph, std::vector<Tensor> inputs) {
    autograd::backward(roots, gradients, retain_graph, create_graph, inputs);
  });
  m.def("_grad",
        [](std::vector<Tensor> outputs, std::vector<Tensor> inputs, std::vector<Tensor> gradients,
           bool retain_graph, bool create_graph, bool allow_unused, bool materialize) {
          return autograd::grad(outputs, inputs, gradients, retain_graph, create_graph,
                                allow_unused, materialize);
        });
  using autograd::ForwardTransform;
  using autograd::ReverseTransform;
  nb::class_<ReverseTransform>(m, "_ReverseTransform")
      .def(nb::init<>())
      .def("enter", &ReverseTransform::enter)
      .def("exit", [](ReverseTransform& self, std::vector<Tensor> out) { return self.exit(out); })
      .def("pull", [](ReverseTransform& self, std::vector<Tensor> ct) { return self.pull(ct); })
      .def("close", &ReverseTransform::close);
  nb::class_<ForwardTransform>(m, "_ForwardTransform")
      .def(nb::init<>())
      .def("enter", &ForwardTransform::enter)
      .def("exit",
           [](ForwardTransform& self, std::vector<Tensor> out) {
             ForwardTransform::Result result = self.exit(out);
             return std::make_pair(std::move(result.primals), std::move(result.tangents));
           })
      .def("close", &ForwardTransform::close);
}

void add_vmap(nb::module_& m) {
  nb::class_<Vmap>(m, "_Vmap")
      .def("__init__",
           [](Vmap* self, int64_t extent, const std::string& randomness) {
             new (self) Vmap(extent, randomness == "different" ? Randomness::Different
                                     : randomness == "same"    ? Randomness::Same
                                                               : Randomness::Error);
           })
      .def("enter", &Vmap::enter)
      .def(
          "exit",
          [](Vmap& self, std::vector<Tensor> outputs,
             std::vector<std::optional<int64_t>> out_dims) { return self.exit(outputs, out_dims); })
      .def("close", &Vmap::close);
}

void add_modules(nb::module_& m) {
  m.def("_index_put", [](const Tensor& x, nb::handle items, nb::handle value, bool accumulate) {
    put_items(x, items.ptr(), value.ptr(), accumulate);
  });
  m.def("_become", [](nb::handle self, const Tensor& tensor) {
    return nb::steal(become(self.ptr(), tensor));
  });
  m.def("_to_bytes", [](const Tensor& x) {
    const std::vector<std::byte> bytes = x.to_bytes();
    return nb::bytes(bytes.data(), bytes.size());
  });
  m.def("_from_bytes", [](DType dtype, std::vector<int64_t> dims, nb::bytes data) {
    return from_bytes(dtype, dims, {static_cast<const std::byte*>(data.data()), data.size()});
  });
  m.def("_make_parameter", [](nb::handle type, const Tensor& data, bool requires_grad) {
    const Tensor parameter = detach(data);
    parameter.mark_parameter();
    if (requires_grad) parameter.set_requires_grad(true);
    return nb::steal(wrap_as(reinterpret_cast<PyTypeObject*>(type.ptr()), Tensor(parameter)));
  });
  m.def("_as_subclass", [](nb::handle type, const Tensor& x) {
    Tensor view = make_view(x, Op::Alias, {}, {}, x.dims());
    return nb::steal(wrap_as(reinterpret_cast<PyTypeObject*>(type.ptr()), std::move(view)));
  });
  m.def("_share_memory", &share_memory);
  m.def("_is_in_shared_memory", &is_in_shared_memory);
  m.def("_install_origins", [](const std::string& folder) { install_origins(folder.c_str()); });
}

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const Error& error) {
    set_error(error);
  } catch (const PythonError&) {
  }
}

}  // namespace
}  // namespace tenon::python

NB_MODULE(_C, m) {
  using namespace tenon::python;
  nb::set_leak_warnings(false);  // enumerations and static types live as long as the process
  nb::register_exception_translator(translate);
  add_errors(m.ptr());
  add_types(m.ptr());
  if (make_tensor_type(m.ptr()) == nullptr) throw nb::python_error();
  if (!make_size_type(m.ptr()) || !make_module_base(m.ptr()) || !make_compiled_type(m.ptr()) ||
      !make_symbolic_number_type(m.ptr()))
    throw nb::python_error();
  m.attr("_all") = nb::dict();
  m.attr("_functions") = nb::dict();
  add_cuda(m);
  add_operations(m);
  for (PyMethodDef* functions : {conversion_functions, dlpack_functions}) {
    if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw nb::python_error();
  }
  add_modes(m);
  add_autograd(m);
  add_vmap(m);
  add_library(m);
  add_regions(m);
  add_modules(m);
  add_inspection(m);
  add_compile(m);
  add_nn(m);
  add_optim(m);
  tenon::jit::install();
  install_blocking_hooks();
}
