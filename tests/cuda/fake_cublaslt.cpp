// cuBLASLt without a device, for tests: products are computed by the host when the fake driver's
// stream comes to them. Calls are checked as the library's documentation asks for.
#include <stdint.h>
#include <string.h>

#include <vector>

extern "C" {
struct CUstream_st;
void fake_enqueue(CUstream_st* stream, void (*work)(void*), void* argument);
int fake_is_device_memory(const void* address, unsigned long long bytes);
void fake_violate(const char* what);
}

namespace {

constexpr int kSuccess = 0, kInvalidValue = 7, kNotSupported = 15;

struct Description {
  int compute, scale;
  int32_t transpose_a = 0, transpose_b = 0;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch = 1;
  int64_t stride = 0;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

size_t size_of(int type) { return type == 0 ? 4 : type == 1 ? 8 : 2; }

double read(int type, const char* at) {
  if (type == 0) {
    float x;
    memcpy(&x, at, 4);
    return x;
  }
  if (type == 1) {
    double x;
    memcpy(&x, at, 8);
    return x;
  }
  if (type == 2) {
    _Float16 x;
    memcpy(&x, at, 2);
    return static_cast<float>(x);
  }
  uint16_t bits;
  memcpy(&bits, at, 2);
  const uint32_t wide = uint32_t{bits} << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

void write(int type, char* at, double value) {
  const auto narrow = static_cast<float>(value);
  if (type == 0) {
    memcpy(at, &narrow, 4);
  } else if (type == 1) {
    memcpy(at, &value, 8);
  } else if (type == 2) {
    const auto half = static_cast<_Float16>(narrow);
    memcpy(at, &half, 2);
  } else {
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    const auto rounded = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    const uint16_t nan = 0x7fff;
    memcpy(at, narrow != narrow ? &nan : &rounded, 2);
  }
}

struct Product {
  Description description;
  Layout a, b, d;
  const char *data_a, *data_b;
  char* data_d;
};

uint64_t bytes_of(const Layout& x) {
  if (x.rows == 0 || x.columns == 0) return 0;
  const uint64_t last = (x.columns - 1) * static_cast<uint64_t>(x.leading) + x.rows;
  return ((x.batch - 1) * static_cast<uint64_t>(x.stride) + last) * size_of(x.type);
}

void run(void* argument) {
  auto* product = static_cast<Product*>(argument);
  const Product& p = *product;
  for (const auto& [layout, data] : {std::pair{&p.a, p.data_a}, std::pair{&p.b, p.data_b},
                                     std::pair{&p.d, static_cast<const char*>(p.data_d)}}) {
    if (!fake_is_device_memory(data, bytes_of(*layout))) {
      fake_violate("cublasLtMatmul on memory that is not the device's");
      delete product;
      return;
    }
  }
  const bool is_wide = p.description.compute == 70;
  const uint64_t inner = p.description.transpose_a ? p.a.rows : p.a.columns;
  const size_t item = size_of(p.a.type);
  const auto at = [item](const char* data, const Layout& x, int32_t batch, uint64_t row,
                         uint64_t column, bool transposed) {
    if (transposed) std::swap(row, column);
    const auto place =
        batch * x.stride + static_cast<int64_t>(column) * x.leading + static_cast<int64_t>(row);
    return read(x.type, data + place * static_cast<int64_t>(item));
  };
  for (int32_t batch = 0; batch < p.d.batch; ++batch) {
    for (uint64_t column = 0; column < p.d.columns; ++column) {
      for (uint64_t row = 0; row < p.d.rows; ++row) {
        double wide = 0;
        float narrow = 0;
        for (uint64_t k = 0; k < inner; ++k) {
          const double x = at(p.data_a, p.a, batch, row, k, p.description.transpose_a);
          const double y = at(p.data_b, p.b, batch, k, column, p.description.transpose_b);
          wide += x * y;
          narrow += static_cast<float>(x) * static_cast<float>(y);
        }
        const auto place = batch * p.d.stride + static_cast<int64_t>(column) * p.d.leading +
                           static_cast<int64_t>(row);
        write(p.d.type, p.data_d + place * static_cast<int64_t>(item), is_wide ? wide : narrow);
      }
    }
  }
  delete product;
}

bool is_aligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

bool fits(const Description& description, const Layout& a, const Layout& b, const Layout& d) {
  const uint64_t m = description.transpose_a ? a.columns : a.rows;
  const uint64_t k = description.transpose_a ? a.rows : a.columns;
  const uint64_t other_k = description.transpose_b ? b.columns : b.rows;
  const uint64_t n = description.transpose_b ? b.rows : b.columns;
  const auto leads = [](const Layout& x) { return x.leading >= static_cast<int64_t>(x.rows); };
  return m == d.rows && n == d.columns && k == other_k && k > 0 && leads(a) && leads(b) &&
         leads(d) && a.batch == d.batch && b.batch == d.batch && a.type == b.type &&
         a.type == d.type;
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) {
  *handle = new int(0);
  return kSuccess;
}
int cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return kSuccess;
}
int cublasLtMatmulDescCreate(void** description, int compute, int scale) {
  *description = new Description{compute, scale};
  const bool agree = (compute == 68 && scale == 0) || (compute == 70 && scale == 1);
  return agree ? kSuccess : kNotSupported;
}
int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value,
                                   size_t bytes) {
  auto& d = *static_cast<Description*>(description);
  if (bytes != 4 || (attribute != 3 && attribute != 4)) return kInvalidValue;
  memcpy(attribute == 3 ? &d.transpose_a : &d.transpose_b, value, 4);
  return kSuccess;
}
int cublasLtMatmulDescDestroy(void* description) {
  delete static_cast<Description*>(description);
  return kSuccess;
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
  *layout = new Layout{type, rows, columns, leading};
  return kSuccess;
}
int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t bytes) {
  auto& l = *static_cast<Layout*>(layout);
  if (attribute == 5 && bytes == 4) {
    memcpy(&l.batch, value, 4);
  } else if (attribute == 6 && bytes == 8) {
    memcpy(&l.stride, value, 8);
  } else {
    return kInvalidValue;
  }
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return kSuccess;
}
int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kSuccess;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value,
                                         size_t bytes) {
  auto& p = *static_cast<Preference*>(preference);
  if (attribute == 1 && bytes == 8) {
    memcpy(&p.workspace, value, 8);
  } else if (attribute >= 5 && attribute <= 8 && bytes == 4) {
    memcpy(&p.alignment[attribute - 5], value, 4);
  } else {
    return kInvalidValue;
  }
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kSuccess;
}
// Its "algorithm" remembers the alignments that it was promised.
int cublasLtMatmulAlgoGetHeuristic(void*, void* description, void* a, void* b, void*, void* d,
                                   void* preference, int asked, Heuristic* results, int* given) {
  *given = 0;
  const auto& p = *static_cast<Preference*>(preference);
  if (asked < 1 || !fits(*static_cast<Description*>(description), *static_cast<Layout*>(a),
                         *static_cast<Layout*>(b), *static_cast<Layout*>(d))) {
    return kNotSupported;
  }
  results[0] = {};
  for (int i = 0; i < 4; ++i) results[0].algorithm[i] = p.alignment[i];
  results[0].workspace = p.workspace < 4096 ? 0 : 4096;
  *given = 1;
  return kSuccess;
}
int cublasLtMatmul(void*, void* description, const void* alpha, const void* a, void* layout_a,
                   const void* b, void* layout_b, const void* beta, const void* c, void* layout_c,
                   void* d, void* layout_d, const void* algorithm, void* workspace, size_t bytes,
                   CUstream_st* stream) {
  const auto& how = *static_cast<Description*>(description);
  const double one =
      how.scale == 1 ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
  const double zero =
      how.scale == 1 ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
  const auto* alignments = static_cast<const uint64_t*>(algorithm);
  const Layout &x = *static_cast<Layout*>(layout_a), &y = *static_cast<Layout*>(layout_b),
               &z = *static_cast<Layout*>(layout_d);
  if (one != 1 || zero != 0 || c != d || layout_c != layout_d || !fits(how, x, y, z) ||
      !is_aligned(a, alignments[0]) || !is_aligned(b, alignments[1]) ||
      !is_aligned(d, alignments[3]) || bytes != 4096 || !fake_is_device_memory(workspace, bytes)) {
    fake_violate("cublasLtMatmul with arguments that it was not prepared for");
    return kInvalidValue;
  }
  fake_enqueue(stream, run,
               new Product{how, x, y, z, static_cast<const char*>(a), static_cast<const char*>(b),
                           static_cast<char*>(d)});
  return kSuccess;
}

}  // extern "C"
