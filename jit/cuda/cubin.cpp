// A cubin is an ELF file. The sections: .text.NAME is a kernel's code, .nv.shared.NAME what it has
// of shared memory, .nv.info a list of attributes by symbol: format and attribute (a byte each),
// size (two), then for those read here the symbol and the value (four each). They are not
// documented by NVIDIA; tests compare what is read with the compiler's own report.
#include "jit/cuda/cubin.h"

#include <elf.h>

#include <cstring>
#include <string_view>

namespace tenon::cuda {

namespace {

constexpr uint8_t kSizedValue = 0x04, kRegisterCount = 0x2f, kFrameSize = 0x11;
constexpr uint16_t kMachine = 190;  // EM_CUDA

class Reader {
 public:
  explicit Reader(std::span<const std::byte> file) : file_(file) {}

  template <class T>
  bool read(uint64_t offset, T& value) const {
    if (offset > file_.size() || file_.size() - offset < sizeof(T)) return false;
    std::memcpy(&value, file_.data() + offset, sizeof(T));
    return true;
  }

  std::string_view text(uint64_t offset) const {
    if (offset >= file_.size()) return {};
    const auto* begin = reinterpret_cast<const char*>(file_.data()) + offset;
    return {begin, strnlen(begin, file_.size() - offset)};
  }

 private:
  std::span<const std::byte> file_;
};

void read_attributes(const Reader& reader, const Elf64_Shdr& section, CubinInfo& info) {
  for (uint64_t at = section.sh_offset, end = at + section.sh_size; at + 4 <= end;) {
    uint8_t format = 0, attribute = 0;
    uint16_t size = 0;
    if (!reader.read(at, format) || !reader.read(at + 1, attribute) || !reader.read(at + 2, size)) {
      return;
    }
    uint32_t value = 0;
    if (format == kSizedValue && size == 8 && reader.read(at + 8, value)) {
      if (attribute == kRegisterCount) info.registers = value;
      if (attribute == kFrameSize) info.stack_bytes = value;
    }
    at += 4 + (format == kSizedValue ? size : 0);
  }
}

}  // namespace

std::optional<CubinInfo> read_cubin(std::span<const std::byte> cubin) {
  const Reader reader(cubin);
  Elf64_Ehdr header;
  if (!reader.read(0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_machine != kMachine || header.e_shentsize != sizeof(Elf64_Shdr)) {
    return {};
  }
  Elf64_Shdr names;
  if (!reader.read(header.e_shoff + header.e_shstrndx * sizeof names, names)) return {};
  CubinInfo info;
  // The architecture stands in the low byte up to version 7 of the format, in the second after it.
  info.architecture =
      header.e_ident[EI_ABIVERSION] >= 8 ? header.e_flags >> 8 & 0xff : header.e_flags & 0xff;
  int kernels = 0;
  for (uint16_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    if (!reader.read(header.e_shoff + i * sizeof section, section)) return {};
    const std::string_view name = reader.text(names.sh_offset + section.sh_name);
    if (name.starts_with(".text.")) {
      info.symbol = name.substr(6);
      ++kernels;
    }
    if (name == ".nv.info") read_attributes(reader, section, info);
    if (name.starts_with(".nv.shared.") && !name.starts_with(".nv.shared.reserved")) {
      info.shared_bytes = static_cast<uint32_t>(section.sh_size);
    }
  }
  if (kernels != 1) return {};
  return info;
}

}  // namespace tenon::cuda
