#include "kernels/direct_convolution.h"

#if !TENON_HAVE_ONEDNN
namespace tenon::kernels {
bool convolve_directly(ConvolutionRole, DType, const ConvolutionShape&, ConvolutionLayout,
                       const void*, const void*, void*, bool) {
  return false;
}
std::optional<std::int64_t> direct_convolution_scratch(ConvolutionRole, DType,
                                                       const ConvolutionShape&, ConvolutionLayout) {
  return std::nullopt;
}
}  // namespace tenon::kernels
#else

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "core/size_classes.h"
#include "core/threads.h"
#include "kernels/bfloat16_gemm.h"
#include "kernels/gemm.h"
#include "kernels/onednn.h"
#include "kernels/patches.h"
#include "kernels/serial_openmp.h"
#include "kernels/signal_stack.h"
#include "kernels/weight_blocks.h"

namespace tenon::kernels {
namespace {

using dnnl::memory;

// The table. The gradient of an input of few channels has a kernel in oneDNN that is 20 to 40 times
// slower (0.6 against 23 GFLOP/s for one channel, 2.5 against 61 for three); large weights that
// meet few positions cost more to bring into a layout than the layout saves.
// Figures: `benchmarks/convolution`.
constexpr std::int64_t kFewestInputChannels = 8;
constexpr std::int64_t kLargeWeight = 1 << 20, kFewPositions = 64;
constexpr std::int64_t kParts = 8;           // that run in parallel
constexpr std::int64_t kSliceChannels = 64;  // multiples of it are cut, of a weight's gradient:
constexpr std::int64_t kGradientChannels = 32;
constexpr std::size_t kCached = 2048;

// What one primitive computes: some images, and of one of the tensors of many channels a slice.
struct Part {
  ConvolutionRole role;
  DType dtype;                  // float32 or bfloat16
  ConvolutionShape shape;       // of the part
  ConvolutionLayout layout;     // of the whole tensors
  std::int64_t x_channels = 0;  // of the whole tensors
  std::int64_t w_channels = 0;  // as in its second dimension
  std::int64_t y_channels = 0;
  friend bool operator==(const Part&, const Part&) = default;
};

struct Direct {
  dnnl::primitive primitive;
  memory::desc outside[3], inside[3];  // by role: the caller's memory, and what the primitive takes
  dnnl::primitive into[3];             // between the two, where they differ
  bool differs[3];
  memory::desc scratchpad;
  bool unblocks = false;  // the weight's gradient comes in blocks that are ours to bring in rows
  // The weight is brought into the layout in pieces, in parallel.
  struct Piece {
    memory::desc outside, inside;
    dnnl::primitive into;
  };
  std::vector<Piece> pieces;
};

memory::dims spatial_of(const ConvolutionShape::Spatial& s, int first) {
  return {s.begin() + first, s.end()};
}

// Strides of [batch, channels, spatial...] in a tensor of `whole` channels.
memory::dims strides_of(const memory::dims& dims, std::int64_t whole, bool channels_last) {
  memory::dims strides(dims.size());
  std::int64_t next = channels_last ? whole : 1;
  for (std::size_t d = dims.size(); d-- > 2; next *= dims[d]) strides[d] = next;
  strides[1] = channels_last ? 1 : next;
  strides[0] = channels_last ? next : next * whole;
  return strides;
}

// Whether the weight lies in blocks of 16 input times 16 output channels, as unblock_weights()
// reads them.
bool is_in_blocks(const Part& part, const Direct& direct) {
#if TENON_HAVE_X86_KERNELS
  using tag = memory::format_tag;
  const tag tags[] = {tag::OIw16i16o, tag::OIhw16i16o, tag::OIdhw16i16o};
  const memory::dims dims = direct.inside[1].dims();
  return part.shape.groups == 1 && dims[0] % 16 == 0 && dims[1] % 16 == 0 &&
         __builtin_cpu_supports("avx512f") &&
         direct.inside[1] == memory::desc(dims, memory::data_type::f32, tags[dims.size() - 3]);
#else
  return (void)part, (void)direct, false;
#endif
}

// Tries to find a kernel that takes x and y with their channels last or, if not `last`, in any
// layout. None where oneDNN has only its reference loops.
std::unique_ptr<Direct> make(const Part& part, bool last) {
  const ConvolutionShape& s = part.shape;
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
  const auto kind =
      part.dtype == DType::BFloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto weight_kind =
      part.role == ConvolutionRole::Weight ? memory::data_type::f32 : kind;  // see Cut::run
  auto direct = std::make_unique<Direct>();
  memory::dims w_strides(w.size());
  std::int64_t next = 1;
  for (std::size_t d = w.size(); d-- > 0;) {
    w_strides[d] = next;
    next *= d == w.size() - spatial_of(s.kernel, first).size() - 1 ? part.w_channels : w[d];
  }
  direct->outside[0] = memory::desc(x, kind, strides_of(x, part.x_channels, part.layout.x_last));
  direct->outside[1] = memory::desc(w, weight_kind, w_strides);
  direct->outside[2] = memory::desc(y, kind, strides_of(y, part.y_channels, part.layout.y_last));
  const auto any = memory::format_tag::any;
  const memory::desc asked[] = {
      last ? memory::desc(x, kind, strides_of(x, x[1], true)) : memory::desc(x, kind, any),
      memory::desc(w, weight_kind, any),
      last ? memory::desc(y, kind, strides_of(y, y[1], true)) : memory::desc(y, kind, any)};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, asked[0], memory::desc(w, kind, any), asked[2],
       stride, dilation, low, high},
      attributes, onednn_engine());
  const auto take = [&](const auto& description, const memory::desc& src,
                        const memory::desc& weights, const memory::desc& dst) {
    direct->inside[0] = src, direct->inside[1] = weights, direct->inside[2] = dst;
    direct->scratchpad = description.scratchpad_desc();
    return std::string_view(description.impl_info_str()).substr(0, 3) != "ref";
  };
  bool is_good = false;
  if (part.role == ConvolutionRole::Output) {
    is_good = take(forward, forward.src_desc(), forward.weights_desc(), forward.dst_desc());
    direct->primitive = dnnl::convolution_forward(forward);
  } else if (part.role == ConvolutionRole::Input) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        {algorithm, asked[0], asked[1], asked[2], stride, dilation, low, high}, attributes,
        onednn_engine(), forward);
    is_good =
        take(backward, backward.diff_src_desc(), backward.weights_desc(), backward.diff_dst_desc());
    direct->primitive = dnnl::convolution_backward_data(backward);
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {algorithm, asked[0], asked[1], asked[2], stride, dilation, low, high}, attributes,
        onednn_engine(), forward);
    is_good =
        take(backward, backward.src_desc(), backward.diff_weights_desc(), backward.diff_dst_desc());
    direct->primitive = dnnl::convolution_backward_weights(backward);
  }
  if (!is_good) return nullptr;
  const auto reorder = [](const memory::desc& from, const memory::desc& to) {
    return dnnl::reorder(dnnl::reorder::primitive_desc(onednn_engine(), from, onednn_engine(), to));
  };
  for (int r = 0; r < 3; ++r) {
    direct->differs[r] = direct->outside[r] != direct->inside[r];
    if (!direct->differs[r]) continue;
    const bool is_result = r == static_cast<int>(part.role);
    direct->into[r] = is_result ? reorder(direct->inside[r], direct->outside[r])
                                : reorder(direct->outside[r], direct->inside[r]);
  }
  direct->unblocks =
      direct->differs[1] && part.role == ConvolutionRole::Weight && is_in_blocks(part, *direct);
  if (direct->differs[1] && part.role != ConvolutionRole::Weight) {
    const bool cut = s.groups == 1 && s.out_channels % kSliceChannels == 0;
    memory::dims extents = w, offset(w.size(), 0);
    if (cut) extents[0] = kSliceChannels;
    for (; offset[0] < w[0]; offset[0] += extents[0]) {
      Direct::Piece piece{direct->outside[1].submemory_desc(extents, offset),
                          direct->inside[1].submemory_desc(extents, offset),
                          {}};
      piece.into = reorder(piece.outside, piece.inside);
      direct->pieces.push_back(std::move(piece));
    }
  }
  count_library_primitive();
  return direct;
}

struct PartHash {
  std::size_t operator()(const Part& part) const {
    const ConvolutionShape& s = part.shape;
    std::size_t hash =
        static_cast<std::size_t>(part.role) * 64 + static_cast<std::size_t>(part.dtype);
    const auto add = [&](std::int64_t n) {
      hash = (hash ^ static_cast<std::size_t>(n)) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    };
    for (std::int64_t n : {s.batch, s.groups, s.in_channels, s.out_channels, part.x_channels,
                           part.w_channels, part.y_channels}) {
      add(n);
    }
    for (const auto* list : {&s.input, &s.kernel, &s.output, &s.stride, &s.low, &s.dilation}) {
      for (std::int64_t n : *list) add(n);
    }
    add(part.layout.x_last * 2 + part.layout.y_last);
    return hash;
  }
};

std::shared_ptr<const Direct> find(const Part& part) {
  static std::mutex mutex;
  static std::unordered_map<Part, std::shared_ptr<const Direct>, PartHash> table;
  std::lock_guard lock(mutex);
  if (const auto found = table.find(part); found != table.end()) return found->second;
  if (table.size() >= kCached) table.clear();
  std::shared_ptr<const Direct> made;
  for (bool last : {true, false}) {
    try {
      made = make(part, last);
    } catch (const dnnl::error& error) {
      check(error.status == dnnl_unimplemented || error.status == dnnl_invalid_arguments,
            ErrorKind::Internal, "oneDNN refused a convolution: {}", error.message);
    }
    if (made) break;
  }
  return table[part] = made;
}

std::byte* scratch(std::vector<Ref<Storage> >& kept, std::size_t bytes) {
  kept.push_back(allocate(std::max<std::size_t>(bytes, 1)));
  return kept.back()->as<std::byte>();
}

memory at(const memory::desc& desc, const std::byte* data) {
  return memory(desc, onednn_engine(), const_cast<std::byte*>(data));
}

void execute(const dnnl::primitive& reorder, dnnl::stream& stream, memory from, memory to) {
  reorder.execute(stream, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

// Runs one part. `packed`: the weight in the inner layout, where it is an operand.
void run_part(ConvolutionRole role, const Direct& direct, const std::byte* (&data)[3],
              std::byte* result, const std::byte* packed) {
  const SerialOpenMp serial;
  ensure_signal_stack();
  dnnl::stream stream(onednn_engine());
  std::vector<Ref<Storage> > kept;
  memory operands[3];
  const int own = static_cast<int>(role);
  for (int r = 0; r < 3; ++r) {
    const std::byte* from = r == own ? result : data[r];
    if (r == 1 && packed) {
      operands[r] = at(direct.inside[r], packed);
      continue;
    }
    operands[r] =
        at(direct.inside[r], direct.differs[r] ? scratch(kept, direct.inside[r].get_size()) : from);
    if (r == own || !direct.differs[r]) continue;
    execute(direct.into[r], stream, at(direct.outside[r], from), operands[r]);
  }
  memory pad = at(direct.scratchpad, scratch(kept, direct.scratchpad.get_size()));
  const int names[3][3] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                           {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
                           {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}};
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SCRATCHPAD, pad}};
  for (int r = 0; r < 3; ++r) arguments[names[own][r]] = operands[r];
  direct.primitive.execute(stream, arguments);
  if (direct.differs[own] && !direct.unblocks) {
    execute(direct.into[own], stream, operands[own], at(direct.outside[own], result));
  }
  stream.wait();
#if TENON_HAVE_X86_KERNELS
  if (direct.unblocks) {
    const memory::dims dims = direct.inside[1].dims();
    const std::int64_t rows =
        std::accumulate(dims.begin() + 1, dims.end(), std::int64_t{1}, std::multiplies<>());
    const auto* blocks = static_cast<const float*>(operands[1].get_data_handle());
    for (std::int64_t o = 0; o < dims[0]; o += 16) {
      unblock_weights(blocks + o * rows, reinterpret_cast<float*>(result) + o * rows, dims[1],
                      rows / dims[1]);
    }
  }
#endif
}

// One convolution: its parts are batches of images times slices of channels.
class Cut {
 public:
  Cut(ConvolutionRole role, DType dtype, const ConvolutionShape& s, ConvolutionLayout layout)
      : role_(role),
        own_(static_cast<int>(role)),
        item_(static_cast<std::int64_t>(size_of(dtype))),
        shape_(s) {
    channels_ = role == ConvolutionRole::Input ? s.in_channels : s.out_channels;
    // Gradients of the weight are cut by channels rather than images: nothing is added up then.
    // The others are so only where images are few.
    const std::int64_t wanted =
        role == ConvolutionRole::Weight ? kParts : kParts / std::min(kParts, s.batch);
    const std::int64_t least = role == ConvolutionRole::Weight ? kGradientChannels : kSliceChannels;
    while (s.groups == 1 && slices_ < wanted && channels_ % (2 * slices_ * least) == 0) {
      slices_ *= 2;
    }
    images_ = (s.batch * slices_ + kParts - 1) / kParts;
    batches_ = (s.batch + images_ - 1) / images_;
    Part part{
        role, dtype, s, layout, s.groups * s.in_channels, s.in_channels, s.groups * s.out_channels};
    (role == ConvolutionRole::Input ? part.shape.in_channels : part.shape.out_channels) /= slices_;
    const SerialOpenMp serial;  // blocking depends on the number of threads it is made under
    part.shape.batch = images_;
    whole_ = find(part);
    part.shape.batch = s.batch - (batches_ - 1) * images_;
    rest_ = part.shape.batch == images_ ? whole_ : find(part);
    // Where images and slices begin in each tensor.
    const std::int64_t of_x = product(s.input), of_y = product(s.output);
    image_[0] = s.groups * s.in_channels * of_x, image_[2] = s.groups * s.out_channels * of_y;
    const std::int64_t slice = channels_ / slices_;
    if (role == ConvolutionRole::Input) {
      slice_[0] = slice * (layout.x_last ? 1 : of_x), slice_[1] = slice * product(s.kernel);
    } else {
      slice_[1] = slice * s.in_channels * product(s.kernel);
      slice_[2] = slice * (layout.y_last ? 1 : of_y);
    }
  }

  bool is_possible() const { return whole_ && rest_; }

  // Bytes that run() allocates, on the pool's threads.
  std::int64_t scratch_bytes() const {
    const bool is_weight = role_ == ConvolutionRole::Weight;
    std::size_t bytes = 0, of_part = 0;
    if (!is_weight && whole_->differs[1]) bytes += slices_ * class_bytes(inside_bytes(*whole_, 1));
    if (!is_weight && rest_->inside[1] != whole_->inside[1] && rest_->differs[1]) {
      bytes += slices_ * class_bytes(inside_bytes(*rest_, 1));
    }
    if (is_weight && batches_ > 1) {
      bytes +=
          class_bytes(static_cast<std::size_t>(weight_elements() * (batches_ - 1)) * sizeof(float));
    }
    for (const Direct* direct : {whole_.get(), rest_.get()}) {
      std::size_t own = class_bytes(direct->scratchpad.get_size());
      for (int r = 0; r < 3; ++r) {
        const bool is_packed = r == 1 && !is_weight;
        if (direct->differs[r] && !is_packed) own += class_bytes(inside_bytes(*direct, r));
      }
      of_part = std::max(of_part, own);
    }
    const std::int64_t at_once = std::min<std::int64_t>(batches_ * slices_, num_threads());
    return static_cast<std::int64_t>(bytes + static_cast<std::size_t>(at_once) * of_part);
  }

  // A weight's gradient is float32 whatever the others are: parts of it may be added up.
  void run(const std::byte* (&data)[3], std::byte* result) {
    const bool is_weight = role_ == ConvolutionRole::Weight;
    if (!is_weight) pack(data[1]);
    const std::int64_t weight = weight_elements();
    const std::int64_t result_item = is_weight ? std::int64_t{sizeof(float)} : item_;
    // Partial gradients of the weight, which are added in order.
    std::byte* partial =
        is_weight && batches_ > 1
            ? scratch(kept_, static_cast<std::size_t>(weight * (batches_ - 1)) * sizeof(float))
            : nullptr;
    parallel_for(batches_ * slices_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        const std::int64_t slice = p % slices_, batch = p / slices_;
        const bool is_last = batch + 1 == batches_;
        const auto offset = [&](int r) { return batch * images_ * image_[r] + slice * slice_[r]; };
        const std::byte* moved[3];
        for (int r = 0; r < 3; ++r) moved[r] = data[r] ? data[r] + offset(r) * item_ : nullptr;
        std::byte* to =
            partial && batch > 0 ? partial + (batch - 1) * weight * result_item : result;
        to += (own_ == 1 ? slice * slice_[1] : offset(own_)) * result_item;
        run_part(role_, is_last ? *rest_ : *whole_, moved, to,
                 packed_[is_last].empty() ? nullptr : packed_[is_last][slice]);
      }
    });
    if (!partial) return;
    auto* sum = reinterpret_cast<float*>(result);
    const auto* parts = reinterpret_cast<const float*>(partial);
    parallel_for(weight, 32768, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t batch = 0; batch < batches_ - 1; ++batch) {
        const float* from = parts + batch * weight;
        for (std::int64_t i = begin; i < end; ++i) sum[i] += from[i];
      }
    });
  }

 private:
  static std::size_t inside_bytes(const Direct& direct, int r) {
    return direct.inside[r].get_size();
  }
  std::int64_t weight_elements() const {
    return shape_.out_channels * shape_.groups * shape_.in_channels * product(shape_.kernel);
  }

  // The weight's slices in the inner layout, once more if the last batch wants another.
  void pack(const std::byte* weight) {
    for (int k = 0; k < 2; ++k) {
      const Direct& direct = k == 0 ? *whole_ : *rest_;
      if (k == 1 && direct.inside[1] == whole_->inside[1]) {
        packed_[k] = packed_[0];
        continue;
      }
      for (std::int64_t slice = 0; slice < slices_; ++slice) {
        packed_[k].push_back(direct.differs[1] ? scratch(kept_, direct.inside[1].get_size())
                                               : weight + slice * slice_[1] * item_);
      }
      const auto pieces = static_cast<std::int64_t>(direct.pieces.size());
      parallel_for(slices_ * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
        const SerialOpenMp serial;
        ensure_signal_stack();
        dnnl::stream stream(onednn_engine());
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t slice = i / pieces;
          const Direct::Piece& piece = direct.pieces[static_cast<std::size_t>(i % pieces)];
          execute(piece.into, stream, at(piece.outside, weight + slice * slice_[1] * item_),
                  at(piece.inside, packed_[k][static_cast<std::size_t>(slice)]));
        }
        stream.wait();
      });
    }
  }

  const ConvolutionRole role_;
  const int own_;
  const std::int64_t item_;  // bytes of an element
  const ConvolutionShape& shape_;
  std::int64_t channels_, slices_ = 1, images_, batches_;
  std::int64_t image_[3] = {}, slice_[3] = {};  // elements from one to the next, by role
  std::shared_ptr<const Direct> whole_, rest_;
  std::vector<const std::byte*> packed_[2];  // by slice, for all batches but the last, and for that
  std::vector<Ref<Storage> > kept_;
};

bool is_in_table(ConvolutionRole role, const ConvolutionShape& s) {
  if (role == ConvolutionRole::Input && s.groups == 1) {
    if (s.in_channels < kFewestInputChannels) return false;
  }
  const std::int64_t weight = s.groups * s.out_channels * s.in_channels * product(s.kernel);
  return role == ConvolutionRole::Weight || weight < kLargeWeight ||
         s.batch * product(s.output) >= kFewPositions;
}

}  // namespace

static bool may_run(ConvolutionRole role, DType dtype, const ConvolutionShape& s, bool by_table) {
  if (s.batch == 0 || s.in_channels == 0 || product(s.input) == 0) return false;
  if (by_table && !is_in_table(role, s)) return false;
  return dtype != DType::BFloat16 || has_bfloat16_products();
}

std::optional<std::int64_t> direct_convolution_scratch(ConvolutionRole role, DType dtype,
                                                       const ConvolutionShape& s,
                                                       ConvolutionLayout layout) {
  if (!may_run(role, dtype, s, true)) return std::nullopt;
  try {
    const Cut cut(role, dtype, s, layout);
    if (!cut.is_possible()) return std::nullopt;
    return cut.scratch_bytes();
  } catch (const dnnl::error& error) {
    fail_in_onednn(error, "a convolution");
  }
}

bool convolve_directly(ConvolutionRole role, DType dtype, const ConvolutionShape& s,
                       ConvolutionLayout layout, const void* a, const void* b, void* result,
                       bool by_table) {
  if (!may_run(role, dtype, s, by_table)) return false;
  try {
    Cut cut(role, dtype, s, layout);
    if (!cut.is_possible()) return false;
    const int own = static_cast<int>(role);
    const std::byte* data[3] = {};
    data[own == 0 ? 1 : 0] = static_cast<const std::byte*>(a);
    data[own == 2 ? 1 : 2] = static_cast<const std::byte*>(b);
    cut.run(data, static_cast<std::byte*>(result));
  } catch (const dnnl::error& error) {
    fail_in_onednn(error, "a convolution");
  }
  return true;
}

}  // namespace tenon::kernels
#endif
