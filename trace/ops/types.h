// Types of the parameters of public operations.
#pragma once

#include <complex>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/small_vector.h"
#include "generated/primitives.h"

namespace tenon {

class Tensor;
struct Generator;

// What is told of a symbolic number (see Symbols in trace/capture.h).
void note_symbol_read(uint32_t symbol);
void note_symbol_compared(uint32_t symbol, double with, bool equal);
void note_symbol_recorded(uint32_t symbol, uint32_t node);

// A number as the user wrote it; its kind takes part in promotion, its value never enters a key.
// A symbolic one stands for those of later calls, of the same kind: that its value is looked at is
// noted, whatever it is for.
class Scalar {
 public:
  enum class Kind : uint8_t { Bool, Int, Float, Complex };

  Scalar() : Scalar(int64_t{0}) {}
  Scalar(bool value) : kind_(Kind::Bool), integer_(value) {}
  Scalar(int value) : Scalar(int64_t{value}) {}
  Scalar(int64_t value) : kind_(Kind::Int), integer_(value) {}
  Scalar(double value) : kind_(Kind::Float), real_(value) {}
  Scalar(std::complex<double> value)
      : kind_(Kind::Complex), real_(value.real()), imaginary_(value.imag()) {}

  Kind kind() const { return kind_; }
  bool is_integral() const { return kind_ == Kind::Bool || kind_ == Kind::Int; }
  double to_double() const {
    note_read();
    return is_integral() ? static_cast<double>(integer_) : real_;
  }
  int64_t to_int() const {
    note_read();
    return is_integral() ? integer_ : static_cast<int64_t>(real_);
  }
  bool to_bool() const {
    note_read();
    return is_integral() ? integer_ != 0 : real_ != 0 || imaginary_ != 0;
  }
  std::complex<double> to_complex() const { return {to_double(), imaginary_}; }
  // Of a symbolic number this alone is noted, and not its value.
  bool equals(double number) const {
    const bool equal = without_symbol().to_complex() == number;
    if (symbol_ != 0) [[unlikely]]
      note_symbol_compared(symbol_, number, equal);
    return equal;
  }

  uint32_t symbol() const { return symbol_; }  // 0: it is no symbolic number
  Scalar with_symbol(uint32_t symbol) const {
    Scalar number = *this;
    number.symbol_ = symbol;
    return number;
  }
  Scalar without_symbol() const { return with_symbol(0); }

  // The dtype it stands for in promotion: bool, int64, the default dtype or its complex.
  DType dtype() const;

 private:
  void note_read() const {
    if (symbol_ != 0) [[unlikely]]
      note_symbol_read(symbol_);
  }

  Kind kind_;
  uint32_t symbol_ = 0;
  int64_t integer_ = 0;
  double real_ = 0, imaginary_ = 0;
};

// In a list of extents: as it is (Python's None).
inline constexpr int64_t kUnchanged = std::numeric_limits<int64_t>::min();

// Extents, dimensions, sizes; one number stands for a list of one.
struct IntList : Dims {
  IntList() = default;
  IntList(int64_t one) : Dims({one}) {}
  IntList(int one) : Dims({one}) {}
  IntList(std::initializer_list<int64_t> many) : Dims(many) {}
  IntList(std::span<const int64_t> many) : Dims(many) {}
  IntList(const Dims& many) : Dims(many) {}
  IntList(const std::vector<int64_t>& many) : Dims(std::span<const int64_t>(many)) {}
};

using FloatList = std::vector<double>;
using TensorList = std::vector<Tensor>;

// A tensor or a number, for the length of a call. An optional operand may hold neither.
struct Operand {
  const Tensor* tensor = nullptr;
  std::optional<Scalar> scalar;

  Operand() = default;
  Operand(const Tensor& x) : tensor(&x) {}
  Operand(Scalar x) : scalar(x) {}
  Operand(bool x) : scalar(x) {}
  Operand(int x) : scalar(x) {}
  Operand(int64_t x) : scalar(x) {}
  Operand(double x) : scalar(x) {}

  bool defined() const { return tensor != nullptr || scalar.has_value(); }
};

// One step of a view: a movement primitive with its attributes and the extents of its result.
struct Movement {
  // Constructors, because an aggregate is cleared before it is filled.
  Movement() {}
  Movement(Op op, std::span<const int64_t> axes, std::span<const int64_t> sizes,
           std::span<const int64_t> dims)
      : op(op), axes(axes), sizes(sizes), dims(dims) {}

  Op op = Op::Alias;
  Dims axes, sizes, dims;
};
// At most two steps, in place: a view is made on the hot path.
class Movements {
 public:
  Movements() {}  // written out, or it would first clear both steps
  Movements(std::initializer_list<Movement> steps) {
    for (const Movement& step : steps) push_back(step);
  }
  void push_back(const Movement& step) { steps_[count_++] = step; }
  const Movement* begin() const { return steps_; }
  const Movement* end() const { return steps_ + count_; }
  bool empty() const { return count_ == 0; }

 private:
  Movement steps_[2];
  int count_ = 0;
};

// How operands of different dtypes meet. Common: PyTorch's result_type. Float: the same, integers
// and bools becoming the default dtype.
enum class Promotion : uint8_t { Common, Float };

}  // namespace tenon
