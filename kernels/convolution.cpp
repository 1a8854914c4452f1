#include "kernels/convolution.h"

#include <type_traits>

#include "core/allocator.h"
#include "core/error.h"
#include "core/log.h"
#include "core/size_classes.h"
#include "core/threads.h"
#include "kernels/direct_convolution.h"
#include "kernels/gemm.h"
#include "kernels/half_rows.h"
#include "kernels/patches.h"

namespace tenon::kernels {

namespace {

using Shape = ConvolutionShape;

constexpr std::int64_t kGrain = 32768;  // elements copied at a time by a thread

template <class T>
T* scratch(Ref<Storage>& storage, std::int64_t elements) {
  storage = allocate(static_cast<std::size_t>(std::max<std::int64_t>(elements, 1)) * sizeof(T));
  return storage->as<T>();
}
// What that takes.
template <class T>
std::int64_t scratch_bytes(std::int64_t elements) {
  const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(elements, 1)) * sizeof(T);
  return static_cast<std::int64_t>(class_bytes(bytes));
}

// [rows][columns][...] to [columns][rows][...]: images and channels exchanged.
template <class T>
void exchange(const T* from, T* to, std::int64_t rows, std::int64_t columns, std::int64_t inner) {
  parallel_for(rows * columns, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(inner, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const T* source = from + (i % rows * columns + i / rows) * inner;
                   std::copy(source, source + inner, to + i * inner);
                 }
               });
}

// A convolution as a matrix product of weights and patches, some images at a time.
template <class T>
class ByPatches {
 public:
  explicit ByPatches(const Shape& shape)
      : s_(shape),
        channels_in_(s_.groups * s_.in_channels),
        channels_out_(s_.groups * s_.out_channels),
        depth_(s_.in_channels * product(s_.kernel)),
        plane_(product(s_.output)) {
    // A kernel of one element that steps through the whole input: the patches are the input.
    is_input_ = product(s_.kernel) == 1 && s_.input == s_.output && product(s_.stride) == 1 &&
                s_.low == Shape::Spatial{0, 0, 0};
    const std::int64_t of_image = std::max<std::int64_t>(s_.groups * depth_ * plane_, 1);
    images_ = std::clamp<std::int64_t>(kMatrixElements / of_image, 1,
                                       std::max<std::int64_t>(s_.batch, 1));
    if (!is_input_ || images_ > 1) matrix_elements_ = of_image * images_;
    if (images_ > 1) output_elements_ = channels_out_ * plane_ * images_;
  }

  std::int64_t bytes(ConvolutionRole role) const {
    std::int64_t sum = 0;
    if (matrix_elements_ > 0) sum += scratch_bytes<T>(matrix_elements_);
    if (output_elements_ > 0) sum += scratch_bytes<T>(output_elements_);
    if (role == ConvolutionRole::Weight && images_ < s_.batch) {
      sum += scratch_bytes<T>(channels_out_ * depth_);
    }
    return sum;
  }

  void allocate_matrices() {
    if (matrix_elements_ > 0) matrix_ = scratch<T>(matrix_storage_, matrix_elements_);
    if (output_elements_ > 0) outputs_ = scratch<T>(outputs_storage_, output_elements_);
  }

  void output(const T* x, const T* w, T* y) {
    for_each_chunk([&](std::int64_t first, std::int64_t images) {
      T* to = y + first * channels_out_ * plane_;
      multiply(w, false, patches(x, first, images), false, images > 1 ? outputs_ : to,
               {s_.out_channels, images * plane_, depth_, s_.groups});
      if (images > 1) exchange(outputs_, to, channels_out_, images, plane_);
    });
  }

  void input(const T* w, const T* y, T* x) {
    for_each_chunk([&](std::int64_t first, std::int64_t images) {
      T* to = x + first * channels_in_ * product(s_.input);
      const bool direct = is_input_ && images == 1;
      multiply(w, true, channels_first(y, first, images), false, direct ? to : matrix_,
               {depth_, images * plane_, s_.out_channels, s_.groups});
      if (!direct) scatter_patches(s_, matrix_, images, to);
    });
  }

  void weight(const T* x, const T* y, T* w) {
    const std::int64_t count = channels_out_ * depth_;
    Ref<Storage> storage;
    T* part = images_ < s_.batch ? scratch<T>(storage, count) : nullptr;
    std::fill(w, w + (s_.batch == 0 ? count : 0), T(0));
    for_each_chunk([&](std::int64_t first, std::int64_t images) {
      multiply(channels_first(y, first, images), false, patches(x, first, images), true,
               first == 0 ? w : part, {s_.out_channels, depth_, images * plane_, s_.groups});
      if (first == 0) return;
      parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) w[i] = plus(w[i], part[i]);
      });
    });
  }

 private:
  // The patches of one multiplication: 8 MiB of float32, to be read back from a shared cache.
  static constexpr std::int64_t kMatrixElements = 1 << 21;

  template <class Body>
  void for_each_chunk(Body body) {
    for (std::int64_t first = 0; first < s_.batch; first += images_) {
      body(first, std::min(images_, s_.batch - first));
    }
  }

  const T* patches(const T* x, std::int64_t first, std::int64_t images) {
    const T* from = x + first * channels_in_ * product(s_.input);
    if (is_input_ && images == 1) return from;
    if (is_input_) {
      exchange(from, matrix_, images, channels_in_, plane_);
    } else {
      gather_patches(s_, from, images, matrix_);
    }
    return matrix_;
  }

  // y as [channels, images, positions].
  const T* channels_first(const T* y, std::int64_t first, std::int64_t images) {
    const T* from = y + first * channels_out_ * plane_;
    if (images == 1) return from;
    exchange(from, outputs_, images, channels_out_, plane_);
    return outputs_;
  }

  // Dense products, one a group.
  void multiply(const T* a, bool transpose_a, const T* b, bool transpose_b, T* c,
                const GemmShape& g) {
    GemmArgs args;
    args.dtype = dtype_of<T>;
    args.m = g.m, args.n = g.n, args.k = g.k, args.batch = g.batch;
    args.a = a, args.b = b, args.c = c;
    args.transpose_a = transpose_a, args.transpose_b = transpose_b;
    args.lda = transpose_a ? g.m : g.k;
    args.ldb = transpose_b ? g.k : g.n;
    args.ldc = g.n;
    args.stride_a = g.m * g.k, args.stride_b = g.k * g.n, args.stride_c = g.m * g.n;
    gemm(args);
  }

  const Shape& s_;
  std::int64_t channels_in_, channels_out_, depth_, plane_;
  std::int64_t images_;  // at a time
  bool is_input_;
  std::int64_t matrix_elements_ = 0, output_elements_ = 0;  // 0: none is needed
  Ref<Storage> matrix_storage_, outputs_storage_;
  T* matrix_ = nullptr;
  T* outputs_ = nullptr;
};

template <class T>
void run_by_patches(ConvolutionRole role, const Shape& shape, const T* a, const T* b, T* result) {
  ByPatches<T> patches(shape);
  patches.allocate_matrices();
  switch (role) {
    case ConvolutionRole::Input:
      return patches.input(a, b, result);
    case ConvolutionRole::Weight:
      return patches.weight(a, b, result);
    case ConvolutionRole::Output:
      return patches.output(a, b, result);
  }
}

std::int64_t elements(ConvolutionRole role, const Shape& s) {
  switch (role) {
    case ConvolutionRole::Input:
      return s.batch * s.groups * s.in_channels * product(s.input);
    case ConvolutionRole::Weight:
      return s.groups * s.out_channels * s.in_channels * product(s.kernel);
    default:
      return s.batch * s.groups * s.out_channels * product(s.output);
  }
}

// [images][rows][columns] to [images][columns][rows]: channels to the other side of the positions.
template <class T>
void move_channels(const T* from, T* to, std::int64_t images, std::int64_t rows,
                   std::int64_t columns) {
  constexpr std::int64_t kTile = 16;
  const std::int64_t tiles = (rows + kTile - 1) / kTile;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (kTile * columns + 1));
  parallel_for(images * tiles, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t image = t / tiles * rows * columns, first = t % tiles * kTile;
      const std::int64_t last = std::min(first + kTile, rows);
      for (std::int64_t c = 0; c < columns; ++c) {
        for (std::int64_t r = first; r < last; ++r) {
          to[image + c * rows + r] = from[image + r * columns + c];
        }
      }
    }
  });
}

template <class T>
void run(ConvolutionRole role, const Shape& s, ConvolutionLayout layout, const T* a, const T* b,
         T* result) {
  if constexpr (std::is_same_v<T, float>) {
    if (convolve_directly(role, DType::Float32, s, layout, a, b, result)) return;
  }
  using enum ConvolutionRole;
  const std::int64_t channels[] = {s.groups * s.in_channels, 0, s.groups * s.out_channels};
  const std::int64_t positions[] = {product(s.input), 0, product(s.output)};
  Ref<Storage> kept[3];
  const auto channels_first = [&](ConvolutionRole r, bool is_last, const T* data) {
    if (!is_last) return data;
    const int k = static_cast<int>(r);
    T* to = scratch<T>(kept[k], elements(r, s));
    move_channels(data, to, s.batch, positions[k], channels[k]);
    return static_cast<const T*>(to);
  };
  if (role != Input) a = channels_first(Input, layout.x_last, a);
  if (role != Output) b = channels_first(Output, layout.y_last, b);
  if (role == Weight || !(role == Input ? layout.x_last : layout.y_last)) {
    return run_by_patches(role, s, a, b, result);
  }
  const int own = static_cast<int>(role);
  T* first = scratch<T>(kept[own], elements(role, s));
  run_by_patches(role, s, a, b, first);
  move_channels(first, result, s.batch, channels[own], positions[own]);
}

template <class Half>
void widen(const Half* from, float* to, std::int64_t count) {
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    widen_row(from + begin, to + begin, end - begin);
  });
}
template <class Half>
void narrow(const float* from, Half* to, std::int64_t count) {
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    narrow_row(from + begin, to + begin, end - begin);
  });
}

// Half types: by the processor's own products, or everything in float32; rounded once.
template <class Half>
void run_half(ConvolutionRole role, const Shape& shape, ConvolutionLayout layout, const Half* a,
              const Half* b, Half* result) {
  using enum ConvolutionRole;
  if (dtype_of<Half> == DType::BFloat16) {
    Ref<Storage> storage;
    float* sum = role == Weight ? scratch<float>(storage, elements(role, shape)) : nullptr;
    void* to = sum ? static_cast<void*>(sum) : result;
    if (convolve_directly(role, DType::BFloat16, shape, layout, a, b, to)) {
      if (sum) narrow(sum, result, elements(role, shape));
      return;
    }
  }
  const std::int64_t count_a = elements(role == Input ? Weight : Input, shape);
  const std::int64_t count_b = elements(role == Output ? Weight : Output, shape);
  const std::int64_t count = elements(role, shape);
  Ref<Storage> storage_a, storage_b, storage;
  float* wide_a = scratch<float>(storage_a, count_a);
  float* wide_b = scratch<float>(storage_b, count_b);
  float* wide = scratch<float>(storage, count);
  widen(a, wide_a, count_a);
  widen(b, wide_b, count_b);
  run<float>(role, shape, layout, wide_a, wide_b, wide);
  narrow(wide, result, count);
}

}  // namespace

namespace {

template <class T>
std::int64_t scratch_of(ConvolutionRole role, const Shape& s, ConvolutionLayout layout) {
  using enum ConvolutionRole;
  if constexpr (std::is_same_v<T, float>) {
    if (const auto bytes = direct_convolution_scratch(role, DType::Float32, s, layout)) {
      return *bytes;
    }
  }
  std::int64_t bytes = ByPatches<T>(s).bytes(role);
  if (layout.x_last) bytes += scratch_bytes<T>(elements(Input, s));
  if (layout.y_last) bytes += scratch_bytes<T>(elements(Output, s));
  return bytes;
}

}  // namespace

std::int64_t convolution_scratch(ConvolutionRole role, DType dtype, const Shape& shape,
                                 ConvolutionLayout layout) {
  if (elements(role, shape) == 0) return 0;
  std::int64_t bytes = 0;
  visit_dtype(dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (dtype_of<T> == DType::Float16 || dtype_of<T> == DType::BFloat16) {
      using enum ConvolutionRole;
      if (dtype_of<T> == DType::BFloat16) {
        if (const auto direct = direct_convolution_scratch(role, dtype, shape, layout)) {
          bytes = *direct + (role == Weight ? scratch_bytes<float>(elements(role, shape)) : 0);
          return;
        }
      }
      for (const ConvolutionRole each : {Input, Weight, Output}) {
        bytes += scratch_bytes<float>(elements(each, shape));
      }
      bytes += scratch_of<float>(role, shape, layout);
    } else if constexpr (!is_complex(dtype_of<T>) && dtype_of<T> != DType::Bool) {
      bytes = scratch_of<T>(role, shape, layout);
    }
  });
  return bytes;
}

void convolve(ConvolutionRole role, DType dtype, const Shape& shape, ConvolutionLayout layout,
              const void* a, const void* b, void* result) {
  if (elements(role, shape) == 0) return;
  log(Category::Kernels, "convolution {} {}: {} images, {} groups of {} to {} channels",
      static_cast<int>(role), name_of(dtype), shape.batch, shape.groups, shape.in_channels,
      shape.out_channels);
  visit_dtype(dtype, [&]<class T>(DTypeTag<T>) {
    const T* x = static_cast<const T*>(a);
    const T* y = static_cast<const T*>(b);
    if constexpr (dtype_of<T> == DType::Float16 || dtype_of<T> == DType::BFloat16) {
      run_half(role, shape, layout, x, y, static_cast<T*>(result));
    } else if constexpr (is_complex(dtype_of<T>) || is_float8(dtype_of<T>) ||
                         dtype_of<T> == DType::Bool) {
      fail(ErrorKind::NotImplemented, "no convolution of {}: cast to a real dtype", name_of(dtype));
    } else {
      run(role, shape, layout, x, y, static_cast<T*>(result));
    }
  });
}

void convolve_by_patches(ConvolutionRole role, const Shape& shape, const float* a, const float* b,
                         float* result) {
  if (elements(role, shape) > 0) run_by_patches(role, shape, a, b, result);
}

}  // namespace tenon::kernels
