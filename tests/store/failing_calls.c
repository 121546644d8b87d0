/* Preloaded into a test's process: fails the calls that its flag files name, as a broken or full disk would.
   FAILING_FLAGS is a folder; while the file `fsync` is in it, fsync and fdatasync fail with EIO; while `full` is,
   what would write to a file fails with ENOSPC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int flagged(const char *name)
{
    const char *folder = getenv("FAILING_FLAGS");
    char path[4096];
    if (folder == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

#define REAL(name) ((typeof(&name)) dlsym(RTLD_NEXT, #name))

static int sync_fails(void)
{
    if (!flagged("fsync"))
        return 0;
    errno = EIO;
    return 1;
}

static int is_full(void)
{
    if (!flagged("full"))
        return 0;
    errno = ENOSPC;
    return 1;
}

int fsync(int fd) { return sync_fails() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return sync_fails() ? -1 : REAL(fdatasync)(fd); }

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return is_full() ? -1 : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return is_full() ? -1 : REAL(pwrite64)(fd, data, size, at);
}
