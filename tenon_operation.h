/* Operations in a shared library of one's own: what it must export, in plain C, so that it depends
   neither on a compiler's ABI nor on a version of Tenon.

       #include "tenon_operation.h"

       static const char* like_first(const tenon_arguments* a, tenon_type* results) {
         results[0] = a->inputs[0].type;
         return NULL;
       }
       static const char* square(const tenon_arguments* a, const tenon_buffer* results) {
         const float* x = (const float*)a->inputs[0].data;
         float* y = (float*)results[0].data;
         for (int64_t i = 0; i < tenon_elements(&a->inputs[0].type); ++i) y[i] = x[i] * x[i];
         return NULL;
       }
       TENON_EXPORT const tenon_operation* tenon_operations(size_t* count) {
         static const tenon_operation all[] = {
             {TENON_ABI, "mine::square(Tensor x) -> Tensor", "x times x.", like_first, square, 0}};
         *count = 1;
         return all;
       }

   From Python: tn.library.load_library("libmine.so"), then tn.ops.mine.square(x).
   Derivatives and batching rules are registered there (tn.library.register_autograd, ...). */
#ifndef TENON_OPERATION_H
#define TENON_OPERATION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define TENON_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define TENON_EXPORT __attribute__((visibility("default")))
#endif

#define TENON_ABI 1
#define TENON_MOST_DIMS 64

/* The numbers that stand for dtypes here; half types are given by their bits. */
enum tenon_dtype {
  TENON_BOOL,
  TENON_UINT8,
  TENON_INT8,
  TENON_INT16,
  TENON_INT32,
  TENON_INT64,
  TENON_UINT16,
  TENON_UINT32,
  TENON_UINT64,
  TENON_FLOAT16,
  TENON_BFLOAT16,
  TENON_FLOAT32,
  TENON_FLOAT64,
  TENON_NO_DTYPE = -1 /* of an input that was not given */
};

typedef struct tenon_type {
  int32_t dtype; /* of enum tenon_dtype */
  int32_t rank;
  int64_t dims[TENON_MOST_DIMS];
} tenon_type;

/* Elements in row-major order; `strides` says the same, in elements. Inputs are not written. */
typedef struct tenon_buffer {
  tenon_type type;
  int64_t strides[TENON_MOST_DIMS];
  void* data;
} tenon_buffer;

enum tenon_kind {
  TENON_NONE,
  TENON_INTEGER,
  TENON_NUMBER,
  TENON_FLAG, /* in `integer`: 0 or 1 */
  TENON_TEXT, /* in `text`, `count` bytes and a zero */
  TENON_INTEGERS,
  TENON_NUMBERS
};

typedef struct tenon_attribute {
  int32_t kind; /* of enum tenon_kind */
  int64_t integer;
  double number;
  int64_t count;
  const char* text;
  const int64_t* integers;
  const double* numbers;
} tenon_attribute;

/* What the call was given: its tensors, and everything else, each in the order of the schema. */
typedef struct tenon_arguments {
  size_t input_count;
  const tenon_buffer* inputs;
  size_t attribute_count;
  const tenon_attribute* attributes;
} tenon_arguments;

/* Gives the types of the results, as many as the schema has; inputs have no data here. Called when
   the operation is recorded. Returns NULL, or what is wrong with the arguments: text that lasts
   until the next call on this thread. */
typedef const char* (*tenon_infer)(const tenon_arguments*, tenon_type* results);

/* Computes all results. Called when they are needed, on any thread, and perhaps again: it must be a
   function of its arguments. Returns NULL, or what failed, as above. */
typedef const char* (*tenon_kernel)(const tenon_arguments*, const tenon_buffer* results);

enum tenon_flag {
  /* Any number of leading dimensions, the same in all inputs and results, are a batch: this is the
     operation's batching rule. */
  TENON_BATCHES_LEADING = 1
};

typedef struct tenon_operation {
  uint32_t abi;       /* TENON_ABI */
  const char* schema; /* "space::name(Tensor x, float scale=1) -> (Tensor, Tensor)" */
  const char* doc;
  tenon_infer infer;
  tenon_kernel kernel;
  uint32_t flags; /* of enum tenon_flag */
} tenon_operation;

/* The one symbol of a library: its operations, which live as long as it is loaded. */
typedef const tenon_operation* (*tenon_operations_function)(size_t* count);

static inline int64_t tenon_elements(const tenon_type* type) {
  int64_t elements = 1;
  for (int32_t d = 0; d < type->rank; ++d) elements *= type->dims[d];
  return elements;
}

#ifdef __cplusplus
}
#endif
#endif
