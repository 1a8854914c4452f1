// Every kernel is compiled here: objects of earlier runs on the disk would hide what is tested.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

int main(int argc, char** argv) {
  setenv("TENON_CACHE", "0", 1);
  return doctest::Context(argc, argv).run();
}
