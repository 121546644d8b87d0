/* Preloaded before libfaketime (0.9.10), so that only the time of day is false, and costs nobody who does not ask for it.

   Its clock_nanosleep refuses (EINVAL) to wait until a moment of the monotonic clock, as Python's time.sleep does, when
   that clock is not faked. Its pthread_cond_timedwait takes such a moment for one of the time of day: with that an hour
   ahead each wait is over at once, and a thread that waits for Python's lock goes round in circles. And at each look at
   whatever clock it opens the file with the shift, under a lock of the whole process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
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

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        return ((typeof(&clock_gettime)) dlsym(RTLD_NEXT, "clock_gettime"))(clock, now);
    return syscall(SYS_clock_gettime, clock, now);
}

/* All of Python's are on the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    static typeof(&pthread_cond_timedwait) systems;
    if (systems == NULL)
        systems = (typeof(systems)) dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "pthread_cond_timedwait");
    return systems(condition, mutex, until);
}
