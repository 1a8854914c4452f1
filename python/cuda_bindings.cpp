// What tenon.cuda asks of devices.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include "core/device_memory.h"
#include "core/error.h"
#include "jit/cuda/backend.h"
#include "jit/cuda/library.h"
#include "python/blocking.h"
#include "python/packages.h"
#include "trace/tensor.h"

namespace nb = nanobind;

namespace tenon::python {

namespace {

cuda::MemoryStats memory_stats(int index) {
  return cuda::is_in_use(index) ? cuda::runtime(index).memory().stats() : cuda::MemoryStats{};
}

}  // namespace

void add_cuda(nb::module_& m) {
  m.def("_why_no_cuda", &cuda::why_unavailable);
  m.def("_add_cuda_library_folder", &cuda::add_library_folder, nb::arg("folder"));
  m.def("_cuda_device_count", &cuda::device_count);
  m.def("_cuda_is_in_use", &cuda::is_in_use);
  m.def("_cuda_synchronize", [](int index) {
    flush();
    if (cuda::is_in_use(index)) {
      const nb::gil_scoped_release others_run;
      synchronize({Device::Kind::CUDA, static_cast<int8_t>(index)});
    }
  });
  m.def("_cuda_properties", [](int index) {  // name, compute capability times 10, threads
    const cuda::Device& device = cuda::runtime(index).device();
    return nb::make_tuple(device.name(), device.architecture(), device.threads());
  });
  m.def("_cuda_free_and_total", [](int index) {
    cuda::runtime(index).device().make_current();
    size_t free = 0, total = 0;
    cuda::check_call(cuda::driver().cuMemGetInfo(&free, &total), "cuMemGetInfo");
    return std::pair(free, total);
  });
  m.def("_cuda_memory", [](int index) {  // allocated, its peak, reserved
    const cuda::MemoryStats stats = memory_stats(index);
    return nb::make_tuple(stats.allocated, stats.peak, stats.reserved);
  });
  m.def("_cuda_reset_peak", [](int index) {
    if (cuda::is_in_use(index)) cuda::runtime(index).memory().reset_peak();
  });
  m.def("_cuda_trim", [](int index) {
    if (!cuda::is_in_use(index)) return size_t{0};
    cuda::runtime(index).device().make_current();
    return cuda::runtime(index).memory().trim();
  });
}

}  // namespace tenon::python
