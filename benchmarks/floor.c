/* The least that a supervisor can do, as a measure for what the kernel allows.
 *
 *     floor serve SOCKET IDENTITY CHILD FIFO NAME...     keeps "CHILD FIFO NAME" running, for each NAME
 *     floor ask SOCKET start|stop|status                 its client
 *
 * IDENTITY is "-", or UID:GID:GROUP,GROUP,... for the children. A child is made by vfork, leads a
 * session of its own, and is made again as soon as signalfd tells that it died. There is no log, no
 * restart policy and no check of anything that a real supervisor has to check.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_GROUPS 256

static char *child, *fifo, **names;
static pid_t *pids;
static int count, alive, wanted = 1, has_identity, group_count;
static uid_t uid;
static gid_t gid, groups[MAX_GROUPS];
static sigset_t original;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void read_identity(char *text)
{
    if (strcmp(text, "-") == 0)
        return;
    has_identity = 1;
    uid = strtoul(text, &text, 10);
    gid = strtoul(text + 1, &text, 10);
    while (*text != '\0' && text[1] != '\0' && group_count < MAX_GROUPS)
        groups[group_count++] = strtoul(text + 1, &text, 10);
}

static void become(void)
{
    /* The system calls themselves: this runs in the memory of the parent. */
    if (syscall(SYS_setgroups, (long)group_count, groups) != 0 || syscall(SYS_setgid, gid) != 0
        || syscall(SYS_setuid, uid) != 0)
        _exit(126);
}

static void spawn(int index)
{
    char *arguments[] = {child, fifo, names[index], NULL};
    pid_t pid = vfork();

    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &original, NULL);
        setsid();
        if (has_identity)
            become();
        execv(child, arguments);
        _exit(127);
    }
    if (pid < 0)
        fail("vfork");
    pids[index] = pid;
    alive++;
}

static void start_all(void)
{
    wanted = 1;
    for (int index = 0; index < count; index++)
        if (pids[index] == 0)
            spawn(index);
}

static void stop_all(void)
{
    wanted = 0;
    for (int index = 0; index < count; index++)
        if (pids[index] != 0)
            kill(-pids[index], SIGTERM);
}

static void reap(void)
{
    int status, index;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (index = 0; index < count && pids[index] != pid; index++)
            ;
        if (index == count)
            continue;
        pids[index] = 0;
        alive--;
        if (WIFEXITED(status)) /* it never does so by itself: something is wrong with it */
            fprintf(stderr, "%s exited with code %d\n", names[index], WEXITSTATUS(status));
        else if (wanted)
            spawn(index);
    }
}

static void tell_status(int client)
{
    for (int index = 0; index < count; index++)
        dprintf(client, "%s %s %ld\n", names[index], pids[index] ? "RUNNING" : "STOPPED",
                (long)pids[index]);
}

/* Does what a client asks; returns true if the answer has to wait until all children are gone. */
static int handle(int client)
{
    char word[16] = "";

    if (read(client, word, sizeof word - 1) <= 0)
        return 0;
    if (strcmp(word, "status") == 0)
        tell_status(client);
    else if (strcmp(word, "start") == 0)
        start_all();
    else if (strcmp(word, "stop") == 0) {
        stop_all();
        return alive > 0;
    }
    return 0;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "%s: too long for a socket\n", path);
        exit(1);
    }
    strcpy(address.sun_path, path);
    return address;
}

static void serve(const char *path)
{
    struct sockaddr_un address = address_of(path);
    struct signalfd_siginfo information[64];
    struct pollfd watched[2] = {{.events = POLLIN}, {.events = POLLIN}};
    int client = -1, waits = 0;
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &original);
    watched[0].fd = signalfd(-1, &blocked, SFD_CLOEXEC);
    watched[1].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (watched[0].fd < 0 || bind(watched[1].fd, (void *)&address, sizeof address) != 0
        || listen(watched[1].fd, 8) != 0)
        fail(path);
    start_all();
    for (;;) {
        watched[1].events = client < 0 ? POLLIN : 0; /* one client at a time */
        if (poll(watched, 2, -1) < 0)
            fail("poll");
        if (watched[0].revents) {
            if (read(watched[0].fd, information, sizeof information) < 0)
                fail("signalfd");
            reap();
        }
        if (watched[1].revents) {
            client = accept4(watched[1].fd, NULL, NULL, SOCK_CLOEXEC);
            if (client < 0)
                fail("accept");
            waits = handle(client);
        }
        if (client >= 0 && (!waits || alive == 0)) {
            close(client);
            client = -1;
        }
    }
}

static int ask(const char *path, const char *word)
{
    struct sockaddr_un address = address_of(path);
    char buffer[65536];
    ssize_t length;
    int server = socket(AF_UNIX, SOCK_STREAM, 0);

    if (connect(server, (void *)&address, sizeof address) != 0 || write(server, word, strlen(word)) < 0)
        fail(path);
    while ((length = read(server, buffer, sizeof buffer)) > 0)
        if (write(1, buffer, length) != length)
            fail("write");
    return length < 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "ask") == 0)
        return ask(argv[2], argv[3]);
    if (argc < 7 || strcmp(argv[1], "serve") != 0) {
        fputs("usage: floor serve SOCKET IDENTITY CHILD FIFO NAME... | floor ask SOCKET WORD\n", stderr);
        return 2;
    }
    read_identity(argv[3]);
    child = argv[4];
    fifo = argv[5];
    names = argv + 6;
    count = argc - 6;
    pids = calloc(count, sizeof *pids);
    serve(argv[2]);
}
