// The scalar functions: compiled and interpreted bits agree on every type, and f32 results are as
// near the exact value as the header says. The judge is the host's double library, rounded.
#include <doctest/doctest.h>

#include <cfenv>
#include <cmath>

#include "core/philox.h"
#include "jit/loop/math.h"
#include "tests/llvm/harness.h"

using namespace tenon;
using namespace tenon::test;
using loop::ScalarFn;

namespace {

struct Reference {
  ScalarFn fn;
  double (*exact)(double);
  double bound;  // ulp
};

double digamma_reference(double x) {  // by the derivative of lgamma's asymptotic form, from far out
  double sum = 0;
  if (x < 0 && x != std::floor(x)) return digamma_reference(1 - x) - M_PI / std::tan(M_PI * x);
  for (; x < 30; x += 1) sum -= 1 / x;
  return sum + std::log(x) - 0.5 / x - 1 / (12 * x * x) + 1 / (120 * std::pow(x, 4));
}

const Reference kUnary[] = {
    {ScalarFn::Exp, std::exp, 1.0},
    {ScalarFn::Exp2, std::exp2, 1.0},
    {ScalarFn::Expm1, std::expm1, 1.5},
    {ScalarFn::Log, std::log, 1.2},
    {ScalarFn::Log2, std::log2, 2.0},
    {ScalarFn::Log10, std::log10, 1.6},
    {ScalarFn::Log1p, std::log1p, 1.5},
    {ScalarFn::Sin, std::sin, 1.5},
    {ScalarFn::Cos, std::cos, 1.5},
    {ScalarFn::Tan, std::tan, 0.55},
    {ScalarFn::Asin, std::asin, 0.55},
    {ScalarFn::Acos, std::acos, 0.55},
    {ScalarFn::Atan, std::atan, 0.55},
    {ScalarFn::Sinh, std::sinh, 0.55},
    {ScalarFn::Cosh, std::cosh, 0.55},
    {ScalarFn::Tanh, std::tanh, 1.5},
    {ScalarFn::Asinh, std::asinh, 0.55},
    {ScalarFn::Acosh, std::acosh, 0.55},
    {ScalarFn::Atanh, std::atanh, 0.55},
    {ScalarFn::Erf, std::erf, 1.5},
    {ScalarFn::Erfc, std::erfc, 0.55},
    {ScalarFn::Rsqrt, [](double x) { return 1 / std::sqrt(x); }, 1.5},
    {ScalarFn::Sqrt, std::sqrt, 0.5},
    {ScalarFn::Lgamma, std::lgamma, 0.55},
};

// |got - exact| in units of the last place of f32 at the exact value.
double ulps(float got, double exact) {
  const auto rounded = static_cast<float>(exact);
  if (std::isnan(exact)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded) return 0;
    const double limit = 3.4028235e38;
    return std::isinf(got) != std::isinf(exact) && std::fabs(exact) > limit ? 1 : INFINITY;
  }
  if (got == 0 && exact == 0) return std::signbit(got) == std::signbit(exact) ? 0 : INFINITY;
  int exponent;
  std::frexp(exact, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(static_cast<double>(got) - exact) / unit;
}

// Every 997th float: four million values over all exponents, both signs, NaN and infinities.
Data all_floats(uint32_t stride) {
  std::vector<uint32_t> bits;
  for (uint64_t i = 0; i < (uint64_t{1} << 32); i += stride)
    bits.push_back(static_cast<uint32_t>(i));
  for (float x : {0.0f,       -0.0f,         1.0f,           -1.0f,          INFINITY, -INFINITY,
                  NAN,        3.4028235e38f, -3.4028235e38f, 1.1754944e-38f, 1e-45f,   -1e-45f,
                  71476.0f,   71477.0f,      88.72283f,      88.72284f,      -103.97f, -104.1f,
                  1.5707964f, 3.1415927f,    0.99999994f,    1.0000001f}) {
    bits.push_back(std::bit_cast<uint32_t>(x));
  }
  Data data(Scalar::F32, bits.size());
  std::memcpy(data.bytes.data(), bits.data(), data.bytes.size());
  return data;
}

Data run_compiled(const Kernel& kernel, std::vector<Data> buffers) {
  const Kernel* kernels[] = {&kernel};
  const auto code = llvm_jit::compile(kernels, llvm_jit::Tier::Hot)[0];
  std::vector<void*> pointers;
  for (Data& d : buffers) pointers.push_back(d.bytes.data());
  code->function(pointers.data(), nullptr, nullptr, nullptr, 0,
                 static_cast<int64_t>(buffers.back().size()), nullptr);
  return buffers.back();
}

}  // namespace

TEST_CASE("f32 functions stay within their bound") {
  Data x = all_floats(997);
  const Data y(Scalar::F32, x.size());
  for (const Reference& reference : kUnary) {
    const Kernel kernel = elementwise(name_of(reference.fn), std::array{Scalar::F32}, Scalar::F32,
                                      [&](Builder& b, const std::vector<Pack>& in) {
                                        return emit_unary(b, reference.fn, in[0]);
                                      });
    Data result = run_compiled(kernel, {x, y});
    double worst = 0;
    float worst_x = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const float in = x.as<float>()[i];
      const double error = ulps(result.as<float>()[i], reference.exact(in));
      if (error > worst) {
        worst = error;
        worst_x = in;
      }
    }
    MESSAGE(std::string(name_of(reference.fn)), ": ", worst, " ulp at ", worst_x);
    CHECK_MESSAGE(worst <= reference.bound, std::string(name_of(reference.fn)), " at ", worst_x);
  }
}

TEST_CASE("f32 functions of two arguments stay within their bound") {
  struct Binary {
    ScalarFn fn;
    double (*exact)(double, double);
    double bound;
  };
  const Binary kBinary[] = {
      {ScalarFn::Pow, [](double x, double y) { return std::pow(x, y); }, 0.55},
      {ScalarFn::Atan2, [](double x, double y) { return std::atan2(x, y); }, 0.55},
      {ScalarFn::Fmod, [](double x, double y) { return std::fmod(x, y); }, 0},
  };
  const size_t count = 1000000;
  Data x = special_values(Scalar::F32, count, 3), y = special_values(Scalar::F32, count, 4);
  std::mt19937_64 random(11);
  for (size_t i = 0; i < 10000; ++i) {
    y.set_bits(i, y.bits(i / 100));
    x.set_bits(i, x.bits(i % 100));
  }
  std::uniform_real_distribution<float> moderate(0.0f, 4.0f), power(-20.0f, 20.0f);
  for (size_t i = count / 2; i < count; ++i) {
    x.as<float>()[i] = moderate(random);
    y.as<float>()[i] = i % 3 ? power(random) : std::round(power(random));
  }
  for (const Binary& reference : kBinary) {
    const Kernel kernel = elementwise(name_of(reference.fn), std::array{Scalar::F32, Scalar::F32},
                                      Scalar::F32, [&](Builder& b, const std::vector<Pack>& in) {
                                        return emit_binary(b, reference.fn, in[0], in[1]);
                                      });
    Data result = run_compiled(kernel, {x, y, Data(Scalar::F32, count)});
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < count; ++i) {
      const double exact = reference.exact(x.as<float>()[i], y.as<float>()[i]);
      const double error = ulps(result.as<float>()[i], exact);
      if (error > worst) {
        worst = error;
        where = i;
      }
    }
    MESSAGE(std::string(name_of(reference.fn)), ": ", worst, " ulp at ", x.as<float>()[where], ", ",
            y.as<float>()[where]);
    CHECK_MESSAGE(worst <= reference.bound, std::string(name_of(reference.fn)), " at ",
                  x.as<float>()[where], ", ", y.as<float>()[where], " got ",
                  result.as<float>()[where]);
  }
}

TEST_CASE("compiled and interpreted functions agree in every bit") {
  for (int number = 0; number <= static_cast<int>(ScalarFn::CopySign); ++number) {
    const auto fn = static_cast<ScalarFn>(number);
    for (Scalar type : {Scalar::I1, Scalar::U8, Scalar::I8, Scalar::I16, Scalar::I32, Scalar::I64,
                        Scalar::F16, Scalar::BF16, Scalar::F32, Scalar::F64}) {
      Kernel kernel;
      const size_t count = 300;
      std::vector<Scalar> inputs(is_binary(fn) ? 2 : 1, type);
      Scalar output = type;
      const auto emit = [&](Builder& b, const std::vector<Pack>& in) {
        return is_binary(fn) ? emit_binary(b, fn, in[0], in[1]) : emit_unary(b, fn, in[0]);
      };
      try {  // the result's type, and whether the function takes this type at all
        Kernel probe;
        Builder b(probe);
        const Pack x = b.constant_bits(type, 0);
        output = b.type_of(emit(b, {x, x})).scalar;
      } catch (const Error&) {
        continue;
      }
      kernel = elementwise(name_of(fn), inputs, output, emit);
      REQUIRE_MESSAGE(loop::verify(kernel).empty(), std::string(name_of(fn)), " ",
                      loop::verify(kernel));
      std::vector<Data> buffers{special_values(type, count, 1)};
      if (is_binary(fn)) {
        buffers.push_back(special_values(type, count, 2));
        for (size_t i = 0; i < 256; ++i) {
          buffers[1].set_bits(i, buffers[1].bits(i / 16));
          buffers[0].set_bits(i, buffers[0].bits(i % 16));
        }
      }
      buffers.emplace_back(output, count);
      const BothWays both = run_both(kernel, buffers, {}, {}, 0, count);
      const int64_t at = first_difference(both.interpreted.back(), both.compiled.back());
      if (at >= 0) {
        FAIL_CHECK(name_of(fn) << " on " << loop::name_of(type) << " at " << std::hex
                               << buffers[0].bits(at) << ": interpreted "
                               << both.interpreted.back().bits(at) << ", compiled "
                               << both.compiled.back().bits(at));
      }
    }
  }
}

TEST_CASE("digamma and erfinv invert and agree") {
  const auto run = [](ScalarFn fn, std::vector<double> values) {
    const Kernel kernel = elementwise(
        name_of(fn), std::array{Scalar::F64}, Scalar::F64,
        [&](Builder& b, const std::vector<Pack>& in) { return emit_unary(b, fn, in[0]); });
    Data x(Scalar::F64, values.size());
    std::memcpy(x.bytes.data(), values.data(), x.bytes.size());
    Data y = run_compiled(kernel, {x, Data(Scalar::F64, values.size())});
    return std::vector<double>(y.as<double>(), y.as<double>() + values.size());
  };
  std::vector<double> values;
  for (int i = -999; i < 1000; ++i) values.push_back(i / 1000.0);
  for (double tail : {1e-5, 1e-8, 1e-12}) values.push_back(1 - tail);
  const auto inverse = run(ScalarFn::Erfinv, values);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(std::fabs(std::erf(inverse[i]) - values[i]) <= 3e-16);
  }
  values = {0.1, 0.5, 1, 1.4616321449683623, 2, 3.7, 10, 1e3, 1e10, -0.5, -1.5, -10.3};
  const auto psi = run(ScalarFn::Digamma, values);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(psi[i] == doctest::Approx(digamma_reference(values[i])).epsilon(1e-11));
  }
  CHECK(psi[2] == doctest::Approx(-0.57721566490153286).epsilon(1e-15));  // -gamma
}

TEST_CASE("integer powers, divisions and next_after follow PyTorch") {
  const auto run = [](ScalarFn fn, int64_t a, int64_t c) {
    const Kernel kernel = elementwise(
        name_of(fn), std::array{Scalar::I64, Scalar::I64}, Scalar::I64,
        [&](Builder& b, const std::vector<Pack>& in) { return emit_binary(b, fn, in[0], in[1]); });
    Data x(Scalar::I64, 1), y(Scalar::I64, 1);
    x.set_bits(0, static_cast<uint64_t>(a));
    y.set_bits(0, static_cast<uint64_t>(c));
    return static_cast<int64_t>(run_compiled(kernel, {x, y, Data(Scalar::I64, 1)}).bits(0));
  };
  CHECK(run(ScalarFn::Pow, 3, 13) == 1594323);
  CHECK(run(ScalarFn::Pow, -2, 3) == -8);
  CHECK(run(ScalarFn::Pow, -1, -3) == -1);
  CHECK(run(ScalarFn::Pow, 5, -1) == 0);
  CHECK(run(ScalarFn::FloorDiv, -7, 2) == -4);
  CHECK(run(ScalarFn::FloorDiv, INT64_MIN, -1) == INT64_MIN);
  CHECK(run(ScalarFn::Remainder, -7, 2) == 1);
  CHECK(run(ScalarFn::Remainder, 7, -2) == -1);
  CHECK(run(ScalarFn::Fmod, -7, 2) == -1);
}

TEST_CASE("philox gives the reference's bits") {
  Kernel kernel;
  Builder b(kernel);
  const uint32_t out = b.add_buffer(Scalar::U32, Access::Write);
  const Pack seed = b.int_param(b.add_int()), call = b.int_param(b.add_int());
  b.for_each(b.range_begin(), b.range_end(), b.i64(16),
             [&](Pack i) { b.store(out, i, emit_philox(b, b.lanes_from(i), seed, call)); });
  std::vector<Data> buffers{Data(Scalar::U32, 64)};
  const BothWays both = run_both(kernel, buffers, {123456789012345, 42}, {}, 0, 64);
  for (size_t i = 0; i < 64; ++i) {
    CHECK(both.compiled[0].bits(i) == philox_bits(123456789012345, 42, i));
    CHECK(both.interpreted[0].bits(i) == philox_bits(123456789012345, 42, i));
  }
}
