#include "tests/jit/program_builder.h"

#include <bit>
#include <cmath>
#include <random>

#include "core/allocator.h"
#include "core/shape.h"
#include "trace/rules.h"

namespace tenon::test {

int64_t Array::numel() const {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

Array random_array(std::vector<int64_t> dims, uint64_t seed, DType dtype, double low, double high) {
  Array array{dtype, std::move(dims), {}};
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  array.values.resize(array.numel());
  for (double& v : array.values) {
    v = draw(engine);
    visit_dtype(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
        v = static_cast<double>(static_cast<float>(T(static_cast<float>(v))));
      } else if constexpr (std::is_same_v<T, bool>) {
        v = v > 0;
      } else if constexpr (std::is_arithmetic_v<T>) {
        v = static_cast<double>(static_cast<T>(std::is_integral_v<T> ? std::floor(v) : v));
      }
    });
  }
  return array;
}

Array random_index(std::vector<int64_t> dims, uint64_t seed, int64_t bound) {
  Array array = random_array(std::move(dims), seed, DType::Float64, 0, 1);
  array.dtype = DType::Int64;
  for (double& v : array.values) v = std::floor(v * static_cast<double>(bound));
  return array;
}

namespace {

template <class F>
void for_elements(const Type& type, F&& fn) {
  Dims at(type.rank);
  for (int64_t i = 0; i < type.numel; ++i) {
    int64_t rest = i, offset = 0;
    for (int d = type.rank; d-- > 0;) {
      offset += rest % type.dims_[d] * type.strides_[d];
      rest /= type.dims_[d];
    }
    fn(i, offset);
  }
}

Buffer make_buffer(const Array& array, TypeId id) {
  const Type& type = type_of(id);
  int64_t last = 0;
  for_elements(type, [&](int64_t, int64_t offset) { last = std::max(last, offset); });
  Buffer buffer{allocate((last + 1) * size_of(type.dtype)), 0, id};
  visit_dtype(type.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* data = buffer.storage->as<T>();
    for_elements(type, [&](int64_t i, int64_t offset) {
      if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
        data[offset] = T(static_cast<float>(array.values[i]));
      } else if constexpr (std::is_arithmetic_v<T>) {
        data[offset] = static_cast<T>(array.values[i]);
      }
    });
  });
  return buffer;
}

}  // namespace

uint32_t ProgramBuilder::add(Op op, TypeId type, std::vector<uint32_t> operands, const Ints& axes,
                             const Ints& sizes) {
  ProgramNode node{};
  node.op = op;
  node.type = type;
  node.operand_count = static_cast<uint8_t>(operands.size());
  node.operands = static_cast<uint32_t>(program_.operands.size());
  node.axes = static_cast<uint32_t>(program_.attributes.size());
  node.axes_count = static_cast<uint32_t>(axes.size());
  node.sizes = node.axes + node.axes_count;
  node.sizes_count = static_cast<uint32_t>(sizes.size());
  program_.operands.insert(program_.operands.end(), operands.begin(), operands.end());
  program_.attributes.insert(program_.attributes.end(), axes.begin(), axes.end());
  program_.attributes.insert(program_.attributes.end(), sizes.begin(), sizes.end());
  program_.nodes.push_back(node);
  return static_cast<uint32_t>(program_.nodes.size() - 1);
}

uint32_t ProgramBuilder::input(const Array& array, bool donatable) {
  const TypeId type = intern_contiguous(array.dtype, Device{}, array.dims);
  program_.inputs.push_back(make_buffer(array, type));
  program_.donatable.push_back(donatable);
  return add(Op::Input, type, {}, {}, {});
}

uint32_t ProgramBuilder::input_strided(const Array& array, Ints order) {
  Dims strides(array.dims.size());
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= array.dims[order[i]];
  }
  const TypeId type = intern(array.dtype, Device{}, array.dims, strides);
  program_.inputs.push_back(make_buffer(array, type));
  program_.donatable.push_back(0);
  return add(Op::Input, type, {}, {}, {});
}

uint32_t ProgramBuilder::node(Op op, std::vector<uint32_t> operands, Ints axes, Ints sizes) {
  std::vector<TypeId> types;
  for (uint32_t operand : operands) types.push_back(program_.nodes[operand].type);
  TypeId type;
  if (op == Op::Slice) {
    // The tests give extents behind starts and steps; the trace keeps them in the type alone.
    const size_t rank = sizes.size() / 3;
    type = intern_contiguous(type_of(types[0]).dtype, Device{},
                             std::span<const int64_t>(sizes.data() + 2 * rank, rank));
    sizes.resize(2 * rank);
  } else if (is_elementwise(op)) {
    Dims dims;
    for (TypeId t : types) dims = broadcast_dims(dims, type_of(t).dims());
    const PrimitiveClass group = info(op).group;
    const bool to_bool = group == PrimitiveClass::Compare || group == PrimitiveClass::Predicate;
    type = intern_contiguous(to_bool ? DType::Bool : type_of(types.back()).dtype, Device{}, dims);
  } else {
    type = infer_rule(op)(op, types, axes, sizes);
  }
  const Type& t = type_of(type);
  type = intern_contiguous(t.dtype, Device{}, t.dims());
  return add(op, type, std::move(operands), axes, sizes);
}

uint32_t ProgramBuilder::cast(uint32_t x, DType dtype) {
  return add(Op::Cast, intern_contiguous(dtype, Device{}, type(x).dims()), {x}, {}, {});
}

namespace {
int64_t payload(double value, DType dtype) {
  return is_floating(dtype) ? std::bit_cast<int64_t>(value) : static_cast<int64_t>(value);
}
}  // namespace

uint32_t ProgramBuilder::literal(double value, DType dtype) {
  return add(Op::Constant, intern_contiguous(dtype, Device{}, {}), {}, {1, payload(value, dtype)},
             {});
}
uint32_t ProgramBuilder::scalar(double value, DType dtype) {
  return add(Op::Constant, intern_contiguous(dtype, Device{}, {}), {}, {0},
             {payload(value, dtype)});
}
uint32_t ProgramBuilder::iota(Ints dims, int64_t axis, DType dtype) {
  return add(Op::Iota, intern_contiguous(dtype, Device{}, dims), {}, {axis}, dims);
}
uint32_t ProgramBuilder::random_bits(Ints dims, int64_t seed, int64_t call) {
  Ints sizes = dims;
  sizes.push_back(seed);
  sizes.push_back(call);
  return add(Op::RandomBits, intern_contiguous(DType::UInt32, Device{}, dims), {}, {}, sizes);
}

uint32_t ProgramBuilder::reduce_keep(Op op, uint32_t x, Ints axes) {
  Ints dims(type(x).dims().begin(), type(x).dims().end());
  for (int64_t axis : axes) dims[axis] = 1;
  return reshape(reduce(op, x, axes), dims);
}

Array to_array(const Buffer& buffer) {
  const Type& type = type_of(buffer.type);
  Array array{type.dtype, {type.dims().begin(), type.dims().end()}, {}};
  array.values.resize(type.numel);
  visit_dtype(type.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = buffer.storage->as<T>() + buffer.offset;
    for_elements(type, [&](int64_t i, int64_t offset) {
      if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
        array.values[i] = static_cast<float>(data[offset]);
      } else if constexpr (std::is_arithmetic_v<T>) {
        array.values[i] = static_cast<double>(data[offset]);
      }
    });
  });
  return array;
}

std::string bits_of(const std::vector<Buffer>& buffers) {
  std::string bits;
  for (const Buffer& buffer : buffers) {
    const Type& type = type_of(buffer.type);
    const size_t item = size_of(type.dtype);
    const char* data = buffer.storage->as<char>() + buffer.offset * item;
    for_elements(type, [&](int64_t, int64_t offset) { bits.append(data + offset * item, item); });
  }
  return bits;
}

double distance(const Array& a, const Array& b) {
  if (a.dims != b.dims) return HUGE_VAL;
  double worst = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double x = a.values[i], y = b.values[i];
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x == y) continue;
    const double error = std::fabs(x - y) / (1 + std::fabs(y));
    worst = error <= HUGE_VAL ? std::max(worst, error) : HUGE_VAL;
  }
  return worst;
}

}  // namespace tenon::test
