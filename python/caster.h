// Tensors in functions that nanobind binds: those off the hot path.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "python/arguments.h"
#include "python/tensor_type.h"

namespace nanobind::detail {

// None is the undefined tensor.
template <>
struct type_caster<tenon::Tensor> {
  NB_TYPE_CASTER(tenon::Tensor, const_name("Tensor"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (source.is_none()) {
      value = tenon::Tensor();
      return true;
    }
    if (!tenon::python::is_tensor(source.ptr())) return false;
    value = tenon::python::to_tensor(source.ptr());
    return true;
  }
  static handle from_cpp(const tenon::Tensor& tensor, rv_policy, cleanup_list*) noexcept {
    return tenon::python::guarded([&] { return tenon::python::wrap(tensor); });
  }
};

template <>
struct type_caster<tenon::DType> {
  NB_TYPE_CASTER(tenon::DType, const_name("dtype"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (!tenon::python::is_dtype(source.ptr())) return false;
    value = tenon::python::to_dtype(source.ptr());
    return true;
  }
  static handle from_cpp(tenon::DType dtype, rv_policy, cleanup_list*) noexcept {
    return handle(tenon::python::dtype_object(dtype)).inc_ref();
  }
};

}  // namespace nanobind::detail
