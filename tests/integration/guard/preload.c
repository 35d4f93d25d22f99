/* Records what a process asks of the network, and the files that it creates, from native code as well. Loaded with
   LD_PRELOAD. Lines go to the file that GUARD_LOG names. Requests that would leave the machine fail. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void record(const char *kind, const char *what) {
    const char *path = getenv("GUARD_LOG");
    char line[4600];
    int length = snprintf(line, sizeof line, "%s %s\n", kind, what);
    long file = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
    if (file >= 0) {
        syscall(SYS_write, file, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
        syscall(SYS_close, file);
    }
}

/* Return whether an address is outside of this machine, and record it. */
static int leaves(const char *kind, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (!address) return 0;
    if (address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        if ((ntohl(ip->s_addr) >> 24) == 127) return 0;
        inet_ntop(AF_INET, ip, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(ip)) return 0;
        inet_ntop(AF_INET6, ip, text, sizeof text);
    } else {
        return 0;
    }
    record(kind, text);
    errno = ENETUNREACH;
    return 1;
}

static int is_local(const char *name) {
    return !name || !*name || !strcmp(name, "localhost") || !strncmp(name, "127.", 4) || !strcmp(name, "::1") ||
           !strcmp(name, "0.0.0.0");
}

int connect(int handle, const struct sockaddr *address, socklen_t length) {
    static int (*next)(int, const struct sockaddr *, socklen_t);
    if (!next) next = dlsym(RTLD_NEXT, "connect");
    return leaves("connect", address) ? -1 : next(handle, address, length);
}

ssize_t sendto(int handle, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    static ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (!next) next = dlsym(RTLD_NEXT, "sendto");
    return leaves("sendto", address) ? -1 : next(handle, data, size, flags, address, length);
}

ssize_t sendmsg(int handle, const struct msghdr *message, int flags) {
    static ssize_t (*next)(int, const struct msghdr *, int);
    if (!next) next = dlsym(RTLD_NEXT, "sendmsg");
    return message && leaves("sendmsg", message->msg_name) ? -1 : next(handle, message, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    static int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!next) next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (is_local(name)) return next(name, service, hints, result);
    record("getaddrinfo", name);
    return EAI_NONAME;
}

struct hostent *gethostbyname(const char *name) {
    static struct hostent *(*next)(const char *);
    if (!next) next = dlsym(RTLD_NEXT, "gethostbyname");
    if (is_local(name)) return next(name);
    record("gethostbyname", name);
    return NULL;
}

static void record_file(const char *path) {
    char absolute[4400], folder[2048];
    if (!path) return;
    if (*path == '/' || !getcwd(folder, sizeof folder)) {
        record("create", path);
    } else {
        snprintf(absolute, sizeof absolute, "%s/%s", folder, path);
        record("create", absolute);
    }
}

#define OPEN(NAME)                                                          \
    int NAME(const char *path, int flags, ...) {                            \
        static int (*next)(const char *, int, ...);                         \
        mode_t mode = 0;                                                    \
        va_list arguments;                                                  \
        if (!next) next = dlsym(RTLD_NEXT, #NAME);                          \
        if (flags & (O_CREAT | O_TMPFILE)) {                                \
            va_start(arguments, flags);                                     \
            mode = va_arg(arguments, mode_t);                               \
            va_end(arguments);                                              \
        }                                                                   \
        if (flags & O_CREAT) record_file(path);                             \
        return next(path, flags, mode);                                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                        \
    int NAME(int folder, const char *path, int flags, ...) {                \
        static int (*next)(int, const char *, int, ...);                    \
        mode_t mode = 0;                                                    \
        va_list arguments;                                                  \
        if (!next) next = dlsym(RTLD_NEXT, #NAME);                          \
        if (flags & (O_CREAT | O_TMPFILE)) {                                \
            va_start(arguments, flags);                                     \
            mode = va_arg(arguments, mode_t);                               \
            va_end(arguments);                                              \
        }                                                                   \
        if ((flags & O_CREAT) && (folder == AT_FDCWD || *path == '/')) record_file(path); \
        return next(folder, path, flags, mode);                             \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(NAME)                                                         \
    FILE *NAME(const char *path, const char *mode) {                        \
        static FILE *(*next)(const char *, const char *);                   \
        if (!next) next = dlsym(RTLD_NEXT, #NAME);                          \
        if (*mode != 'r') record_file(path);                                \
        return next(path, mode);                                            \
    }
FOPEN(fopen)
FOPEN(fopen64)

int mkdir(const char *path, mode_t mode) {
    static int (*next)(const char *, mode_t);
    if (!next) next = dlsym(RTLD_NEXT, "mkdir");
    record_file(path);
    return next(path, mode);
}
