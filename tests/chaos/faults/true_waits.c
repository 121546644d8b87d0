/* Preloaded before libfaketime, whose clock_nanosleep refuses (EINVAL) to wait until a moment of the monotonic clock,
   as Python's time.sleep does, when that clock is not faked (0.9.10): such waits go straight to the system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    int before = errno, error;
    if (clock != CLOCK_MONOTONIC)
        return ((typeof(&clock_nanosleep)) dlsym(RTLD_NEXT, "clock_nanosleep"))(clock, flags, until, left);
    error = syscall(SYS_clock_nanosleep, clock, flags, until, left) == 0 ? 0 : errno;
    errno = before; /* it returns its error, and leaves errno alone */
    return error;
}
