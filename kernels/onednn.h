// What calls of oneDNN's primitives share.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "core/error.h"

namespace tenon::kernels {

inline const dnnl::engine& onednn_engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// OutOfMemory, or an internal error: `what` was computed.
[[noreturn]] inline void fail_in_onednn(const dnnl::error& error, const std::string& what) {
  fail(error.status == dnnl_out_of_memory ? ErrorKind::OutOfMemory : ErrorKind::Internal,
       "oneDNN failed in {}: {}", what, error.message);
}

}  // namespace tenon::kernels
