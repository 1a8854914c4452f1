// Tensors in files: the safetensors format, written atomically and read with every check made
// before anything is allocated.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"
#include "nn/safetensors_header.h"

namespace tenon {

// Runs what is pending and writes the tensors with their names; an older file of that name is
// replaced as a whole or not at all. ValueError: a name that comes twice, is not UTF-8 or is
// "__metadata__", a dtype that the format lacks. OSError: what the file system refuses.
void save_safetensors(const std::string& path, const TensorDict& tensors,
                      const safetensors::Metadata& metadata = {});

struct SafetensorsFile {
  TensorDict tensors;  // in the order of the header
  safetensors::Metadata metadata;
};

// ValueError, saying what is wrong, for a file that is not whole and consistent. The elements are
// read, not mapped: a mapped file that another process shortens would kill the reader.
SafetensorsFile load_safetensors(const std::string& path);

}  // namespace tenon
