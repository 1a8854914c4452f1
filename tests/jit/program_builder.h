// Programs by hand, and what they should compute.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "trace/program.h"

namespace tenon::test {

// A tensor of the tests: values as doubles, dense and row-major.
struct Array {
  DType dtype = DType::Float32;
  std::vector<int64_t> dims;
  std::vector<double> values;
  int64_t numel() const;
};
Array random_array(std::vector<int64_t> dims, uint64_t seed, DType dtype = DType::Float32,
                   double low = -2, double high = 2);
// Whole numbers in [0, bound).
Array random_index(std::vector<int64_t> dims, uint64_t seed, int64_t bound);

class ProgramBuilder {
 public:
  using Ints = std::vector<int64_t>;

  uint32_t input(const Array& array, bool donatable = false);
  // A view of memory in another layout: strides in elements.
  uint32_t input_strided(const Array& array, Ints order);  // memory order of its dims
  uint32_t node(Op op, std::vector<uint32_t> operands, Ints axes = {}, Ints sizes = {});
  uint32_t cast(uint32_t x, DType dtype);
  uint32_t literal(double value, DType dtype = DType::Float32);
  uint32_t scalar(double value, DType dtype = DType::Float32);
  uint32_t iota(Ints dims, int64_t axis, DType dtype = DType::Int64);
  uint32_t random_bits(Ints dims, int64_t seed, int64_t call);
  void output(uint32_t node) { program_.outputs.push_back(node); }
  uint32_t unary(Op op, uint32_t a) { return node(op, {a}); }
  uint32_t binary(Op op, uint32_t a, uint32_t b) { return node(op, {a, b}); }
  uint32_t reduce(Op op, uint32_t x, Ints axes) { return node(op, {x}, std::move(axes)); }
  uint32_t reshape(uint32_t x, Ints dims) { return node(Op::Reshape, {x}, {}, std::move(dims)); }
  uint32_t expand(uint32_t x, Ints dims) { return node(Op::Expand, {x}, {}, std::move(dims)); }
  // Reduces the axes and keeps them with extent 1.
  uint32_t reduce_keep(Op op, uint32_t x, Ints axes);
  const Type& type(uint32_t n) const { return type_of(program_.nodes[n].type); }

  Program& program() { return program_; }

 private:
  uint32_t add(Op op, TypeId type, std::vector<uint32_t> operands, const Ints& axes,
               const Ints& sizes);
  Program program_;
};

Array to_array(const Buffer& buffer);
// Every byte of the outputs' elements, for comparing bits.
std::string bits_of(const std::vector<Buffer>& buffers);

// A plain evaluation, one scalar in double at a time.
std::vector<Array> evaluate(const Program& program);

// max |a - b| / (1 + |b|); infinite where only one is NaN.
double distance(const Array& a, const Array& b);

}  // namespace tenon::test
