// A head's operands and results as the kernels of attention want them: of the kernels' type, and in
// place where memory allows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/allocator.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/attention.h"
#include "kernels/attention_kernel.h"

namespace tenon::kernels {

// The kernels for this machine.
const AttentionKernels& attention_kernels();

namespace detail {

constexpr std::int64_t kRowsCopied = 256;  // by a thread at least

template <class T>
const AttentionTable<T>& table() {
  if constexpr (std::is_same_v<T, float>) {
    return attention_kernels().of_float;
  } else {
    return attention_kernels().of_double;
  }
}

inline Element element_of(DType dtype) {
  return dtype == DType::Float16    ? Element::Float16
         : dtype == DType::BFloat16 ? Element::BFloat16
                                    : Element::Same;
}

inline const char* element(const void* data, DType dtype, std::int64_t index) {
  return static_cast<const char*>(data) + index * static_cast<std::int64_t>(size_of(dtype));
}
inline char* element(void* data, DType dtype, std::int64_t index) {
  return static_cast<char*>(data) + index * static_cast<std::int64_t>(size_of(dtype));
}

template <class T>
std::int64_t padded(std::int64_t count) {
  const std::int64_t lanes = table<T>().lanes;
  return (count + lanes - 1) / lanes * lanes;
}

template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(std::int64_t rows, std::int64_t columns) {
    std::size_t count = 0, bytes = 0;
    if (__builtin_mul_overflow(static_cast<std::size_t>(rows), static_cast<std::size_t>(columns),
                               &count) ||
        __builtin_mul_overflow(count, sizeof(T), &bytes)) {
      fail(ErrorKind::OutOfMemory, "attention: a copy of a matrix of {} by {} is too large", rows,
           columns);
    }
    storage_ = allocate(bytes);
  }
  T* data() { return storage_->as<T>(); }
  explicit operator bool() const { return static_cast<bool>(storage_); }

 private:
  Ref<Storage> storage_;
};

// A head's matrix of T, its rows without gaps: where it lies, or a copy.
template <class T>
class Rows {
 public:
  Rows(const HeadMatrix& matrix, DType dtype, std::int64_t rows, std::int64_t columns)
      : matrix_(matrix), dtype_(dtype), rows_(rows), columns_(columns) {
    in_place_ = dtype == dtype_of<T> && matrix.column_stride == 1 && matrix.row_stride == columns;
    if (!in_place_) copy_ = Buffer<T>(rows, columns);
  }

  void load(std::int64_t head) {
    const char* from = element(matrix_.data, dtype_, matrix_.offsets[head]);
    data_ = reinterpret_cast<const T*>(from);
    if (in_place_) return;
    T* to = copy_.data();
    data_ = to;
    parallel_for(rows_, kRowsCopied, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        table<T>().widen(element_of(dtype_), element(from, dtype_, r * matrix_.row_stride),
                         matrix_.column_stride, columns_, to + r * columns_);
      }
    });
  }

  const T* row(std::int64_t r) const { return data_ + r * columns_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

 private:
  HeadMatrix matrix_;
  DType dtype_;
  std::int64_t rows_, columns_;
  bool in_place_;
  Buffer<T> copy_;
  const T* data_ = nullptr;
};

// The second operand [rows, columns] of products, in panels of columns.
template <class T>
class Panels {
 public:
  void load(const Rows<T>& from) {
    set_shape(from.rows(), from.columns());
    const std::int64_t width = padded<T>(columns_);
    if (columns_ == width && width <= panel_) {
      data_ = from.row(0);
      return;
    }
    T* to = copy();
    parallel_for(rows_, kRowsCopied, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t column = 0; column < columns_; column += panel_) {
        const std::int64_t to_row = std::min(panel_, width - column);
        const std::int64_t count = std::min(panel_, columns_ - column);
        T* row = to + column * rows_ + begin * to_row;
        for (std::int64_t r = begin; r < end; ++r, row += to_row) {
          std::copy_n(from.row(r) + column, count, row);
          std::fill(row + count, row + to_row, T{0});
        }
      }
    });
  }

  void load_transpose(const Rows<T>& from) {
    set_shape(from.columns(), from.rows());
    T* to = copy();
    parallel_for(
        columns_, std::max(panel_, kRowsCopied), [&](std::int64_t begin, std::int64_t end) {
          table<T>().transpose(from.row(begin), rows_, end - begin, rows_, to + begin * rows_);
        });
  }

  // As the second operand, from a row on, or from a column on (which begins a panel).
  void set_from_row(TileProduct<T>& product, std::int64_t row) const {
    product.b = data_;
    product.b_panel = panel_ * rows_;
    product.b_first = row;
  }
  void set_from_column(TileProduct<T>& product, std::int64_t column) const {
    product.b = data_ + column * rows_;
    product.b_panel = panel_ * rows_;
  }

 private:
  void set_shape(std::int64_t rows, std::int64_t columns) {
    rows_ = rows;
    columns_ = columns;
  }
  T* copy() {
    if (!copy_) copy_ = Buffer<T>(rows_, padded<T>(columns_));
    data_ = copy_.data();
    return copy_.data();
  }

  std::int64_t panel_ = table<T>().panel;
  std::int64_t rows_ = 0, columns_ = 0;
  Buffer<T> copy_;
  const T* data_ = nullptr;
};

struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

inline Range block_of(std::int64_t index, std::int64_t size, std::int64_t count) {
  return {index * size, std::min((index + 1) * size, count)};
}

inline std::int64_t blocks(std::int64_t count, std::int64_t size) {
  return count / size + (count % size != 0);
}

// A result [rows, columns] of each head while it is summed: where it will lie, or a copy.
template <class T>
class Sums {
 public:
  Sums(void* to, DType dtype, std::int64_t rows, std::int64_t columns)
      : to_(to), dtype_(dtype), rows_(rows), columns_(columns), width_(padded<T>(columns)) {
    in_place_ = dtype == dtype_of<T> && columns == width_;
    if (to != nullptr && !in_place_) copy_ = Buffer<T>(rows, width_);
  }
  explicit operator bool() const { return to_ != nullptr; }
  std::int64_t width() const { return width_; }
  T* row(std::int64_t head, std::int64_t r) {
    return in_place_ ? static_cast<T*>(to_) + (head * rows_ + r) * columns_
                     : copy_.data() + r * width_;
  }
  void clear(std::int64_t head, Range rows) {
    std::fill_n(row(head, rows.begin), rows.size() * width_, T{0});
  }
  void finish(std::int64_t head, Range rows) {
    if (in_place_) return;
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      table<T>().divide(row(head, r), T{1}, columns_, element_of(dtype_),
                        element(to_, dtype_, (head * rows_ + r) * columns_));
    }
  }

 private:
  void* to_;
  DType dtype_;
  std::int64_t rows_, columns_, width_;
  bool in_place_;
  Buffer<T> copy_;
};

}  // namespace detail

}  // namespace tenon::kernels
