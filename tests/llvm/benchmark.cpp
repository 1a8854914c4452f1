// Figures for jit/llvm: milliseconds to compile a kernel, elements a nanosecond of the functions,
// and the chain tanh(x*y+sin(x))*exp(-y*y)+x on 64K floats, one thread. Run by hand:
// tests/llvm/bench_llvm.
#include <fmt/format.h>

#include <chrono>

#include "jit/loop/math.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using llvm_jit::Tier;
using loop::ScalarFn;

namespace {

using Clock = std::chrono::steady_clock;

// The least time of several runs, in microseconds.
template <class F>
double best_of(int repeats, F&& run) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return best;
}

Kernel chain_of(int operations) {
  return elementwise(
      "chain", std::array{Scalar::F32, Scalar::F32}, Scalar::F32,
      [&](Builder& b, const std::vector<Pack>& x) {
        Pack v = x[0];
        for (int i = 0; i < operations; ++i) {
          v = i % 3 == 0 ? b.mul(v, x[1]) : i % 3 == 1 ? b.add(v, b.f32(i)) : b.max(v, x[0]);
        }
        return v;
      });
}

double time_kernel(const Kernel& kernel, Tier tier, int64_t n) {
  const Kernel* kernels[] = {&kernel};
  const auto code = llvm_jit::compile(kernels, tier)[0];
  std::vector<Data> buffers(3, Data(Scalar::F32, n));
  std::mt19937 random(1);
  for (Data& data : buffers) {
    for (int64_t i = 0; i < n; ++i) {
      data.as<float>()[i] = std::uniform_real_distribution<float>(0.1f, 3)(random);
    }
  }
  std::vector<void*> pointers;
  for (Data& data : buffers) pointers.push_back(data.bytes.data());
  return best_of(
      300, [&] { code->function(pointers.data(), nullptr, nullptr, nullptr, 0, n, nullptr); });
}

}  // namespace

int main() {
  llvm_jit::set_cache_folder(std::nullopt);
  const char* kTiers[] = {"quick", "hot"};
  for (auto tier : {Tier::Quick, Tier::Hot}) {
    const char* name = kTiers[static_cast<int>(tier)];
    for (int operations : {5, 50, 500}) {
      const Kernel kernel = chain_of(operations);
      const Kernel* kernels[] = {&kernel};
      double compile = 1e9;
      for (int i = 0; i < 10; ++i) {
        const auto code = llvm_jit::compile(kernels, tier)[0];
        compile = std::min(compile, code->milliseconds);
      }
      const double emit = best_of(5, [&] { chain_of(operations); });
      fmt::print("{:6} compile {:4} operations {:8.2f} ms (emitted in {:.0f} us)\n", name,
                 operations, compile, emit);
    }
    for (ScalarFn fn :
         {ScalarFn::Exp, ScalarFn::Tanh, ScalarFn::Sin, ScalarFn::Log, ScalarFn::Erf,
          ScalarFn::Expm1, ScalarFn::Log1p, ScalarFn::Tan, ScalarFn::Sqrt, ScalarFn::Pow}) {
      const Kernel kernel = elementwise(name_of(fn), std::array{Scalar::F32, Scalar::F32},
                                        Scalar::F32, [&](Builder& b, const std::vector<Pack>& x) {
                                          return is_binary(fn) ? emit_binary(b, fn, x[0], x[1])
                                                               : emit_unary(b, fn, x[0]);
                                        });
      constexpr int64_t n = 4096;
      fmt::print("{:6} {:6} {:6.2f} elements/ns\n", name, name_of(fn),
                 n / (1000 * time_kernel(kernel, tier, n)));
    }
    const Kernel chain =
        elementwise("chain", std::array{Scalar::F32, Scalar::F32}, Scalar::F32,
                    [](Builder& b, const std::vector<Pack>& in) {
                      const Pack x = in[0], y = in[1];
                      const Pack t = emit_unary(
                          b, ScalarFn::Tanh, b.add(b.mul(x, y), emit_unary(b, ScalarFn::Sin, x)));
                      const Pack e = emit_unary(b, ScalarFn::Exp, b.mul(b.neg(y), y));
                      return b.add(b.mul(t, e), x);
                    });
    const Kernel* kernels[] = {&chain};
    const double milliseconds = llvm_jit::compile(kernels, tier)[0]->milliseconds;
    fmt::print("{:6} tanh(x*y+sin(x))*exp(-y*y)+x on 64K: {:.1f} us, compiled in {:.2f} ms\n", name,
               time_kernel(chain, tier, 65536), milliseconds);
  }
}
