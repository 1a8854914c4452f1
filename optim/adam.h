// Adam and AdamW.
#pragma once

#include <utility>

#include "optim/rule.h"

namespace tenon::optim {

template <bool kDecoupled>
struct AdamOptionsOf {
  double lr = 1e-3;
  std::pair<double, double> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = kDecoupled ? 1e-2 : 0;
  bool amsgrad = false;
  bool maximize = false;

  template <class Visit>
  void visit(Visit&& field) {
    field("lr", lr);
    field("betas", betas);
    field("eps", eps);
    field("weight_decay", weight_decay);
    field("amsgrad", amsgrad);
    field("maximize", maximize);
  }
  void validate() const;  // ValueError
};

struct AdamState {
  double step = 0;
  Tensor exp_avg;
  Tensor exp_avg_sq;
  Tensor max_exp_avg_sq;  // with amsgrad only

  template <class Visit>
  void visit(Visit&& field) {
    field("step", step);
    field("exp_avg", exp_avg);
    field("exp_avg_sq", exp_avg_sq);
    field("max_exp_avg_sq", max_exp_avg_sq);
  }
};

// Adam (Kingma & Ba, ICLR 2015) with amsgrad (Reddi et al., ICLR 2018). Decoupled: AdamW, whose
// weight decay shrinks the parameter and leaves the gradient alone (Loshchilov & Hutter, ICLR
// 2019).
template <bool kDecoupled>
struct AdamRuleOf {
  static constexpr const char* kName = kDecoupled ? "AdamW" : "Adam";
  using Options = AdamOptionsOf<kDecoupled>;
  using State = AdamState;
  static void prepare(const Tensor& param, State& state, const Options& options);
  static void update(OpScope& scope, const Tensor& param, Value grad, State& state,
                     const Options& options);
};

extern template struct AdamOptionsOf<false>;
extern template struct AdamOptionsOf<true>;
extern template struct AdamRuleOf<false>;
extern template struct AdamRuleOf<true>;

}  // namespace tenon::optim
