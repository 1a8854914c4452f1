#include "jit/cuda/cublaslt.h"

#include <algorithm>
#include <bit>
#include <compare>

#include "core/error.h"
#include "jit/cuda/library.h"

namespace tenon::cuda {

namespace {

// The part of cublasLt.h and library_types.h that is used (NVIDIA, "cuBLAS", API reference).
using Handle = void*;
using Descriptor = void*;
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
enum DataType : int { kReal32 = 0, kReal64 = 1, kReal16 = 2, kBrain16 = 14 };
enum ComputeType : int { kCompute32 = 68, kCompute64 = 70 };
enum DescriptorAttribute : int { kTransposeA = 3, kTransposeB = 4 };
enum LayoutAttribute : int { kBatchCount = 5, kBatchStride = 6 };
enum PreferenceAttribute : int { kWorkspaceBytes = 1, kAlignmentA = 5 };  // then B, C, D
constexpr size_t kWorkspace = size_t{32} << 20;  // as NVIDIA advises for Hopper

struct Api {
  int (*create)(Handle*);
  int (*destroy)(Handle);
  int (*create_descriptor)(Descriptor*, int compute, int scale);
  int (*set_descriptor)(Descriptor, int attribute, const void*, size_t);
  int (*destroy_descriptor)(Descriptor);
  int (*create_layout)(Descriptor*, int type, uint64_t rows, uint64_t columns, int64_t leading);
  int (*set_layout)(Descriptor, int attribute, const void*, size_t);
  int (*destroy_layout)(Descriptor);
  int (*create_preference)(Descriptor*);
  int (*set_preference)(Descriptor, int attribute, const void*, size_t);
  int (*destroy_preference)(Descriptor);
  int (*choose)(Handle, Descriptor, Descriptor a, Descriptor b, Descriptor c, Descriptor d,
                Descriptor preference, int asked, Heuristic*, int* given);
  int (*multiply)(Handle, Descriptor, const void* alpha, const void* a, Descriptor, const void* b,
                  Descriptor, const void* beta, const void* c, Descriptor, void* d, Descriptor,
                  const void* algorithm, void* workspace, size_t bytes, StreamHandle);
};

struct Loaded {
  Library library;
  Api api{};
  std::string reason;

  Loaded() {
    library = Library::find({"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"});
    if (!library.is_loaded()) {
      reason = "cuBLASLt is missing (pip install nvidia-cublas): " + library.reason();
      return;
    }
    const auto get = [&](auto& function, const char* name) {
      library.take(function, name, reason);
    };
    get(api.create, "cublasLtCreate");
    get(api.destroy, "cublasLtDestroy");
    get(api.create_descriptor, "cublasLtMatmulDescCreate");
    get(api.set_descriptor, "cublasLtMatmulDescSetAttribute");
    get(api.destroy_descriptor, "cublasLtMatmulDescDestroy");
    get(api.create_layout, "cublasLtMatrixLayoutCreate");
    get(api.set_layout, "cublasLtMatrixLayoutSetAttribute");
    get(api.destroy_layout, "cublasLtMatrixLayoutDestroy");
    get(api.create_preference, "cublasLtMatmulPreferenceCreate");
    get(api.set_preference, "cublasLtMatmulPreferenceSetAttribute");
    get(api.destroy_preference, "cublasLtMatmulPreferenceDestroy");
    get(api.choose, "cublasLtMatmulAlgoGetHeuristic");
    get(api.multiply, "cublasLtMatmul");
  }
};

const Loaded& loaded() {
  static const Loaded* const instance = new Loaded;
  return *instance;
}
const Api& api() { return loaded().api; }

void check_status(int status, const char* call) {
  check(status == 0, ErrorKind::Runtime, "{} failed with status {}", call, status);
}

int data_type(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return kReal32;
    case DType::Float64:
      return kReal64;
    case DType::Float16:
      return kReal16;
    case DType::BFloat16:
      return kBrain16;
    default:
      fail(ErrorKind::NotImplemented,
           "matrix products of {} are not computed on CUDA devices; move the operands to the CPU "
           "or convert them to a floating dtype",
           name_of(dtype));
  }
}

// Of an address, at most what the library asks for.
uint32_t alignment(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | 256;
  return uint32_t{1} << std::countr_zero(bits);
}

class Layout {
 public:
  Layout() = default;
  Layout(int type, int64_t rows, int64_t columns, int64_t leading, int32_t batch, int64_t stride) {
    check_status(api().create_layout(&handle_, type, static_cast<uint64_t>(rows),
                                     static_cast<uint64_t>(columns), leading),
                 "cublasLtMatrixLayoutCreate");
    if (batch == 1) return;
    set(kBatchCount, batch);
    set(kBatchStride, stride);
  }
  ~Layout() {
    if (handle_) api().destroy_layout(handle_);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(Layout&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Descriptor handle() const { return handle_; }

 private:
  template <class T>
  void set(int attribute, const T& value) {
    check_status(api().set_layout(handle_, attribute, &value, sizeof value),
                 "cublasLtMatrixLayoutSetAttribute");
  }
  Descriptor handle_ = nullptr;
};

}  // namespace

struct MatrixProducts::Key {
  DType dtype;
  bool transpose_a, transpose_b;
  int64_t m, n, k, batch, lda, ldb, ldc, stride_a, stride_b, stride_c;
  uint32_t align_a, align_b, align_c;
  auto operator<=>(const Key&) const = default;
};

// The library's matrices are column-major: what it computes is the transpose of C from those of B
// and A, which are the same in memory.
struct MatrixProducts::Prepared {
  Descriptor descriptor = nullptr;
  Layout a, b, c;
  Heuristic chosen{};
  ~Prepared() {
    if (descriptor) api().destroy_descriptor(descriptor);
  }
};

MatrixProducts::MatrixProducts(DeviceMemory& memory, const Stream& stream)
    : memory_(memory), stream_(stream) {
  check(loaded().reason.empty(), ErrorKind::Runtime, "matrix products on a CUDA device: {}",
        loaded().reason);
  check_status(api().create(&handle_), "cublasLtCreate");
}

MatrixProducts::~MatrixProducts() {
  prepared_.clear();
  api().destroy(handle_);
}

const MatrixProducts::Prepared& MatrixProducts::prepare(const kernels::GemmArgs& g) {
  const Key key{g.dtype,
                g.transpose_a,
                g.transpose_b,
                g.m,
                g.n,
                g.k,
                g.batch,
                g.lda,
                g.ldb,
                g.ldc,
                g.batch > 1 ? g.stride_a : 0,
                g.batch > 1 ? g.stride_b : 0,
                g.batch > 1 ? g.stride_c : 0,
                alignment(g.a),
                alignment(g.b),
                alignment(g.c)};
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Prepared>& kept = prepared_[key];
  if (kept) return *kept;
  auto made = std::make_unique<Prepared>();
  const int type = data_type(g.dtype);
  const bool is_wide = g.dtype == DType::Float64;
  check_status(api().create_descriptor(&made->descriptor, is_wide ? kCompute64 : kCompute32,
                                       is_wide ? kReal64 : kReal32),
               "cublasLtMatmulDescCreate");
  const int32_t first = g.transpose_b, second = g.transpose_a;
  check_status(api().set_descriptor(made->descriptor, kTransposeA, &first, sizeof first),
               "cublasLtMatmulDescSetAttribute");
  check_status(api().set_descriptor(made->descriptor, kTransposeB, &second, sizeof second),
               "cublasLtMatmulDescSetAttribute");
  const auto batch = static_cast<int32_t>(g.batch);
  made->b =
      Layout(type, g.transpose_b ? g.k : g.n, g.transpose_b ? g.n : g.k, g.ldb, batch, g.stride_b);
  made->a =
      Layout(type, g.transpose_a ? g.m : g.k, g.transpose_a ? g.k : g.m, g.lda, batch, g.stride_a);
  made->c = Layout(type, g.n, g.m, g.ldc, batch, g.stride_c);

  Descriptor preference = nullptr;
  check_status(api().create_preference(&preference), "cublasLtMatmulPreferenceCreate");
  const auto prefer = [&](int attribute, const auto& value) {
    check_status(api().set_preference(preference, attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(kWorkspaceBytes, kWorkspace);
  prefer(kAlignmentA, key.align_b);
  prefer(kAlignmentA + 1, key.align_a);
  prefer(kAlignmentA + 2, key.align_c);
  prefer(kAlignmentA + 3, key.align_c);
  int given = 0;
  const int status =
      api().choose(handle_, made->descriptor, made->b.handle(), made->a.handle(), made->c.handle(),
                   made->c.handle(), preference, 1, &made->chosen, &given);
  api().destroy_preference(preference);
  check(status == 0 && given == 1 && made->chosen.state == 0, ErrorKind::Runtime,
        "cuBLASLt has no kernel for a product of {} x {} by {} x {} ({}, {} at once; status {})",
        g.m, g.k, g.k, g.n, name_of(g.dtype), g.batch, status);
  kept = std::move(made);
  return *kept;
}

void MatrixProducts::multiply(const kernels::GemmArgs& g) {
  const Prepared& product = prepare(g);
  const float one = 1, zero = 0;
  const double wide_one = 1, wide_zero = 0;
  const bool is_wide = g.dtype == DType::Float64;
  const void* alpha = is_wide ? static_cast<const void*>(&wide_one) : &one;
  const void* beta = is_wide ? static_cast<const void*>(&wide_zero) : &zero;
  const size_t bytes = product.chosen.workspace;
  const DeviceAddress workspace = bytes ? memory_.allocate(bytes, stream_) : 0;
  const int status = api().multiply(handle_, product.descriptor, alpha, g.b, product.b.handle(),
                                    g.a, product.a.handle(), beta, g.c, product.c.handle(), g.c,
                                    product.c.handle(), product.chosen.algorithm,
                                    reinterpret_cast<void*>(workspace), bytes, stream_.handle());
  if (workspace) memory_.free(workspace);  // what is queued is before whatever takes it next
  check(status == 0, ErrorKind::Runtime,
        "cublasLtMatmul failed with status {} for a product of {} x {} by {} x {} ({})", status,
        g.m, g.k, g.k, g.n, name_of(g.dtype));
}

}  // namespace tenon::cuda
