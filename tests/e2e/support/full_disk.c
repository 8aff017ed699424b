// Stands before a server's calls that make a file longer, see full_disk.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// While the file of that name exists no file of a table can grow.
static int is_full(int fd, off_t end) {
  char link[64], path[1024];
  struct stat status;
  const char* flag = getenv("TOWLINE_TEST_FULL");
  if (flag == NULL || access(flag, F_OK) != 0 || fstat(fd, &status) != 0 || end <= status.st_size) return 0;
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof(path) - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, "/base/") != NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE(fd, end) do { if (is_full(fd, end)) { errno = ENOSPC; return -1; } } while (0)

static off_t sum(const struct iovec* parts, int count) {
  off_t total = 0;
  for (int i = 0; i < count; ++i) total += (off_t)parts[i].iov_len;
  return total;
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  REFUSE(fd, at + (off_t)size);
  return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off_t at) {
  REFUSE(fd, at + (off_t)size);
  return REAL(pwrite64)(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t at) {
  REFUSE(fd, at + sum(parts, count));
  return REAL(pwritev)(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec* parts, int count, off_t at) {
  REFUSE(fd, at + sum(parts, count));
  return REAL(pwritev64)(fd, parts, count, at);
}
int posix_fallocate(int fd, off_t at, off_t size) {
  if (is_full(fd, at + size)) return ENOSPC;
  return REAL(posix_fallocate)(fd, at, size);
}
int posix_fallocate64(int fd, off_t at, off_t size) {
  if (is_full(fd, at + size)) return ENOSPC;
  return REAL(posix_fallocate64)(fd, at, size);
}
