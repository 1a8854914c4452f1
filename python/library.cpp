// Users' operations as Python declares and calls them (tenon/library).
#include "python/library.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "core/error.h"
#include "python/caster.h"
#include "python/deferred_release.h"
#include "python/packages.h"

namespace nb = nanobind;

namespace tenon::python {

using library::Arguments;
using library::Attribute;

Attribute as_attribute(const GivenAttribute& given) {
  const auto& [kind, value] = given;
  switch (kind) {
    case TENON_INTEGER:
      return nb::cast<int64_t>(value);
    case TENON_NUMBER:
      return nb::cast<double>(value);
    case TENON_FLAG:
      return nb::cast<bool>(value);
    case TENON_TEXT:
      return nb::cast<std::string>(value);
    case TENON_INTEGERS:
      return nb::cast<std::vector<int64_t>>(value);
    case TENON_NUMBERS:
      return nb::cast<std::vector<double>>(value);
    default:
      return std::monostate{};
  }
}

namespace {

nb::object as_object(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> nb::object {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
          return nb::none();
        } else {
          return nb::cast(value);
        }
      },
      attribute);
}

nb::list as_list(const std::vector<Attribute>& attributes) {
  nb::list list;
  for (const Attribute& attribute : attributes) list.append(as_object(attribute));
  return list;
}

std::shared_ptr<PyObject> shared(nb::object callable) {
  return {callable.release().ptr(), [](PyObject* object) { release_later(object); }};
}

nb::object called(PyObject* function, const nb::tuple& arguments) {
  nb::object result = nb::steal(PyObject_CallObject(function, arguments.ptr()));
  if (!result.is_valid()) throw PythonError{};
  return result;
}

// f(tensors, attributes, results, gradients or tangents) gives a list of tensors or None.
library::Operation::Backward as_rule(nb::object callable) {
  return [function = shared(std::move(callable))](const Arguments& arguments,
                                                  const std::vector<Tensor>& results,
                                                  const std::vector<Tensor>& derivatives) {
    const nb::gil_scoped_acquire held;
    const nb::object given = called(
        function.get(),
        nb::make_tuple(arguments.tensors, as_list(arguments.attributes), results, derivatives));
    return nb::cast<std::vector<Tensor>>(given);
  };
}

// f(tensors, attributes, whether each is batched, extent) gives the results and their dimensions.
library::Operation::Batching as_batching(nb::object callable) {
  return [function = shared(std::move(callable))](const Arguments& arguments,
                                                  const library::Batch& batch) {
    const nb::gil_scoped_acquire held;
    nb::list flags;
    for (bool is_batched : batch.is_batched) flags.append(nb::bool_(is_batched));
    const nb::object given = called(
        function.get(),
        nb::make_tuple(arguments.tensors, as_list(arguments.attributes), flags, batch.extent));
    auto [tensors, dims] =
        nb::cast<std::pair<std::vector<Tensor>, std::vector<std::optional<int64_t>>>>(given);
    return library::BatchedResults{std::move(tensors), std::move(dims)};
  };
}

using ResultTypes = std::vector<std::pair<DType, std::vector<int64_t>>>;

int64_t add(std::string name, size_t result_count, bool batches_leading, uintptr_t infer,
            uintptr_t kernel, nb::object backward, nb::object forward, nb::object batching) {
  library::Operation operation;
  operation.name = std::move(name);
  operation.result_count = result_count;
  operation.batches_leading = batches_leading;
  operation.infer = reinterpret_cast<tenon_infer>(infer);
  operation.kernel = reinterpret_cast<tenon_kernel>(kernel);
  operation.backward = as_rule(std::move(backward));
  operation.forward = as_rule(std::move(forward));
  operation.batching = as_batching(std::move(batching));
  return library::add(std::move(operation));
}

std::vector<Tensor> call(int64_t id, std::vector<Tensor> tensors,
                         const std::vector<GivenAttribute>& attributes,
                         std::optional<ResultTypes> types) {
  Arguments arguments{std::move(tensors), {}};
  for (const GivenAttribute& given : attributes)
    arguments.attributes.push_back(as_attribute(given));
  if (!types) return library::call(id, arguments);
  std::vector<library::ResultType> results;
  for (const auto& [dtype, dims] : *types) {
    results.push_back({dtype, Dims(std::span<const int64_t>(dims))});
  }
  return library::call(id, arguments, std::move(results));
}

// Schema, doc, infer, kernel and flags of each operation of a shared library.
nb::list open_library(const std::string& path) {
  nb::list entries;
  for (const tenon_operation* entry : library::open(path)) {
    entries.append(nb::make_tuple(entry->schema, entry->doc ? entry->doc : "",
                                  reinterpret_cast<uintptr_t>(entry->infer),
                                  reinterpret_cast<uintptr_t>(entry->kernel), entry->flags));
  }
  return entries;
}

}  // namespace

void add_library(nb::module_& m) {
  m.def("_library_add", &add);
  m.def("_library_call", &call, nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("_library_open", &open_library);
  m.def("_is_example", &library::is_example);
  m.def("_is_inside_region", &library::is_inside_region);
}

}  // namespace tenon::python
