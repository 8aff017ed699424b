// proto/golden: NAME.hex holds the exact bytes of a frame, as hex digits in lines; NAME.txt what
// libprotobuf reads from them. After a wanted change of the format
//
//   TOWLINE_WRITE_GOLDEN=1 build/bin/unit_wire
//
// writes both again; the difference is to be reviewed like code.
#pragma once

#include <string>
#include <vector>

namespace towline {

bool WritesGoldenFiles();
std::string GoldenPath(const std::string& name, const std::string& suffix);
std::string ReadFileOrEmpty(const std::string& path);
void WriteFile(const std::string& path, const std::string& contents);
std::string FromHexLines(const std::string& hex);
std::string ToHexLines(const std::string& bytes);
// The names of all NAME.hex, sorted.
std::vector<std::string> GoldenNames();

}  // namespace towline
