// Matrix products by cuBLASLt, which is loaded at run time.
//
// Half types accumulate in float32 and round once, float32 is computed as such (no TF32). Which of
// the library's kernels computes a product is a function of its shape, layout and alignment: the
// library is asked once and what it says is kept, so that bits repeat.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "jit/cuda/memory.h"
#include "kernels/gemm.h"

namespace tenon::cuda {

// Of one device.
class MatrixProducts {
 public:
  // Errors: Runtime, with the reason, where the library is missing.
  MatrixProducts(DeviceMemory& memory, const Stream& stream);
  ~MatrixProducts();

  // Queues the product; `args` has device addresses and says each batch's place by strides.
  // Errors: NotImplemented for integers; Runtime, naming the shape, where the library refuses.
  void multiply(const kernels::GemmArgs& args);

 private:
  struct Prepared;
  struct Key;

  const Prepared& prepare(const kernels::GemmArgs& args);

  DeviceMemory& memory_;
  const Stream& stream_;
  void* handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Prepared>> prepared_;
};

}  // namespace tenon::cuda
