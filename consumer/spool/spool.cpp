#include "spool/spool.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/error.h"
#include "base/format.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// A small transaction takes a small block, a large one blocks of the size that frames have.
constexpr size_t kBlockBytesMin = 4 << 10;
constexpr size_t kBlockBytesMax = 64 << 10;
// What is read of a file at a time, unless one entry is larger.
constexpr size_t kReadBytes = 256 << 10;

constexpr char kEntryTag = 0x0a;  // Frame.entries, length-delimited
constexpr size_t kHeaderBytesMax = 6;

size_t PutHeader(size_t entry_bytes, char* out) {
  TOWLINE_CHECK(entry_bytes <= UINT32_MAX);
  size_t used = 0;
  out[used++] = kEntryTag;
  for (; entry_bytes >= 0x80; entry_bytes >>= 7) {
    out[used++] = static_cast<char>((entry_bytes & 0x7f) | 0x80);
  }
  out[used++] = static_cast<char>(entry_bytes);
  return used;
}

// Length of the entry at the beginning of `bytes`, header included; 0: the header is cut off.
uint64_t EntryBytes(absl::string_view bytes) {
  uint64_t length = 0;
  for (size_t i = 1; i < std::min(bytes.size(), kHeaderBytesMax); ++i) {
    auto byte = static_cast<uint8_t>(bytes[i]);
    length |= static_cast<uint64_t>(byte & 0x7f) << (7 * (i - 1));
    if (byte < 0x80) return i + 1 + length;
  }
  return 0;
}

std::unique_ptr<char, FreeBytes> Allocate(size_t bytes) {
  auto* allocated = static_cast<char*>(std::malloc(bytes));
  if (allocated == nullptr) throw std::bad_alloc();
  return std::unique_ptr<char, FreeBytes>(allocated);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(Options options) {
  struct stat info;
  std::string reason;
  if (stat(options.directory.c_str(), &info) != 0) {
    reason = std::strerror(errno);
  } else if (!S_ISDIR(info.st_mode)) {
    reason = "it is no directory";
  } else if (access(options.directory.c_str(), W_OK | X_OK) != 0) {
    reason = std::strerror(errno);
  }
  if (!reason.empty()) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat("cannot spool transactions in ",
                                                               options.directory, ": ", reason)),
                    "Name another directory (spool_directory), or set streaming: off.");
  }
  return std::unique_ptr<Spool>(new Spool(std::move(options)));
}

std::unique_ptr<SpoolLog> Spool::NewLog() { return std::unique_ptr<SpoolLog>(new SpoolLog(this)); }

Spool::Usage Spool::usage() const { return {memory_bytes_, disk_bytes_, log_count_}; }

absl::Status Spool::KeepWithinMemory() {
  while (memory_bytes_ > options_.memory_max) {
    SpoolLog* largest = *std::max_element(logs_.begin(), logs_.end(), [](auto* a, auto* b) {
      return a->memory_bytes_ < b->memory_bytes_;
    });
    TOWLINE_RETURN_IF_ERROR(largest->MoveToFile());
  }
  return absl::OkStatus();
}

SpoolLog::SpoolLog(Spool* spool) : spool_(spool) {
  spool_->logs_.insert(this);
  ++spool_->log_count_;
}

SpoolLog::~SpoolLog() {
  while (!blocks_.empty()) DropLastBlock();
  SetFileBytes(0);
  spool_->logs_.erase(this);
  --spool_->log_count_;
}

absl::Status SpoolLog::Append(absl::string_view entry) {
  const size_t bytes_max = kHeaderBytesMax + entry.size();
  if (blocks_.empty() || blocks_.back().capacity - blocks_.back().used < bytes_max) {
    AddBlock(bytes_max);
  }
  Block& block = blocks_.back();
  char* at = block.bytes.get() + block.used;
  size_t header = PutHeader(entry.size(), at);
  if (!entry.empty()) std::memcpy(at + header, entry.data(), entry.size());
  block.used += header + entry.size();
  memory_used_ += header + entry.size();
  return spool_->KeepWithinMemory();
}

void SpoolLog::AddBlock(size_t bytes_min) {
  size_t usual = blocks_.empty() ? kBlockBytesMin : 2 * blocks_.back().capacity;
  size_t capacity = std::max(bytes_min, std::min(usual, kBlockBytesMax));
  blocks_.push_back({Allocate(capacity), size(), 0, capacity});
  memory_bytes_ += static_cast<int64_t>(capacity);
  spool_->memory_bytes_ += static_cast<int64_t>(capacity);
}

void SpoolLog::DropLastBlock() {
  const Block& block = blocks_.back();
  memory_used_ -= block.used;
  memory_bytes_ -= static_cast<int64_t>(block.capacity);
  spool_->memory_bytes_ -= static_cast<int64_t>(block.capacity);
  blocks_.pop_back();
}

void SpoolLog::SetFileBytes(uint64_t bytes) {
  spool_->disk_bytes_ += static_cast<int64_t>(bytes) - static_cast<int64_t>(file_bytes_);
  file_bytes_ = bytes;
}

absl::Status SpoolLog::MoveToFile() {
  const Spool::Options& options = spool_->options_;
  int64_t wanted = spool_->disk_bytes_ + static_cast<int64_t>(memory_used_);
  if (options.disk_max > 0 && wanted > options.disk_max) {
    return WithHint(absl::ResourceExhaustedError(absl::StrCat("transactions in progress need ",
                                                              FormatBytes(wanted),
                                                              " of disk, and "
                                                              "spool_disk_max allows ",
                                                              FormatBytes(options.disk_max))),
                    "Raise spool_disk_max, or set streaming: off; nothing is lost meanwhile.");
  }
  if (!file_.is_open()) {
    TOWLINE_ASSIGN_OR_RETURN(file_, SpoolFile::Create(options.directory, options.prefix));
  }
  for (const Block& block : blocks_) {
    TOWLINE_RETURN_IF_ERROR(file_.WriteAt(block.offset, {block.bytes.get(), block.used}));
  }
  uint64_t bytes = size();
  while (!blocks_.empty()) DropLastBlock();
  SetFileBytes(bytes);
  return absl::OkStatus();
}

absl::Status SpoolLog::Truncate(uint64_t new_size) {
  TOWLINE_CHECK(new_size <= size());
  while (!blocks_.empty() && blocks_.back().offset >= new_size) DropLastBlock();
  if (!blocks_.empty()) {
    memory_used_ -= size() - new_size;
    blocks_.back().used = new_size - blocks_.back().offset;
  }
  if (file_bytes_ <= new_size) return absl::OkStatus();
  SetFileBytes(new_size);
  return file_.Truncate(new_size);
}

absl::StatusOr<Frame> SpoolLog::Read(uint64_t offset) const {
  if (offset >= size()) return Frame();
  if (offset < file_bytes_) return ReadFile(offset);
  auto after = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                [](uint64_t at, const Block& block) { return at < block.offset; });
  const Block& block = *std::prev(after);
  size_t begin = offset - block.offset;
  Frame frame;
  frame.buffer = Allocate(block.used - begin);
  std::memcpy(frame.buffer.get(), block.bytes.get() + begin, block.used - begin);
  frame.bytes = {frame.buffer.get(), block.used - begin};
  return frame;
}

absl::StatusOr<Frame> SpoolLog::ReadFile(uint64_t offset) const {
  const uint64_t left = file_bytes_ - offset;
  size_t got = std::min<uint64_t>(left, kReadBytes);
  Frame frame;
  frame.buffer = Allocate(got);
  TOWLINE_RETURN_IF_ERROR(file_.ReadAt(offset, frame.buffer.get(), got));
  size_t whole = 0;
  uint64_t next = 0;
  while (whole < got) {
    next = EntryBytes({frame.buffer.get() + whole, got - whole});
    if (next == 0 || next > got - whole) break;
    whole += next;
  }
  if (whole == 0) {
    // One entry larger than what is read at a time.
    if (next == 0 || next > left)
      return absl::UnknownError("the spool's file is not what was written to it");
    frame.buffer = Allocate(next);
    TOWLINE_RETURN_IF_ERROR(file_.ReadAt(offset, frame.buffer.get(), next));
    whole = next;
  } else if (whole < got / 2) {
    // A batch counts the bytes that are used.
    auto* shrunk = static_cast<char*>(std::realloc(frame.buffer.get(), whole));
    TOWLINE_CHECK(shrunk != nullptr);
    frame.buffer.release();
    frame.buffer.reset(shrunk);
  }
  frame.bytes = {frame.buffer.get(), whole};
  return frame;
}

}  // namespace towline
