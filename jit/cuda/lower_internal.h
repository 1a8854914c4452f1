// The state of lowering one kernel, shared by the files that write expressions and structure.
#pragma once

#include <string>
#include <vector>

#include "jit/cuda/lower.h"

namespace tenon::cuda {

const char* type_name(loop::Scalar type);  // as prelude.cuh names it
// A constant that has exactly these bits.
std::string literal(loop::Scalar type, int64_t bits);

class Lowering {
 public:
  Lowering(const loop::Kernel& kernel, const std::string& symbol);
  std::string run();

 private:
  // lower.cpp: structure
  void head();
  void line(const std::string& text);
  void lower_node(loop::Value v);
  void begin_for(loop::Value v);
  void end_body();
  void begin_if(loop::Value v);
  void begin_else();
  void assign(const std::vector<std::string>& to, size_t first_operand);
  void store(const loop::Node& node);
  std::string load(const loop::Node& node);
  std::string element(const loop::Node& node, size_t& first);
  void check(const loop::Node& node);

  // arithmetic.cpp: one expression a node
  std::string expression(const loop::Node& node);
  std::string unary(const loop::Node& node);
  std::string binary(const loop::Node& node);
  std::string reduce(const loop::Node& node);
  std::string cast(loop::Scalar to, loop::Scalar from, const std::string& x) const;
  std::string bitcast(loop::Scalar to, loop::Scalar from, const std::string& x) const;

  const std::string& operand(size_t i) const { return names_[operands_[i]]; }
  const loop::Node& operand_node(size_t i) const { return kernel_[operands_[i]]; }
  loop::Scalar operand_type(size_t i) const { return operand_node(i).type; }

  struct Bracket {
    loop::Value number;
    std::vector<std::string> carried;  // variables that outlive the bracket
  };

  const loop::Kernel& kernel_;
  const std::string symbol_;
  const Order order_;
  std::string text_;
  int depth_ = 0;
  std::vector<std::string> names_;  // by value: a variable, or a short expression
  std::span<const loop::Value> operands_;
  std::vector<Bracket> brackets_;
  std::vector<std::string> results_;  // of the bracket that just ended
};

}  // namespace tenon::cuda
