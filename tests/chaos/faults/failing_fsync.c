/* Preloaded into a process: its fsync and fdatasync fail with EIO, as on a broken disk, while the file that
   FAILING_FSYNC_SWITCH names exists. Each failed call appends a byte to the file that FAILING_FSYNC_COUNTER names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void count(void)
{
    const char *counter = getenv("FAILING_FSYNC_COUNTER");
    int file = counter == NULL ? -1 : open(counter, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || write(file, "x", 1) != 1)
        abort(); /* a fault that nobody can count proves nothing */
    close(file);
}

static int fails(void)
{
    const char *flag = getenv("FAILING_FSYNC_SWITCH");
    if (flag == NULL || access(flag, F_OK) != 0)
        return 0;
    count();
    errno = EIO;
    return 1;
}

#define REAL(name) ((typeof(&name)) dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails() ? -1 : REAL(fdatasync)(fd); }
