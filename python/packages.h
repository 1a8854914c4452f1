// Parts of the extension module that belong to one package each.
#pragma once

#include <nanobind/nanobind.h>

namespace tenon::python {

void add_compile(nanobind::module_& m);
void add_cuda(nanobind::module_& m);
void add_inspection(nanobind::module_& m);
void add_library(nanobind::module_& m);
void add_nn(nanobind::module_& m);
void add_optim(nanobind::module_& m);
void add_regions(nanobind::module_& m);

}  // namespace tenon::python
