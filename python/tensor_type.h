// The Python type of tensors. Written against CPython directly: an operator costs a few tens of
// nanoseconds beyond the recording.
#pragma once

#include <Python.h>

#include "trace/tensor.h"

namespace tenon::python {

struct TensorObject {
  PyObject_HEAD PyObject* dict;
  PyObject* weak_references;
  Tensor tensor;
};

extern PyTypeObject* tensor_type;
extern PyTypeObject* parameter_type;  // tenon.nn.Parameter, once the package has declared it
extern PyTypeObject* size_type;       // tenon.Size

PyTypeObject* make_tensor_type(PyObject* module);
bool make_size_type(PyObject* module);
PyObject* wrap_as(PyTypeObject* type, Tensor&& tensor);
PyObject* make_size(std::span<const int64_t> dims);

// dtype and device objects.
PyObject* dtype_object(DType dtype);  // borrowed
PyObject* device_object(Device device);
bool is_dtype(PyObject* object);
bool is_device(PyObject* object);
bool is_generator(PyObject* object);
void add_types(PyObject* module);

// Parts of the type that have files of their own.
PyObject* get_item(PyObject* self, PyObject* index);
int set_item(PyObject* self, PyObject* index, PyObject* value);
void put_items(const Tensor& x, PyObject* items, PyObject* value, bool accumulate);
PyObject* to_list(const Tensor& tensor);
PyObject* to_python_number(const Tensor& tensor);
bool truth_of(const Tensor& tensor);  // Python's bool
extern PyMethodDef tensor_methods[];
extern PyMethodDef conversion_functions[];
extern PyMethodDef dlpack_functions[];
extern PyGetSetDef tensor_attributes[];

// A tensor of Python data: numbers, nested sequences, arrays, tensors.
Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype);
// A number or data as a tensor that meets `like` in an operation.
Tensor tensor_from_operand(PyObject* data, const Tensor& like);

}  // namespace tenon::python
