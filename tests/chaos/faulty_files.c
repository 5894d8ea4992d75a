/* Faults of a file system, for a program that runs with this library in LD_PRELOAD.
 *
 *   CHAOS_BELOW   calls on files below this folder may fail
 *   CHAOS_KIND    enospc | eio | read | partial | slow | sync | rename
 *   CHAOS_FIRST   the first call of that kind that is hit (from 1), counted over all processes
 *   CHAOS_CALLS   how many calls in a row are hit; 0: all from then on
 *   CHAOS_STATE   a file of 16 bytes, shared by all processes: calls so far, calls hit
 *   CHAOS_LOG     a line for each of the first calls hit
 *
 * Calls of glibc's own stdio go past a library like this one, but for fwrite, which numpy uses; writes to mapped files do, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, ENOSPC_, EIO_, READ, PARTIAL, SLOW, SYNC, RENAME };

static enum kind kind;
static const char *below, *log_path;
static size_t below_length;
static uint64_t first, calls;
static uint64_t *state; /* [0] calls so far, [1] calls hit */

static enum kind kind_of(const char *name) {
    if (!name) return NONE;
    if (!strcmp(name, "enospc")) return ENOSPC_;
    if (!strcmp(name, "eio")) return EIO_;
    if (!strcmp(name, "read")) return READ;
    if (!strcmp(name, "partial")) return PARTIAL;
    if (!strcmp(name, "slow")) return SLOW;
    if (!strcmp(name, "sync")) return SYNC;
    if (!strcmp(name, "rename")) return RENAME;
    return NONE;
}

__attribute__((constructor)) static void start(void) {
    const char *state_path = getenv("CHAOS_STATE"), *number;
    below = getenv("CHAOS_BELOW");
    log_path = getenv("CHAOS_LOG");
    if (!below || !state_path) return;
    below_length = strlen(below);
    first = (number = getenv("CHAOS_FIRST")) ? strtoull(number, NULL, 10) : 1;
    calls = (number = getenv("CHAOS_CALLS")) ? strtoull(number, NULL, 10) : 1;
    long descriptor = syscall(SYS_openat, AT_FDCWD, state_path, O_RDWR | O_CLOEXEC, 0);
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, (int)descriptor, 0);
    syscall(SYS_close, descriptor);
    if (mapped == MAP_FAILED) return;
    state = mapped;
    kind = kind_of(getenv("CHAOS_KIND"));
}

static int is_below(const char *path) {
    char whole[PATH_MAX];
    if (!state || !path) return 0;
    if (path[0] != '/') {
        if (!realpath(".", whole)) return 0;
        return !strncmp(whole, below, below_length);
    }
    return !strncmp(path, below, below_length) && (path[below_length] == '/' || !path[below_length]);
}

static int is_below_at(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!state) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static void note(const char *call, int descriptor, const char *path) {
    char line[PATH_MAX + 64], link[64], target[PATH_MAX] = "";
    if (!log_path) return;
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        path = target;
    }
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    long log = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log < 0) return;
    syscall(SYS_write, log, line, (size_t)length);
    syscall(SYS_close, log);
}

/* Whether this call, which is of a kind that may fail and of a file that may, is hit. */
static int hit(const char *call, int descriptor, const char *path) {
    int before = errno;
    uint64_t number = __atomic_add_fetch(&state[0], 1, __ATOMIC_SEQ_CST);
    int found = number >= first && (!calls || number < first + calls);
    if (found && __atomic_add_fetch(&state[1], 1, __ATOMIC_SEQ_CST) <= 20) note(call, descriptor, path);
    errno = before;
    return found;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What becomes of a write of `length` bytes: -1 it fails (errno is set), else how many bytes to write. */
static ssize_t room(const char *call, int descriptor, size_t length) {
    if ((kind != ENOSPC_ && kind != EIO_ && kind != PARTIAL && kind != SLOW) || !is_below_at(descriptor)) return (ssize_t)length;
    if (kind == PARTIAL && length < 2) return (ssize_t)length;
    if (!hit(call, descriptor, NULL)) return (ssize_t)length;
    if (kind == PARTIAL) return (ssize_t)(length / 2);
    if (kind == SLOW) {
        usleep(20000);
        return (ssize_t)length;
    }
    errno = kind == ENOSPC_ ? ENOSPC : EIO;
    return -1;
}

ssize_t write(int descriptor, const void *data, size_t length) {
    ssize_t taken = kind ? room("write", descriptor, length) : (ssize_t)length;
    return taken < 0 ? -1 : REAL(write)(descriptor, data, (size_t)taken);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t at) {
    ssize_t taken = kind ? room("pwrite", descriptor, length) : (ssize_t)length;
    return taken < 0 ? -1 : REAL(pwrite)(descriptor, data, (size_t)taken, at);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t at) {
    ssize_t taken = kind ? room("pwrite", descriptor, length) : (ssize_t)length;
    return taken < 0 ? -1 : REAL(pwrite64)(descriptor, data, (size_t)taken, at);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    ssize_t taken = kind && count ? room("writev", descriptor, pieces[0].iov_len) : 0;
    if (taken < 0) return -1;
    if (kind == PARTIAL && count && taken && (size_t)taken < pieces[0].iov_len) return REAL(write)(descriptor, pieces[0].iov_base, (size_t)taken);
    return REAL(writev)(descriptor, pieces, count);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    if (kind && kind != PARTIAL && size * count > 0 && room("fwrite", fileno(stream), size * count) < 0) return 0;
    return REAL(fwrite)(data, size, count, stream);
}

static int fails_to_read(const char *call, int descriptor) {
    if (kind != READ || !is_below_at(descriptor) || !hit(call, descriptor, NULL)) return 0;
    errno = EIO;
    return 1;
}

ssize_t read(int descriptor, void *data, size_t length) {
    return fails_to_read("read", descriptor) ? -1 : REAL(read)(descriptor, data, length);
}

ssize_t pread(int descriptor, void *data, size_t length, off_t at) {
    return fails_to_read("pread", descriptor) ? -1 : REAL(pread)(descriptor, data, length, at);
}

ssize_t pread64(int descriptor, void *data, size_t length, off64_t at) {
    return fails_to_read("pread", descriptor) ? -1 : REAL(pread64)(descriptor, data, length, at);
}

static int fails_to_sync(const char *call, int descriptor) {
    if ((kind != SYNC && kind != SLOW) || !is_below_at(descriptor) || !hit(call, descriptor, NULL)) return 0;
    if (kind == SLOW) {
        usleep(50000);
        return 0;
    }
    errno = EIO;
    return 1;
}

int fsync(int descriptor) {
    return fails_to_sync("fsync", descriptor) ? -1 : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    return fails_to_sync("fdatasync", descriptor) ? -1 : REAL(fdatasync)(descriptor);
}

static int fails_to_rename(const char *call, const char *to) {
    if (kind != RENAME || !is_below(to) || !hit(call, -1, to)) return 0;
    errno = EIO;
    return 1;
}

int rename(const char *from, const char *to) {
    return fails_to_rename("rename", to) ? -1 : REAL(rename)(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return fails_to_rename("renameat", to) ? -1 : REAL(renameat)(from_folder, from, to_folder, to);
}

/* A full disk has no room for new names either. */
static int fails_to_make(const char *call, const char *path) {
    if ((kind != ENOSPC_ && kind != EIO_) || !is_below(path) || !hit(call, -1, path)) return 0;
    errno = kind == ENOSPC_ ? ENOSPC : EIO;
    return 1;
}

int mkdir(const char *path, mode_t mode) {
    return fails_to_make("mkdir", path) ? -1 : REAL(mkdir)(path, mode);
}

int link(const char *from, const char *to) {
    return fails_to_make("link", to) ? -1 : REAL(link)(from, to);
}

#define MODE_OF(flags, mode)                          \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode = (mode_t)va_arg(rest, int);             \
        va_end(rest);                                 \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return (flags & O_CREAT) && fails_to_make("open", path) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return (flags & O_CREAT) && fails_to_make("open", path) ? -1 : REAL(open64)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return (flags & O_CREAT) && fails_to_make("openat", path) ? -1 : REAL(openat)(folder, path, flags, mode);
}
