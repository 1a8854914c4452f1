// Rules that scale each element's step by what its gradients have been.
#pragma once

#include <utility>

#include "optim/rule.h"

namespace tenon::optim {

struct AdagradOptions {
  double lr = 1e-2;
  double lr_decay = 0;
  double eps = 1e-10;
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("lr_decay", lr_decay);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("initial_accumulator_value", initial_accumulator_value);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct AdagradState {
  double step = 0;
  Tensor sum;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("sum", sum);
  }
};

// Duchi, Hazan & Singer, "Adaptive subgradient methods", JMLR 2011.
struct AdagradRule {
  static constexpr const char* kName = "Adagrad";
  using Options = AdagradOptions;
  using State = AdagradState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct RMSpropOptions {
  double lr = 1e-2;
  double momentum = 0;
  double alpha = 0.99;
  double eps = 1e-8;
  bool centered = false;
  double weight_decay = 0;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("momentum", momentum);
    field("alpha", alpha);
    field("eps", eps);
    field("centered", centered);
    field("weight_decay", weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct RMSpropState {
  double step = 0;
  Tensor square_avg;
  Tensor momentum_buffer;
  Tensor grad_avg;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("square_avg", square_avg);
    field("momentum_buffer", momentum_buffer);
    field("grad_avg", grad_avg);
  }
};

// Tieleman & Hinton, Coursera lecture 6.5, 2012; centered as in Graves, "Generating sequences with
// recurrent neural networks", 2013.
struct RMSpropRule {
  static constexpr const char* kName = "RMSprop";
  using Options = RMSpropOptions;
  using State = RMSpropState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct AdadeltaOptions {
  double lr = 1.0;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("rho", rho);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct AdadeltaState {
  double step = 0;
  Tensor square_avg;
  Tensor acc_delta;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("square_avg", square_avg);
    field("acc_delta", acc_delta);
  }
};

// Zeiler, "Adadelta: an adaptive learning rate method", 2012.
struct AdadeltaRule {
  static constexpr const char* kName = "Adadelta";
  using Options = AdadeltaOptions;
  using State = AdadeltaState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct RpropOptions {
  double lr = 1e-2;
  std::pair<double, double> etas{0.5, 1.2};
  std::pair<double, double> step_sizes{1e-6, 50};
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("etas", etas);
    field("step_sizes", step_sizes);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct RpropState {
  double step = 0;
  Tensor prev;
  Tensor step_size;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("prev", prev);
    field("step_size", step_size);
  }
};

// Riedmiller & Braun, "A direct adaptive method for faster backpropagation", ICNN 1993.
struct RpropRule {
  static constexpr const char* kName = "Rprop";
  using Options = RpropOptions;
  using State = RpropState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

}  // namespace tenon::optim
