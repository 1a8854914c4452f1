#include "kernels/direct_convolution.h"

#if !TENON_HAVE_ONEDNN
namespace tenon::kernels {
bool convolve_directly(ConvolutionRole, const ConvolutionShape&, const float*, const float*, float*,
                       bool) {
  return false;
}
}  // namespace tenon::kernels
#else

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/gemm.h"
#include "kernels/patches.h"
#include "kernels/serial_openmp.h"
#include "kernels/signal_stack.h"

namespace tenon::kernels {
namespace {

using dnnl::memory;

// The table. Small planes multiply faster as one matrix of all images, large weights need no copy
// in oneDNN's layout there. The gradient of an input of few channels has a kernel in oneDNN that is
// 20 to 40 times slower (0.6 against 23 GFLOP/s for one channel, 2.5 against 61 for three).
// Figures: `benchmarks/convolution`.
constexpr std::int64_t kSmallestPlane = 49;
constexpr std::int64_t kLargestWeight = 1 << 20;
constexpr std::int64_t kFewestInputChannels = 8;
constexpr std::int64_t kParts = 8;  // of a batch, which run in parallel
constexpr std::size_t kCached = 2048;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// A primitive for one part of a batch, and the layouts that it wants.
struct Direct {
  dnnl::primitive primitive;
  memory::desc plain[3], chosen[3];  // by role
  memory::desc scratchpad;
  dnnl::primitive
      into[3];  // from the operands' plain layouts, and to the result's, where they differ
  bool differs[3];
};

memory::dims spatial_of(const ConvolutionShape::Spatial& s, int first) {
  return {s.begin() + first, s.end()};
}

// None where oneDNN has only its reference loops.
std::unique_ptr<Direct> make(ConvolutionRole role, const ConvolutionShape& s) {
  const bool flat = s.input[0] == 1 && s.kernel[0] == 1 && s.output[0] == 1 && s.low[0] == 0;
  const int first = flat ? 1 : 0;
  memory::dims x{s.batch, s.groups * s.in_channels}, y{s.batch, s.groups * s.out_channels}, w;
  if (s.groups > 1) w.push_back(s.groups);
  w.push_back(s.out_channels);
  w.push_back(s.in_channels);
  memory::dims stride = spatial_of(s.stride, first), low = spatial_of(s.low, first), high, dilation;
  for (int d = first; d < 3; ++d) {
    x.push_back(s.input[d]), w.push_back(s.kernel[d]), y.push_back(s.output[d]);
    dilation.push_back(s.dilation[d] - 1);
    const std::int64_t reach = s.dilation[d] * (s.kernel[d] - 1) + 1;
    const std::int64_t beyond = (s.output[d] - 1) * s.stride[d] + reach - s.input[d] - s.low[d];
    // Positions of x that no window reaches are padding of less than a stride.
    if (beyond <= -s.stride[d]) return nullptr;
    high.push_back(std::max<std::int64_t>(beyond, 0));
  }
  using tag = memory::format_tag;
  const auto kind = memory::data_type::f32;
  auto direct = std::make_unique<Direct>();
  const memory::dims* dims[] = {&x, &w, &y};
  memory::desc any[3];
  for (int r = 0; r < 3; ++r) {
    memory::dims strides(dims[r]->size());
    std::int64_t next = 1;
    for (std::size_t d = strides.size(); d-- > 0; next *= (*dims[r])[d]) strides[d] = next;
    direct->plain[r] = memory::desc(*dims[r], kind, strides);
    any[r] = memory::desc(*dims[r], kind, tag::any);
  }
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, any[0], any[1], any[2], stride, dilation, low,
       high},
      attributes, engine());
  const auto take = [&](const auto& description, const memory::desc& src,
                        const memory::desc& weights, const memory::desc& dst) {
    direct->chosen[0] = src, direct->chosen[1] = weights, direct->chosen[2] = dst;
    direct->scratchpad = description.scratchpad_desc();
    return std::string_view(description.impl_info_str()).substr(0, 3) != "ref";
  };
  bool is_good = false;
  if (role == ConvolutionRole::Output) {
    is_good = take(forward, forward.src_desc(), forward.weights_desc(), forward.dst_desc());
    direct->primitive = dnnl::convolution_forward(forward);
  } else if (role == ConvolutionRole::Input) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        {algorithm, any[0], any[1], any[2], stride, dilation, low, high}, attributes, engine(),
        forward);
    is_good =
        take(backward, backward.diff_src_desc(), backward.weights_desc(), backward.diff_dst_desc());
    direct->primitive = dnnl::convolution_backward_data(backward);
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {algorithm, any[0], any[1], any[2], stride, dilation, low, high}, attributes, engine(),
        forward);
    is_good =
        take(backward, backward.src_desc(), backward.diff_weights_desc(), backward.diff_dst_desc());
    direct->primitive = dnnl::convolution_backward_weights(backward);
  }
  if (!is_good) return nullptr;
  for (int r = 0; r < 3; ++r) {
    direct->differs[r] = direct->plain[r] != direct->chosen[r];
    if (!direct->differs[r]) continue;
    const bool is_result = r == static_cast<int>(role);
    const memory::desc& from = is_result ? direct->chosen[r] : direct->plain[r];
    const memory::desc& to = is_result ? direct->plain[r] : direct->chosen[r];
    direct->into[r] = dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
  }
  count_library_primitive();
  return direct;
}

std::size_t hash_of(ConvolutionRole role, const ConvolutionShape& s) {
  std::size_t hash = static_cast<std::size_t>(role);
  const auto add = [&](std::int64_t n) {
    hash = (hash ^ static_cast<std::size_t>(n)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  };
  for (std::int64_t n : {s.batch, s.groups, s.in_channels, s.out_channels}) add(n);
  for (const auto* list : {&s.input, &s.kernel, &s.output, &s.stride, &s.low, &s.dilation}) {
    for (std::int64_t n : *list) add(n);
  }
  return hash;
}

struct Key {
  ConvolutionRole role;
  ConvolutionShape shape;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  std::size_t operator()(const Key& key) const { return hash_of(key.role, key.shape); }
};

std::shared_ptr<const Direct> find(ConvolutionRole role, ConvolutionShape shape,
                                   std::int64_t batch) {
  static std::mutex mutex;
  static std::unordered_map<Key, std::shared_ptr<const Direct>, KeyHash> table;
  shape.batch = batch;
  const Key key{role, shape};
  std::lock_guard lock(mutex);
  if (const auto found = table.find(key); found != table.end()) return found->second;
  if (table.size() >= kCached) table.clear();
  std::shared_ptr<const Direct> made;
  try {
    made = make(role, shape);
  } catch (const dnnl::error& error) {
    check(error.status == dnnl_unimplemented || error.status == dnnl_invalid_arguments,
          ErrorKind::Internal, "oneDNN refused a convolution: {}", error.message);
  }
  return table[key] = made;
}

float* scratch(std::vector<Ref<Storage> >& kept, std::size_t bytes) {
  kept.push_back(allocate(std::max<std::size_t>(bytes, 1)));
  return kept.back()->as<float>();
}

memory at(const memory::desc& desc, const float* data) {
  return memory(desc, engine(), const_cast<float*>(data));
}

// Runs one part. `packed`: the weight in the chosen layout, where it is an operand.
void run_part(ConvolutionRole role, const Direct& direct, const float* (&data)[3], float* result,
              const float* packed) {
  const SerialOpenMp serial;
  ensure_signal_stack();
  dnnl::stream stream(engine());
  std::vector<Ref<Storage> > kept;
  memory operands[3];
  const int own = static_cast<int>(role);
  for (int r = 0; r < 3; ++r) {
    const float* from = r == own ? result : data[r];
    if (r == 1 && packed) {
      operands[r] = at(direct.chosen[r], packed);
      continue;
    }
    operands[r] =
        at(direct.chosen[r], direct.differs[r] ? scratch(kept, direct.chosen[r].get_size()) : from);
    if (r == own || !direct.differs[r]) continue;
    memory plain = at(direct.plain[r], from);
    direct.into[r].execute(stream, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, operands[r]}});
  }
  memory pad = at(direct.scratchpad, scratch(kept, direct.scratchpad.get_size()));
  const int names[3][3] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                           {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
                           {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}};
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SCRATCHPAD, pad}};
  for (int r = 0; r < 3; ++r) arguments[names[own][r]] = operands[r];
  direct.primitive.execute(stream, arguments);
  if (direct.differs[own]) {
    memory plain = at(direct.plain[own], result);
    direct.into[own].execute(stream, {{DNNL_ARG_FROM, operands[own]}, {DNNL_ARG_TO, plain}});
  }
  stream.wait();
}

}  // namespace

bool convolve_directly(ConvolutionRole role, const ConvolutionShape& s, const float* a,
                       const float* b, float* result, bool by_table) {
  const std::int64_t weight = s.groups * s.out_channels * s.in_channels * product(s.kernel);
  if (s.batch == 0 || s.in_channels == 0 || product(s.input) == 0) return false;
  if (by_table && (weight > kLargestWeight || product(s.output) < kSmallestPlane)) return false;
  if (by_table && role == ConvolutionRole::Input && s.groups == 1 &&
      s.in_channels < kFewestInputChannels) {
    return false;
  }
  const std::int64_t images = (s.batch + kParts - 1) / kParts;
  const std::int64_t parts = (s.batch + images - 1) / images;
  const std::int64_t last = s.batch - (parts - 1) * images;
  std::shared_ptr<const Direct> whole, rest;
  {
    const SerialOpenMp serial;  // blocking depends on the number of threads it is made under
    whole = find(role, s, images);
    rest = last == images ? whole : find(role, s, last);
  }
  if (!whole || !rest) return false;

  const int own = static_cast<int>(role);
  const float* data[3] = {own == 0 ? nullptr : a,
                          own == 0   ? a
                          : own == 1 ? nullptr
                                     : b,
                          own == 2 ? nullptr : b};
  const std::int64_t size[3] = {s.groups * s.in_channels * product(s.input), weight,
                                s.groups * s.out_channels * product(s.output)};
  std::vector<Ref<Storage> > kept;
  // The weight is brought into the layout once (twice, if the last part wants another).
  const float* packed[2] = {};
  if (role != ConvolutionRole::Weight) {
    const SerialOpenMp serial;
    ensure_signal_stack();
    dnnl::stream stream(engine());
    for (int k = 0; k < 2; ++k) {
      const Direct& direct = k == 0 ? *whole : *rest;
      if (!direct.differs[1]) {
        packed[k] = data[1];
      } else if (k == 1 && direct.chosen[1] == whole->chosen[1]) {
        packed[k] = packed[0];
      } else {
        float* to = scratch(kept, direct.chosen[1].get_size());
        memory plain = at(direct.plain[1], data[1]), chosen = at(direct.chosen[1], to);
        direct.into[1].execute(stream, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, chosen}});
        stream.wait();
        packed[k] = to;
      }
    }
  }
  // Partial gradients of the weight, which are added in order.
  float* partial =
      role == ConvolutionRole::Weight && parts > 1
          ? scratch(kept, static_cast<std::size_t>(weight * (parts - 1)) * sizeof(float))
          : nullptr;
  try {
    parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        const bool is_last = part + 1 == parts;
        const float* moved[3];
        for (int r = 0; r < 3; ++r) {
          moved[r] = r == 1 || !data[r] ? data[r] : data[r] + part * images * size[r];
        }
        float* to = role != ConvolutionRole::Weight ? result + part * images * size[own]
                    : part == 0                     ? result
                                                    : partial + (part - 1) * weight;
        run_part(role, is_last ? *rest : *whole, moved, to, packed[is_last]);
      }
    });
  } catch (const dnnl::error& error) {
    fail(error.status == dnnl_out_of_memory ? ErrorKind::OutOfMemory : ErrorKind::Internal,
         "oneDNN failed in a convolution: {}", error.message);
  }
  if (partial) {
    parallel_for(weight, 32768, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = 0; part < parts - 1; ++part) {
        const float* from = partial + part * weight;
        for (std::int64_t i = begin; i < end; ++i) result[i] += from[i];
      }
    });
  }
  return true;
}

}  // namespace tenon::kernels
#endif
