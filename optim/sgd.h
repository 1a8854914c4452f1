// Stochastic gradient descent, plain, with momentum, and averaged.
#pragma once

#include <utility>

#include "optim/rule.h"

namespace tenon::optim {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("momentum", momentum);
    field("dampening", dampening);
    field("weight_decay", weight_decay);
    field("nesterov", nesterov);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct SGDState {
  Tensor momentum_buffer;
  bool is_fresh = false;  // the buffer has seen no gradient yet

  template <class Visit>
  void visit(Visit&& field) {
    field("momentum_buffer", momentum_buffer);
  }
};

// With momentum as in Sutskever et al., "On the importance of initialization and momentum in deep
// learning", ICML 2013.
struct SGDRule {
  static constexpr const char* kName = "SGD";
  using Options = SGDOptions;
  using State = SGDState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct ASGDOptions {
  double lr = 1e-2;
  double lambd = 1e-4;
  double alpha = 0.75;
  double t0 = 1e6;
  double weight_decay = 0;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("lambd", lambd);
    field("alpha", alpha);
    field("t0", t0);
    field("weight_decay", weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct ASGDState {
  double step = 0;
  double eta = 0;
  double mu = 1;
  Tensor ax;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("eta", eta);
    field("mu", mu);
    field("ax", ax);
  }
};

// Averaged: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
struct ASGDRule {
  static constexpr const char* kName = "ASGD";
  using Options = ASGDOptions;
  using State = ASGDState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

}  // namespace tenon::optim
