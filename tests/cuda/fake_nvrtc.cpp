// NVRTC without a device, for tests: compiles a kernel's text for the host over the emulation. What
// it gives has the form of a cubin; the host's code lies in a section that the fake driver loads.
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr int kSuccess = 0, kCompilation = 6;

struct Program {
  std::string text, log, cubin;
};

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The kernel's name and the types of its parameters, from its declaration.
struct Signature {
  std::string name;
  std::vector<std::string> types;
};
Signature signature_of(const std::string& text) {
  Signature result;
  const size_t declared = text.find("__global__");
  const size_t open = text.find('(', text.find(')', declared) + 1);
  const size_t close = text.find(')', open);
  if (declared == std::string::npos || close == std::string::npos) return result;
  const size_t name = text.find_last_of(" \n", open) + 1;
  result.name = text.substr(name, open - name);
  for (size_t begin = open + 1; begin < close;) {
    const size_t end = std::min(text.find(',', begin), close);
    const std::string parameter = text.substr(begin, end - begin);
    const size_t first = parameter.find_first_not_of(" \n");
    result.types.push_back(parameter.substr(first, parameter.find_last_of(" *") + 1 - first));
    begin = end + 1;
  }
  return result;
}

std::string host_text(const std::string& text, const Signature& kernel) {
  std::string arguments;
  for (size_t i = 0; i < kernel.types.size(); ++i) {
    if (i > 0) arguments += ", ";
    arguments += "*(" + kernel.types[i] + "*)p[" + std::to_string(i) + "]";
  }
  return "#include \"" TENON_EMULATION_HEADER "\"\n" + text +
         "\nextern \"C\" {\nextern const int launch_" + kernel.name +
         "_parameters = " + std::to_string(kernel.types.size()) + ";\nvoid launch_" + kernel.name +
         "(void** p, unsigned blocks) {\n  emulation::run_grid(blocks, [=] { " + kernel.name + "(" +
         arguments + "); });\n}\n}\n";
}

// An ELF file for the machine 190 with the sections .text.NAME, empty, and .tenon.host.
std::string as_cubin(const std::string& name, const std::string& code, int architecture) {
  const std::string names =
      std::string("\0.shstrtab\0.text.", 17) + name + '\0' + ".tenon.host" + '\0';
  Elf64_Ehdr header{};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_ABIVERSION] = 7;
  header.e_machine = 190;
  header.e_flags = static_cast<uint32_t>(architecture);
  header.e_ehsize = sizeof header;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  header.e_shstrndx = 1;
  const uint64_t names_at = sizeof header, code_at = names_at + names.size();
  header.e_shoff = code_at + code.size();
  Elf64_Shdr sections[4]{};
  sections[1].sh_name = 1;
  sections[1].sh_offset = names_at;
  sections[1].sh_size = names.size();
  sections[2].sh_name = 11;
  sections[2].sh_offset = code_at;
  sections[3].sh_name = static_cast<uint32_t>(11 + 6 + name.size() + 1);
  sections[3].sh_offset = code_at;
  sections[3].sh_size = code.size();
  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  file += names + code;
  return file.append(reinterpret_cast<const char*>(sections), sizeof sections);
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return kSuccess;
}
const char* nvrtcGetErrorString(int result) {
  return result == kSuccess ? "NVRTC_SUCCESS" : "NVRTC_ERROR_COMPILATION";
}
int nvrtcCreateProgram(Program** program, const char* text, const char*, int, const char* const*,
                       const char* const*) {
  *program = new Program{text, "", ""};
  return kSuccess;
}
int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return kSuccess;
}
int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  namespace fs = std::filesystem;
  int architecture = 0;
  for (int i = 0; i < count; ++i) {
    constexpr char kOption[] = "--gpu-architecture=sm_";
    if (strncmp(options[i], kOption, sizeof kOption - 1) == 0) {
      architecture = atoi(options[i] + sizeof kOption - 1);
    }
  }
  const Signature kernel = signature_of(program->text);
  std::string folder = (fs::temp_directory_path() / "tenon-nvrtc-XXXXXX").string();
  if (kernel.name.empty() || architecture == 0 || !mkdtemp(folder.data())) return kCompilation;
  const fs::path source = fs::path(folder) / "kernel.cpp", library = fs::path(folder) / "kernel.so",
                 log = fs::path(folder) / "log";
  std::ofstream(source) << host_text(program->text, kernel);
  const std::string command = TENON_HOST_COMPILER
                              " -std=c++20 -O0 -w -fPIC -shared -ffp-contract=off -fno-math-errno "
                              "-U_FORTIFY_SOURCE " +
                              source.string() + " -o " + library.string() + " > " + log.string() +
                              " 2>&1";
  const bool done = system(command.c_str()) == 0;
  if (done) {
    program->cubin = as_cubin(kernel.name, read_file(library), architecture);
  } else {
    program->log = read_file(log);
  }
  fs::remove_all(folder);
  return done ? kSuccess : kCompilation;
}
int nvrtcGetProgramLogSize(Program* program, size_t* size) {
  *size = program->log.size() + 1;
  return kSuccess;
}
int nvrtcGetProgramLog(Program* program, char* log) {
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return kSuccess;
}
int nvrtcGetCUBINSize(Program* program, size_t* size) {
  *size = program->cubin.size();
  return kSuccess;
}
int nvrtcGetCUBIN(Program* program, char* cubin) {
  memcpy(cubin, program->cubin.data(), program->cubin.size());
  return kSuccess;
}

}  // extern "C"
