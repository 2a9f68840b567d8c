/* A disk that fails: preloaded into the gateway, it makes one call on a file of the queue's store fail, or remembers
 * what a power cut would leave.
 *
 * FAULT_KIND   sync   fsync or fdatasync returns EIO, and nothing is known to be on disk
 *              write  a write returns EIO
 *              short  half of a write is done, and the next one on any of the files returns EIO
 *              read   a read returns EIO
 * FAULT_AT     the how-manieth call of that kind, from 1, counted while the file FAULT_ARMED is there
 * FAULT_HIT    a file that is made when it happens
 *
 * POWER_LEFT   a folder. Each file that is synced is copied there: what a power cut leaves at least. Nothing else of
 *              what was written counts, the harshest disk there can be.
 * POWER_LIES   syncs are said to be done, and are not: as with `synchronous = off`
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long seen;
static int torn;

static int is_store(int file) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    char *last = strrchr(path, '/');
    return last && (!strcmp(last, "/queue.db") || !strcmp(last, "/queue.db-wal"));
}

static void mark(void) {
    int file = open(getenv("FAULT_HIT"), O_CREAT | O_WRONLY, 0644);
    if (file >= 0) close(file);
}

static int is_kind(const char *kind) {
    const char *asked = getenv("FAULT_KIND");
    return asked && !strcmp(asked, kind);
}

/* Whether this call is the one. */
static int hits(const char *kind, int file) {
    int before = errno;
    if (!is_kind(kind) || !is_store(file) || access(getenv("FAULT_ARMED"), F_OK)) {
        errno = before;
        return 0;
    }
    if (__sync_add_and_fetch(&seen, 1) != atol(getenv("FAULT_AT"))) return 0;
    mark();
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fails(void) {
    errno = EIO;
    return -1;
}

/* Keeps what is in the file now. Written beside and renamed, as a kill may come in between. */
static int keep(int file) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    static char bytes[1 << 16];
    const char *folder = getenv("POWER_LEFT");
    if (!folder || !is_store(file)) return 0;
    char name[64], path[4096], to[8192], beside[8256];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    snprintf(to, sizeof to, "%s%s", folder, strrchr(path, '/'));
    snprintf(beside, sizeof beside, "%s.new", to);
    pthread_mutex_lock(&one);
    int copy = open(beside, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    off_t at = 0;
    ssize_t count;
    while (copy >= 0 && (count = pread(file, bytes, sizeof bytes, at)) > 0) {
        if (write(copy, bytes, count) != count) abort();
        at += count;
    }
    if (copy < 0 || close(copy) || rename(beside, to)) abort();
    pthread_mutex_unlock(&one);
    return 0;
}

static int synced(int file, int (*really)(int)) {
    if (getenv("POWER_LIES") && is_store(file)) return 0;
    if (hits("sync", file)) return fails();
    int failed = really(file);
    return failed ? failed : keep(file);
}

int fsync(int file) { return synced(file, REAL(fsync)); }
int fdatasync(int file) { return synced(file, REAL(fdatasync)); }

/* 0: as always, 1: fails, 2: half of it */
static int writing(int file) {
    if (torn && is_store(file)) {
        torn = 0;
        return 1;
    }
    if (hits("write", file)) return 1;
    if (hits("short", file)) {
        torn = 1;
        return 2;
    }
    return 0;
}

ssize_t write(int file, const void *bytes, size_t count) {
    int fault = writing(file);
    return fault == 1 ? fails() : REAL(write)(file, bytes, fault ? count / 2 : count);
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    int fault = writing(file);
    return fault == 1 ? fails() : REAL(pwrite)(file, bytes, fault ? count / 2 : count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    int fault = writing(file);
    return fault == 1 ? fails() : REAL(pwrite64)(file, bytes, fault ? count / 2 : count, at);
}

ssize_t read(int file, void *bytes, size_t count) {
    return hits("read", file) ? fails() : REAL(read)(file, bytes, count);
}
ssize_t pread(int file, void *bytes, size_t count, off_t at) {
    return hits("read", file) ? fails() : REAL(pread)(file, bytes, count, at);
}
ssize_t pread64(int file, void *bytes, size_t count, off64_t at) {
    return hits("read", file) ? fails() : REAL(pread64)(file, bytes, count, at);
}
