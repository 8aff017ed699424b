#include "wire/golden_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace towline {

bool WritesGoldenFiles() { return std::getenv("TOWLINE_WRITE_GOLDEN") != nullptr; }

std::string GoldenPath(const std::string& name, const std::string& suffix) {
  return std::string(TOWLINE_SOURCE_DIR) + "/proto/golden/" + name + suffix;
}

std::string ReadFileOrEmpty(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

std::string FromHexLines(const std::string& hex) {
  std::string bytes;
  std::string digits;
  for (char c : hex) {
    if (c == '\n') continue;
    digits.push_back(c);
    if (digits.size() < 2) continue;
    bytes.push_back(static_cast<char>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return bytes;
}

std::string ToHexLines(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  constexpr size_t kBytesPerLine = 32;
  std::string hex;
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto byte = static_cast<unsigned char>(bytes[i]);
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
    if ((i + 1) % kBytesPerLine == 0 || i + 1 == bytes.size()) hex.push_back('\n');
  }
  return hex;
}

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(TOWLINE_SOURCE_DIR) + "/proto/golden")) {
    if (file.path().extension() == ".hex") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace towline
