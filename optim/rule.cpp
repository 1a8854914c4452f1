#include "optim/rule.h"

#include <algorithm>
#include <type_traits>

#include "core/allocator.h"
#include "core/device_memory.h"

namespace tenon::optim {

void prepare_like(const Tensor& param, Tensor& state, double number) {
  if (state.defined()) return;
  const TypeId type = intern_contiguous(param.dtype(), param.device(), param.dims());
  const auto count = static_cast<size_t>(param.numel());
  Buffer buffer{allocate(count * size_of(param.dtype())), 0, type};
  visit_dtype(param.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;
    std::fill_n(buffer.storage->as<T>(), count, static_cast<T>(static_cast<Number>(number)));
  });
  if (!param.device().is_cpu()) {
    const size_t bytes = count * size_of(param.dtype());
    const Ref<Storage> there = allocate_on(param.device(), bytes);
    copy_bytes(*there, 0, *buffer.storage, 0, bytes);
    buffer.storage = there;
  }
  state = from_buffer(std::move(buffer));
}

void check_real(const char* rule, const Tensor& param) {
  check(!is_complex(param.dtype()), ErrorKind::NotImplemented,
        "{}: complex parameters; optimize their real and imaginary parts", rule);
}

void check_not_negative(double number, const char* what) {
  check(number >= 0, ErrorKind::Value, "Invalid {}: {}", what, number);
}

void check_betas(std::pair<double, double> betas) {
  check(betas.first >= 0 && betas.first < 1, ErrorKind::Value,
        "Invalid beta parameter at index 0: {}", betas.first);
  check(betas.second >= 0 && betas.second < 1, ErrorKind::Value,
        "Invalid beta parameter at index 1: {}", betas.second);
}

}  // namespace tenon::optim
