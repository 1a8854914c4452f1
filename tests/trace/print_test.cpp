// Text in, text out; and the checker, which finds what is wrong with a program.
#include "trace/print.h"

#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "tests/core/expect_error.h"
#include "tests/trace/values.h"
#include "trace/check.h"
#include "trace/match.h"
#include "trace/origin.h"
#include "trace/parse.h"
#include "trace/recorder.h"

using namespace tenon;
using namespace tenon::testing;

namespace {

const char* const kPrograms[] = {
    "%0: float32[8, 16] = input\n"
    "%1: float32[16, 8]{1, 16} = input donatable\n"
    "%2: float32[] = constant scalar=0.5\n"
    "%3: float32[] = constant literal=-1.5e-300\n"
    "%4: float32[8, 16] = mul %0, %2\n"
    "%5: float32[16, 8] = permute %4 axes=[1, 0]\n"
    "%6: float32[16, 8] = add %5, %1\n"
    "%7: float32[16] = reduce_sum %6 axes=[1]\n"
    "%8: float32[4] = slice %7 sizes=[15, -3]\n"
    "return %4, %8\n",

    "%0: int64[3] = input\n"
    "%1: bool[] = constant literal=1\n"
    "%2: int64[] = constant scalar=-7\n"
    "%3: int64[3] = iota axes=[0] sizes=[3]\n"
    "%4: uint32[2, 3] = random_bits sizes=[2, 3, 42, 7]\n"
    "%5: float16[2, 3] = cast %4\n"
    "%6: float16[2, 3] = gather %5, %0 axes=[1]\n"
    "%7: float64[0] = input\n"
    "%8: float32[] = constant literal=nan\n"
    "%9: float32[] = constant axes=[1, 9221120237041090562]\n"
    "return %6, %3, %7\n",

    "%0: float32[3] = input\n"
    "%1: float32[5, 3] = input\n"
    "%2: float32[] = scan %0, %1 axes=[1, 1, 0] sizes=[5] {\n"
    "  %0: float32[3] = input\n"
    "  %1: float32[3] = input\n"
    "  %2: bool[3] = lt %0, %1\n"
    "  %3: bool[] = reduce_any %2 axes=[0]\n"
    "  %4: float32[] = cond %3, %0 {\n"
    "    %0: float32[3] = input\n"
    "    %1: float32[3] = sin %0\n"
    "    return %1\n"
    "  } {\n"
    "    %0: float32[3] = input\n"
    "    return %0\n"
    "  }\n"
    "  %5: float32[3] = region_output %4 axes=[0]\n"
    "  return %5, %3\n"
    "}\n"
    "%3: float32[3] = region_output %2 axes=[0]\n"
    "%4: bool[5] = region_output %2 axes=[1]\n"
    "return %3, %4\n",

    "return\n",
};

void expect_wrong(const char* what, const std::string& program) {
  CAPTURE(program);
  const Program parsed = parse_program(program);
  expect_error(ErrorKind::Internal, {what}, [&] { check_program(parsed); });
}

}  // namespace

TEST_CASE("a program's text reads back as the same program") {
  for (const char* text : kPrograms) {
    const Program program = parse_program(text);
    CHECK(print(program) == text);
    CHECK_NOTHROW(check_program(program));
  }
}

TEST_CASE("comments and blank lines are skipped") {
  const Program program = parse_program(
      "# a program\n\n%0: float32[2] = input  # model.py:3\n%1: float32[2] = exp %0\nreturn %1");
  CHECK(print(program) == "%0: float32[2] = input\n%1: float32[2] = exp %0\nreturn %1\n");
}

TEST_CASE("types print their strides where these aren't row-major") {
  for (const char* text : {"float32[]", "bool[0, 3]", "complex64[2, 2]{1, 2}", "int8[5]{0}"}) {
    CHECK(print_type(parse_type(text)) == text);
  }
}

TEST_CASE("what can't be read names its line") {
  const auto rejects = [](const char* line, const char* part, const char* text) {
    expect_error(ErrorKind::Value, {line, part}, [&] { parse_program(text); });
  };
  rejects("line 2", "'%1:'", "%0: float32[2] = input\n%5: float32[2] = exp %0\nreturn");
  rejects("line 2", "earlier node", "%0: float32[2] = input\n%1: float32[2] = exp %1\nreturn");
  rejects("line 1", "float33", "%0: float33[2] = input\nreturn");
  rejects("%0", "'frobnicate'", "%0: float32[2] = frobnicate\nreturn");
  rejects("line 1", "an integer", "%0: float32[2,] = input\nreturn");
  rejects("line 1", "axes=", "%0: float32[2] = input donated\nreturn");
  rejects("line 2", "nothing after return", "return\n%0: float32[2] = input\n");
  rejects("return", "ends", "%0: float32[2] = input\n");
}

TEST_CASE("the checker refuses what the rules of a primitive don't allow") {
  const std::string x = "%0: float32[2, 3] = input\n", i = "%1: int64[4] = input\n";
  expect_wrong("number of operands", x + "%1: float32[2, 3] = add %0\nreturn %1\n");
  expect_wrong("sizes", x + "%1: float32[3, 2] = exp %0\nreturn %1\n");
  expect_wrong("dtype", x + "%1: float64[2, 3] = exp %0\nreturn %1\n");
  expect_wrong("dtypes differ", x + i + "%2: float32[2, 3] = add %0, %1\nreturn %2\n");
  expect_wrong("a permutation", x + "%1: float32[3, 3] = permute %0 axes=[1, 1]\nreturn %1\n");
  expect_wrong("ascending", x + "%1: float32[] = reduce_sum %0 axes=[1, 0]\nreturn %1\n");
  expect_wrong("an axis", x + i + "%2: float32[2, 4] = gather %0, %1 axes=[2]\nreturn %2\n");
  expect_wrong("int64", x + "%1: float32[2, 3] = take_along %0, %0 axes=[1]\nreturn %1\n");
  expect_wrong("inside", x + "%1: float32[2, 3] = slice %0 sizes=[0, 1, 1, 1]\nreturn %1\n");
  expect_wrong("number of sizes", x + "%1: float32[6] = reshape %0\nreturn %1\n");
  expect_wrong("no attributes", "%0: float32[2] = input axes=[1]\nreturn\n");
  expect_wrong("each once", x + "%1: float32[] = dot_general %0, %0 axes=[0, 2, 0, 0, 0, 1]\n"
                                "return %1\n");
}

TEST_CASE("the pending trace prints, with lines of source and blocked derivatives") {
  set_origin_hooks({[] { return uint32_t{12}; },
                    [](uint32_t origin) { return fmt::format("model.py:{}", origin); }});
  flush();
  const Tensor x = ramp({2, 3});
  x.set_requires_grad(true);
  const Tensor y = scale(x, 2);
  const Tensor z = mul(y, detach(y));
  const std::string text = pending_trace();
  set_origin_hooks({});
  CHECK(text ==
        "%0: float32[2, 3] = input  # model.py:12\n"
        "%1: float32[2, 3] = alias %0 leaf  # model.py:12\n"
        "%2: float32[] = constant literal=2  # model.py:12\n"
        "%3: float32[2, 3] = mul %1, %2  # model.py:12\n"
        "%4: float32[2, 3] = alias %3 mask=0x0  # model.py:12\n"
        "%5: float32[2, 3] = mul %3, %4  # model.py:12\n"
        "return %3, %5\n");
}

TEST_CASE("what the recorder extracts passes the checker and reads back") {
  flush();
  const Tensor x = ramp({4, 3});
  const Tensor y = sum(mul(narrow(x, 0, 1, 2), narrow(x, 0, 2, 2)));
  const RunRecipe recipe = make_recipe(*recorder().segment);
  CHECK_NOTHROW(check_program(recipe.program));
  const std::string text = print(recipe.program);
  CHECK(print(parse_program(text)) == text);
  CHECK(read(y) == std::vector<float>{3 * 6 + 4 * 7 + 5 * 8 + 6 * 9 + 7 * 10 + 8 * 11});
}
