// The mutable cell behind a Tensor. Internal to trace/ and autograd/.
#pragma once

#include <memory>
#include <vector>

#include "core/ref.h"
#include "core/small_vector.h"
#include "trace/graph.h"
#include "trace/node.h"

namespace tenon {

class Segment;

// A view is its base and one movement, re-read after the base was written.
struct View {
  View() {}  // written out, or making one would first clear all of it
  static void* operator new(size_t bytes);
  static void operator delete(void* memory);

  Ref<Cell> base;
  Op op;  // Slice, Permute, Reshape, Expand, Gather (see strided_sizes), Bitcast (axes: dtype),
          // parts of complex numbers, or Alias (detach)
  Dims axes;
  Dims sizes;
  int64_t offset = 0;    // of its first element in the root's storage, in elements
  uint16_t blocked = 0;  // reverse modes blocked where the view was made
  bool detached = false;

  Ref<Cell> root;
};

struct Cell : RefCounted {
  Cell() {}  // written out, as View's
  ~Cell();
  static void* operator new(size_t bytes);
  static void operator delete(void* memory);

  TypeId type = 0;

  // What it names: a node of a segment that has not been compacted, or a buffer.
  Segment* segment = nullptr;
  NodeId node = kNoNode;
  Cell* previous = nullptr;  // the segment's list of the cells that name its nodes
  Cell* next = nullptr;
  Buffer buffer;
  GraphRef derivative;    // of a buffer that depends on leaves
  uint64_t position = 0;  // where the buffer was computed in the stream (see trace/period.h)

  std::unique_ptr<View> view;
  uint32_t version = 0;  // a view's is its root's

  // The node that stands for this cell in the open segment, when it isn't `node` itself.
  uint64_t cached_sequence = 0;
  NodeId cached_node = kNoNode;
  uint32_t cached_version = 0;
  uint64_t leaf_sequence = 0;
  NodeId leaf_node = kNoNode;
  NodeId leaf_of = kNoNode;  // of a view: the root's node that it was read from
  int32_t leaf_depth = 0;

  uint32_t level = 0;  // the vmap instance it was made in
  DerivativeMask keeps =
      0;  // a transform's own cell: depths whose derivative it may still be asked
  bool requires_grad = false;  // a leaf that accumulates
  bool is_parameter = false;
  bool retains_grad = false;
  Ref<LeafAnchor> anchor;
  Ref<Cell> grad;

  DerivativeMask wanted_derivatives() const { return (requires_grad ? 0 : reverse_bit(0)) | keeps; }
  const Cell& root() const { return view ? *view->root : *this; }
  Cell& root() { return view ? *view->root : *this; }
};

}  // namespace tenon
