#include "core/env.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/log.h"
#include "tests/core/expect_error.h"

using namespace tenon;

namespace {

std::vector<std::string> g_warnings;

// Collects warnings, and removes the variable afterwards.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    setenv(name, value, 1);
    g_warnings.clear();
    set_warning_handler([](std::string_view message) { g_warnings.emplace_back(message); });
  }
  ~Variable() {
    unsetenv(name_);
    set_warning_handler(nullptr);
  }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("unset and empty values give the default") {
  CHECK_FALSE(env_value("TENON_TEST_UNSET").has_value());
  CHECK(env_int("TENON_TEST_UNSET", 5, 0, 9) == 5);
  const Variable empty("TENON_TEST_EMPTY", "");
  CHECK(env_flag("TENON_TEST_EMPTY", true));
  CHECK(env_string("TENON_TEST_EMPTY", "x") == "x");
  CHECK(g_warnings.empty());
}

TEST_CASE("whole numbers") {
  struct Case {
    const char* text;
    std::int64_t value;
    bool good;
  };
  for (const Case& c : {Case{"7", 7, true},
                        {"-3", -3, true},
                        {"100", 100, true},
                        {"101", 5, false},
                        {"-4", 5, false},
                        {"7x", 5, false},
                        {"1e1", 5, false},
                        {"0x7", 5, false},
                        {"99999999999999999999", 5, false},
                        {" 7", 5, false}}) {
    CAPTURE(c.text);
    const Variable variable("TENON_TEST_INT", c.text);
    CHECK(env_int("TENON_TEST_INT", 5, -3, 100) == c.value);
    CHECK(g_warnings.empty() == c.good);
  }
}

TEST_CASE("a bad value warns once and says what is allowed") {
  const Variable variable("TENON_TEST_ONCE", "many");
  for (int i = 0; i < 3; ++i) CHECK(env_int("TENON_TEST_ONCE", 2, 1, 64) == 2);
  REQUIRE(g_warnings.size() == 1);
  for (const char* part : {"TENON_TEST_ONCE", "many", "1..64", "using 2"}) {
    CHECK(g_warnings[0].find(part) != std::string::npos);
  }
}

TEST_CASE("flags") {
  for (const char* text : {"1", "true", "YES", "On"}) {
    const Variable variable("TENON_TEST_FLAG", text);
    CHECK(env_flag("TENON_TEST_FLAG", false));
  }
  for (const char* text : {"0", "False", "no", "OFF"}) {
    const Variable variable("TENON_TEST_FLAG", text);
    CHECK_FALSE(env_flag("TENON_TEST_FLAG", true));
  }
  const Variable variable("TENON_TEST_FLAG", "maybe");
  CHECK(env_flag("TENON_TEST_FLAG", true));
  CHECK(g_warnings.size() == 1);
}

TEST_CASE("byte counts") {
  struct Case {
    const char* text;
    std::int64_t value;
  };
  for (const Case& c : {Case{"0", 0},
                        {"123", 123},
                        {"2K", 2048},
                        {"512m", 512 << 20},
                        {"4G", std::int64_t{4} << 30},
                        {"1T", std::int64_t{1} << 40},
                        {"K", -1},
                        {"-1", -1},
                        {"9000000000000T", -1},
                        {"1GB", -1},
                        {"1.5G", -1}}) {
    CAPTURE(c.text);
    const Variable variable("TENON_TEST_BYTES", c.text);
    CHECK(env_bytes("TENON_TEST_BYTES", -1) == c.value);
  }
}

TEST_CASE("choices and sets") {
  constexpr std::string_view choices[] = {"red", "green", "blue"};
  {
    const Variable variable("TENON_TEST_CHOICE", "blue");
    CHECK(env_choice("TENON_TEST_CHOICE", choices, 0) == 2);
    CHECK(env_set("TENON_TEST_CHOICE", choices, 0) == 4);
  }
  {
    const Variable variable("TENON_TEST_CHOICE", "red,blue");
    CHECK(env_set("TENON_TEST_CHOICE", choices, 0) == 5);
    CHECK(g_warnings.empty());
    CHECK(env_choice("TENON_TEST_CHOICE", choices, 1) == 1);
    CHECK(g_warnings.size() == 1);
  }
  {
    const Variable variable("TENON_TEST_CHOICE", "all");
    CHECK(env_set("TENON_TEST_CHOICE", choices, 0) == 7);
  }
  const Variable variable("TENON_TEST_CHOICE", "red,purple");
  CHECK(env_set("TENON_TEST_CHOICE", choices, 2) == 2);
  REQUIRE(g_warnings.size() == 1);
  CHECK(g_warnings[0].find("purple") != std::string::npos);
}

TEST_CASE("log categories") {
  set_logs("plan,cache");
  CHECK(log_enabled(Category::Plan));
  CHECK(log_enabled(Category::Cache));
  CHECK_FALSE(log_enabled(Category::Flush));
  set_logs("all");
  for (int i = 0; i < kCategoryCount; ++i) CHECK(log_enabled(static_cast<Category>(i)));
  testing::expect_error(ErrorKind::Value, {"plans", "flush"}, [] { set_logs("plans"); });
  CHECK(log_enabled(Category::Plan));  // unchanged by the failed call
  set_logs("");
  CHECK_FALSE(log_enabled(Category::Plan));
}
