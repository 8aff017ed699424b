// Stands before a process's looks at the time of day, see clock.py. The steady clock stays as it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
// How soon a wait for a time of day notices that the clock was set.
#define SLICE (SECOND / 20)

static const volatile int64_t* shared_ahead;  // nanoseconds
static int (*real_clock_gettime)(clockid_t, struct timespec*);
static long (*real_syscall)(long, ...);

// Before the first signal: looking a function up is nothing for a handler.
__attribute__((constructor)) static void prepare(void) {
  if (real_syscall != NULL) return;
  real_clock_gettime = (__typeof__(real_clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
  real_syscall = (__typeof__(real_syscall))dlsym(RTLD_NEXT, "syscall");
  const char* name = getenv("TOWLINE_TEST_CLOCK");
  int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void* mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) shared_ahead = mapped;
  close(fd);
}

static int64_t ahead(void) { return shared_ahead == NULL ? 0 : *shared_ahead; }

static int64_t nanoseconds(const struct timespec* time) {
  return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec timespec_of(int64_t time) {
  return (struct timespec){.tv_sec = time / SECOND, .tv_nsec = time % SECOND};
}

static int64_t real_now(void) {
  struct timespec now;
  prepare();
  real_clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(&now);
}

int clock_gettime(clockid_t clock, struct timespec* time) {
  prepare();
  int result = real_clock_gettime(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    *time = timespec_of(nanoseconds(time) + ahead());
  }
  return result;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  const int64_t now = real_now() + ahead();
  time->tv_sec = now / SECOND;
  time->tv_usec = now % SECOND / 1000;
  return 0;
}

time_t time(time_t* result) {
  const time_t now = (real_now() + ahead()) / SECOND;
  if (result != NULL) *result = now;
  return now;
}

// abseil's waits with a timeout. In slices, as the clock may be set meanwhile.
static long wait_until(long number, const long* arguments) {
  const int64_t end = nanoseconds((const struct timespec*)arguments[3]);
  while (1) {
    const int64_t now = real_now(), left = end - ahead() - now;
    const struct timespec slice_end = timespec_of(now + (left < 0 ? 0 : left < SLICE ? left : SLICE));
    long result = real_syscall(number, arguments[0], arguments[1], arguments[2], &slice_end,
                               arguments[4], arguments[5]);
    if (result == 0 || errno != ETIMEDOUT || left <= SLICE) return result;
  }
}

long syscall(long number, ...) {
  long arguments[6];
  va_list list;
  prepare();
  va_start(list, number);
  for (int i = 0; i < 6; ++i) arguments[i] = va_arg(list, long);
  va_end(list);
  const long until_time_of_day = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
  if (number == SYS_futex && (arguments[1] & ~(long)FUTEX_PRIVATE_FLAG) == until_time_of_day &&
      arguments[3] != 0) {
    return wait_until(number, arguments);
  }
  return real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                      arguments[5]);
}
