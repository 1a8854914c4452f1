"""What bodies may use: kinds of values, and the helpers with their C++."""

from __future__ import annotations

from dataclasses import dataclass

from .signature import Parameter


class BodyError(Exception):
    """What is wrong with a body; the caller adds where it stands."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


VALUE, INT, FLOAT, BOOL, STR = "value", "int", "float", "bool", "str"
INTS, DTYPE, SCALAR, VALUES, NONE, NUMBER = "int[]", "dtype", "scalar", "value[]", "none", "number"
DEVICE, GENERATOR, FLOATS = "device", "generator", "float[]"

PARAMETER_KINDS = {
    "Tensor": VALUE,
    "Operand": VALUE,
    "Scalar": SCALAR,
    "float": FLOAT,
    "int": INT,
    "bool": BOOL,
    "str": STR,
    "dtype": DTYPE,
    "device": DEVICE,
    "Generator": GENERATOR,
}

# Python's errors, as ErrorKind.
ERROR_KINDS = {
    "RuntimeError": "Runtime",
    "ValueError": "Value",
    "IndexError": "Index",
    "TypeError": "Type",
    "NotImplementedError": "NotImplemented",
}

# Helpers of trace/ops/helpers.h and trace/value.h: arguments, result, C++.
HELPERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "rank": ((VALUE,), INT, "int64_t{{tenon::rank({0})}}"),
    "size": ((VALUE, INT), INT, "size_of_dim({0}, {1})"),
    "dims": ((VALUE,), INTS, "Dims(tenon::dims({0}))"),
    "numel": ((VALUE,), INT, "type_of({0}).numel"),
    "dtype_of": ((VALUE,), DTYPE, "tenon::dtype({0})"),
    "device_of": ((VALUE,), DEVICE, "type_of({0}).device"),
    "is_floating": ((DTYPE,), BOOL, "is_floating({0})"),
    "is_complex": ((DTYPE,), BOOL, "is_complex({0})"),
    "is_integral": ((DTYPE,), BOOL, "is_integral({0}, true)"),
    "default_dtype": ((), DTYPE, "default_dtype()"),
    "len": ((INTS,), INT, "static_cast<int64_t>({0}.size())"),
    "cast": ((VALUE, DTYPE), VALUE, "ops::cast({0}, {1})"),
    "literal": ((NUMBER, DTYPE), VALUE, "ops::literal({0}, {1})"),
    "axis_of": ((INT, VALUE), INT, "normalize_dim({0}, tenon::rank({1}))"),
    "axes_of": ((INTS, VALUE), INTS, "normalize_dims({0}, tenon::rank({1}))"),
    "all_axes": ((VALUE,), INTS, "all_dims(tenon::rank({0}))"),
    "extent_of": ((VALUE, INTS), INT, "extent_of({0}, {1})"),
    "reduce_sum": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceSum, {0}, {1}, {2})"),
    "reduce_prod": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceProd, {0}, {1}, {2})"),
    "reduce_max": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceMax, {0}, {1}, {2})"),
    "reduce_min": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceMin, {0}, {1}, {2})"),
    "reduce_any": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceAny, {0}, {1}, {2})"),
    "reduce_all": ((VALUE, INTS, BOOL), VALUE, "ops::reduce(Op::ReduceAll, {0}, {1}, {2})"),
    "stop_gradient": ((VALUE,), VALUE, "ops::stop_gradient({0})"),
    "common_dims": ((VALUE, VALUE), INTS, "common_dims({0}, {1})"),
    "expand_to": ((VALUE, INTS), VALUE, "ops::expand({0}, {1})"),
    "reshape_to": ((VALUE, INTS), VALUE, "ops::reshape({0}, {1})"),
    "permute_to": ((VALUE, INTS), VALUE, "ops::permute({0}, {1})"),
    "gather_axis": ((VALUE, VALUE, INT), VALUE, "ops::gather({0}, {1}, {2})"),
    "take_along_axis": ((VALUE, VALUE, INT), VALUE, "ops::take_along({0}, {1}, {2})"),
    "iota": ((INTS, INT), VALUE, "ops::iota({0}, {1})"),
    "uniform_bits": ((INTS, GENERATOR), VALUE, "draw_bits({0}, {1})"),
    "select_value": ((VALUE, VALUE, VALUE), VALUE, "ops::select({0}, {1}, {2})"),
    "accumulator": ((DTYPE,), DTYPE, "(is_half({0}) ? DType::Float32 : {0})"),
    "floating": ((VALUE,), VALUE, "as_floating({0})"),
    "as_bool": ((VALUE,), VALUE, "ops::cast({0}, DType::Bool)"),
    "pow10": ((INT,), FLOAT, "std::pow(10.0, static_cast<double>({0}))"),
    "power": ((FLOAT, FLOAT), FLOAT, "std::pow({0}, {1})"),
    "log_of_one_less": ((FLOAT,), FLOAT, "std::log1p(-{0})"),
    "root": ((FLOAT,), FLOAT, "std::sqrt({0})"),
    "uniform01": ((INTS, DTYPE, GENERATOR), VALUE, "uniform01({0}, {1}, {2})"),
    "unsqueeze_at": ((VALUE, INT), VALUE, "ops::unsqueeze({0}, {1})"),
    "full_of": ((INTS, VALUE), VALUE, "ops::full({0}, {1})"),
    "largest_of": ((DTYPE,), FLOAT, "largest_of({0})"),
    "check_floating": ((VALUE,), NONE, "check_floating({{{0}}}, ErrorKind::NotImplemented)"),
    "check_numbers": ((VALUE,), NONE, "check_numbers({{{0}}}, ErrorKind::NotImplemented)"),
    "check_not_empty": ((VALUE, INTS), NONE, "check_not_empty({0}, {1})"),
    "index_of_extreme": ((VALUE, INT, BOOL), VALUE, "index_of_extreme({0}, {1}, {2})"),
    "matmul_transposed": ((VALUE, VALUE), VALUE, "matmul_transposed({0}, {1})"),
    "pick": ((VALUE, VALUE, INT), VALUE, "pick({0}, {1}, {2})"),
    "running": ((VALUE, INT, STR), VALUE, "running({0}, {1}, {2})"),
    "running_index": ((VALUE, VALUE, INT), VALUE, "running_index({0}, {1}, {2})"),
    "ones_of": ((INT,), INTS, "Dims(static_cast<size_t>({0}), 1)"),
    "non_negative": ((FLOAT,), FLOAT, "std::max(0.0, {0})"),
    "check_same_size": ((VALUE, VALUE), NONE, "check_same_size({0}, {1})"),
    "softmax_dim": ((INT,), INT, "softmax_dim({0})"),
    "axis_of_three": ((VALUE,), INT, "axis_of_three({0})"),
    "other_axes": ((VALUE, INT), INTS, "other_axes({0}, {1})"),
    "trailing_axes": ((VALUE, INTS), INTS, "trailing_axes({0}, {1})"),
    "epsilon_of": ((DTYPE,), FLOAT, "epsilon_of({0})"),
    "arange_of": ((NUMBER, NUMBER, NUMBER, "dtype?"), VALUE, "arange_of({0}, {1}, {2}, {3})"),
    "normal01": ((INTS, DTYPE, GENERATOR), VALUE, "normal01({0}, {1}, {2})"),
    "random_integers": (
        (INT, INT, INTS, DTYPE, GENERATOR),
        VALUE,
        "random_integers({0}, {1}, {2}, {3}, {4})",
    ),
    "reduce_loss": ((VALUE, STR), VALUE, "reduce_loss({0}, {1})"),
    "in_groups": ((VALUE, INT), VALUE, "in_groups({0}, {1})"),
    "channel_vector": ((VALUE, INT), VALUE, "channel_vector({0}, {1})"),
    "conjugate": ((VALUE,), VALUE, "ops::conj({0})"),
    "real_part": ((VALUE,), VALUE, "ops::part({0}, 0)"),
    "imaginary_part": ((VALUE,), VALUE, "ops::part({0}, 1)"),
    "angle_of": ((VALUE,), VALUE, "ops::angle({0})"),
    "direction": ((VALUE,), VALUE, "ops::direction({0})"),
    "magnitude": ((VALUE,), VALUE, "ops::magnitude({0})"),
    "real_dtype": ((DTYPE,), DTYPE, "real_dtype({0})"),
    "complex_dtype": ((DTYPE,), DTYPE, "complex_dtype({0})"),
    "check_matrix": ((VALUE, STR), NONE, "check_matrix({0}, {1})"),
    "check_square_matrix": ((VALUE, STR), NONE, "check_square_matrix({0}, {1})"),
    "check_same_dtype": ((VALUE, VALUE), NONE, "check_same_dtype({0}, {1})"),
    "broadcast_batch": ((VALUE, VALUE), VALUE, "broadcast_batch({0}, {1})"),
    "matrix_identity": ((VALUE, INT), VALUE, "matrix_identity({0}, {1})"),
    "conjugate_transpose": ((VALUE,), VALUE, "conjugate_transpose({0})"),
    "diagonal_of": ((VALUE,), VALUE, "diagonal_of({0})"),
    "diagonal_from": ((VALUE,), VALUE, "diagonal_from({0})"),
    "lower_part": ((VALUE, BOOL), VALUE, "lower_part({0}, {1})"),
    "upper_part": ((VALUE,), VALUE, "upper_part({0})"),
    "cholesky_factor": ((VALUE, BOOL, STR), VALUE, "cholesky_factor({0}, {1}, {2})"),
    "cholesky_failures": ((VALUE, BOOL, STR), VALUE, "cholesky_failures({0}, {1}, {2})"),
    "lu_factors": ((VALUE, STR), VALUE, "lu_factors({0}, {1})"),
    "lu_pivots": ((VALUE, STR), VALUE, "lu_pivots({0}, {1})"),
    "lu_failures": ((VALUE, STR), VALUE, "lu_failures({0}, {1})"),
    "pivot_order": ((VALUE, INT), VALUE, "pivot_order({0}, {1})"),
    "take_rows": ((VALUE, VALUE), VALUE, "take_rows({0}, {1})"),
    "put_rows": ((VALUE, VALUE), VALUE, "put_rows({0}, {1})"),
    "permutation_matrix": ((VALUE, VALUE), VALUE, "permutation_matrix({0}, {1})"),
    "permutation_sign": ((VALUE, DTYPE), VALUE, "permutation_sign({0}, {1})"),
    "qr_factor": ((VALUE, BOOL, STR), VALUE, "qr_factor({0}, {1}, {2})"),
    "eigh_result": ((VALUE, STR, BOOL, STR), VALUE, "eigh_result({0}, {1}, {2}, {3})"),
    "eig_result": ((VALUE, BOOL, STR), VALUE, "eig_result({0}, {1}, {2})"),
    "svd_result": ((VALUE, STR, STR), VALUE, "svd_result({0}, {1}, {2})"),
    "triangle_solve": (
        (VALUE, VALUE, BOOL, BOOL, BOOL),
        VALUE,
        "triangle_solve({0}, {1}, {2}, {3}, {4})",
    ),
    "matrix_exponential": ((VALUE,), VALUE, "matrix_exponential({0})"),
    "integer_power": ((VALUE, INT), VALUE, "integer_power({0}, {1})"),
    "chain_product": ((VALUES,), VALUE, "chain_product({0})"),
    "reflectors_product": ((VALUE, VALUE), VALUE, "reflectors_product({0}, {1})"),
    "reflectors_applied": (
        (VALUE, VALUE, VALUE, BOOL, BOOL),
        VALUE,
        "reflectors_applied({0}, {1}, {2}, {3}, {4})",
    ),
    "check_square": ((VALUE, STR), NONE, "check_square({0}, {1})"),
    "is_vector_for": ((VALUE, VALUE), BOOL, "is_vector_for({0}, {1})"),
    "lu_solution": ((VALUE, VALUE, BOOL, STR), VALUE, "lu_solution({0}, {1}, {2}, {3})"),
    "factored_solution": (
        (VALUE, VALUE, VALUE, BOOL, BOOL),
        VALUE,
        "factored_solution({0}, {1}, {2}, {3}, {4})",
    ),
    "eye_of": ((VALUE,), VALUE, "eye_of({0})"),
    "mT_of": ((VALUE,), VALUE, "mT_of({0})"),
    "replaced_dims": ((VALUE, INT, INT), INTS, "replaced_dims({0}, {1}, {2})"),
    "condition_of": ((VALUE, VALUE, VALUE), VALUE, "condition_of({0}, {1}, {2})"),
    "named_matrix_norm": ((VALUE, STR), VALUE, "named_matrix_norm({0}, {1})"),
    "spectral_norm": (
        (VALUE, INT, INT, STR, BOOL),
        VALUE,
        "spectral_norm({0}, {1}, {2}, {3}, {4})",
    ),
    "powers_of": ((VALUE, INT), VALUE, "powers_of({0}, {1})"),
    "joined": ((VALUE, VALUE, INT), VALUE, "joined({0}, {1}, {2})"),
    "points_of": ((INT, DTYPE), VALUE, "points_of({0}, {1})"),
    "cosine_window": (
        (INT, BOOL, FLOAT, FLOAT, FLOAT, FLOAT, DTYPE),
        VALUE,
        "cosine_window({0}, {1}, FloatList{{{2}, {3}, {4}, {5}}}, {6})",
    ),
    "general_cosine_of": ((INT, BOOL, FLOATS, DTYPE), VALUE, "cosine_window({0}, {1}, {2}, {3})"),
    "bartlett_of": ((INT, BOOL, DTYPE), VALUE, "bartlett_of({0}, {1}, {2})"),
    "sine_of": ((INT, BOOL, DTYPE), VALUE, "sine_of({0}, {1}, {2})"),
    "kaiser_of": ((INT, BOOL, FLOAT, DTYPE), VALUE, "kaiser_of({0}, {1}, {2}, {3})"),
    "empty_of": ((INTS, VALUE), VALUE, "ops::full({0}, ops::literal_like({1}, 0))"),
    "is_half": ((DTYPE,), BOOL, "is_half({0})"),
    "feature_dims": ((VALUE,), INTS, "feature_dims({0})"),
    "index_of_pairs": ((INT, BOOL), VALUE, "index_of_pairs({0}, {1})"),
    "fit_variance": ((VALUE, VALUE), VALUE, "fit_variance({0}, {1})"),
    "redirect": ((VALUE, VALUE), VALUE, "ops::redirect({0}, {1})"),
    "next_half": ((VALUE, VALUE), VALUE, "next_half({0}, {1})"),
    "grid_sample_by_number": (
        (VALUE, VALUE, INT, INT, BOOL),
        VALUE,
        "grid_sample_by_number({0}, {1}, {2}, {3}, {4})",
    ),
    "linspace_between": (
        (VALUE, VALUE, INT, "dtype?"),
        VALUE,
        "linspace_between({0}, {1}, {2}, {3})",
    ),
    "dtype_or": (("dtype?", DTYPE), DTYPE, "({0}).value_or({1})"),
    "fill_masked": ((VALUE, VALUE, STR), VALUE, "fill_masked({0}, {1}, {2})"),
    "count_kept": ((VALUE, VALUE, INTS, BOOL), VALUE, "count_kept({0}, {1}, {2}, {3})"),
    "masked_variance": (
        (VALUE, VALUE, INTS, FLOAT, BOOL, DTYPE),
        VALUE,
        "masked_variance({0}, {1}, {2}, {3}, {4}, {5})",
    ),
    "identity_then": ((INT, INTS), INTS, "identity_then({0}, {1})"),
}


@dataclass
class Code:
    text: str
    kind: str
    optional: bool = False  # an std::optional that must be unwrapped
    literal: float | int | None = None


def parameter_code(p: Parameter) -> Code:
    """A parameter of the operation, as the body names it."""
    if p.type.is_list:
        kind = {"int": INTS, "extent": INTS, "Tensor": VALUES, "float": FLOATS}[p.type.base]
    else:
        kind = PARAMETER_KINDS[p.type.base]
    wrapped = p.type.optional and kind not in (VALUE, GENERATOR)
    return Code(p.cpp_name, kind, optional=wrapped)
