// Relatives of Adam.
#pragma once

#include <utility>

#include "optim/rule.h"

namespace tenon::optim {

struct AdamaxOptions {
  double lr = 2e-3;
  std::pair<double, double> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("betas", betas);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct AdamaxState {
  double step = 0;
  Tensor exp_avg;
  Tensor exp_inf;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("exp_avg", exp_avg);
    field("exp_inf", exp_inf);
  }
};

// The infinity norm in place of the second moment: Kingma & Ba, ICLR 2015, section 7.
struct AdamaxRule {
  static constexpr const char* kName = "Adamax";
  using Options = AdamaxOptions;
  using State = AdamaxState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct NAdamOptions {
  double lr = 2e-3;
  std::pair<double, double> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("betas", betas);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("momentum_decay", momentum_decay);
    field("decoupled_weight_decay", decoupled_weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct NAdamState {
  double step = 0;
  double mu_product = 1;
  Tensor exp_avg;
  Tensor exp_avg_sq;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("mu_product", mu_product);
    field("exp_avg", exp_avg);
    field("exp_avg_sq", exp_avg_sq);
  }
};

// Nesterov momentum: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
struct NAdamRule {
  static constexpr const char* kName = "NAdam";
  using Options = NAdamOptions;
  using State = NAdamState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

struct RAdamOptions {
  double lr = 1e-3;
  std::pair<double, double> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled_weight_decay = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("betas", betas);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("decoupled_weight_decay", decoupled_weight_decay);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct RAdamState {
  double step = 0;
  Tensor exp_avg;
  Tensor exp_avg_sq;

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("exp_avg", exp_avg);
    field("exp_avg_sq", exp_avg_sq);
  }
};

// Rectified: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.
struct RAdamRule {
  static constexpr const char* kName = "RAdam";
  using Options = RAdamOptions;
  using State = RAdamState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

}  // namespace tenon::optim
