/* The least that a supervisor can do to keep what its children write: the floor for the rows about output.
 *
 *     capture splice|read PIPE SIZE DIRECTORY CHILD FIFO BLOCK TOTAL NAME...
 *
 * Runs "CHILD FIFO NAME BLOCK TOTAL" for each NAME, with a pipe of PIPE bytes, or of what is allowed, as
 * its standard output. What comes out of the pipe is moved to NAME.log in DIRECTORY, by splice or by
 * read and write. A file that has got SIZE bytes becomes NAME.log.1, and takes the place of the last one that
 * did; nobody looks where a line ends. Nobody is started again.
 *
 * Unlike those of floor.c, children stay in the session of their parent: Linux shares processors out among
 * sessions (sched_autogroup), and one against 100 would not be the limit of what can be captured.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PIECE (1 << 20)

struct capture {
    char path[4096];
    int pipe, file;
    size_t size;
};

static char buffer[PIECE];
static int pipe_size;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_file(struct capture *one)
{
    one->file = open(one->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (one->file < 0)
        fail(one->path);
    one->size = 0;
}

static void rotate(struct capture *one)
{
    char old[sizeof one->path + 2];

    snprintf(old, sizeof old, "%s.1", one->path);
    if (rename(one->path, old) != 0)
        fail(old);
    close(one->file);
    open_file(one);
}

static void start(struct capture *one, char **arguments)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe2");
    fcntl(ends[0], F_SETPIPE_SZ, pipe_size); /* one that may not have that has a smaller one */
    one->pipe = ends[0];
    pid = vfork();
    if (pid == 0) {
        if (dup2(ends[1], 1) == 1)
            execv(arguments[0], arguments);
        _exit(127);
    }
    if (pid < 0)
        fail("vfork");
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

/* Moves what is there; returns how much that was, and 0 at the end. */
static ssize_t by_splice(struct capture *one)
{
    return splice(one->pipe, NULL, one->file, NULL, PIECE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

static ssize_t by_read(struct capture *one)
{
    ssize_t got = read(one->pipe, buffer, sizeof buffer);

    for (ssize_t done = 0; done < got;) {
        ssize_t part = write(one->file, buffer + done, got - done);

        if (part < 0)
            fail(one->path);
        done += part;
    }
    return got;
}

int main(int argc, char **argv)
{
    ssize_t (*move)(struct capture *);
    struct capture *all;
    struct pollfd *watched;
    struct rlimit files;
    size_t limit;
    int count = argc - 9;

    if (count < 1) {
        fputs("usage: capture splice|read PIPE SIZE DIRECTORY CHILD FIFO BLOCK TOTAL NAME...\n", stderr);
        return 2;
    }
    move = strcmp(argv[1], "splice") == 0 ? by_splice : by_read;
    pipe_size = atoi(argv[2]);
    limit = strtoul(argv[3], NULL, 10);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGCHLD, SIG_IGN);
    all = calloc(count, sizeof *all);
    watched = calloc(count, sizeof *watched);
    for (int index = 0; index < count; index++) {
        char *name = argv[9 + index];
        char *arguments[] = {argv[5], argv[6], name, argv[7], argv[8], NULL};

        snprintf(all[index].path, sizeof all[index].path, "%s/%s.log", argv[4], name);
        open_file(&all[index]);
        start(&all[index], arguments);
        watched[index].fd = all[index].pipe;
        watched[index].events = POLLIN;
    }
    for (;;) {
        if (poll(watched, count, -1) < 0)
            fail("poll");
        for (int index = 0; index < count; index++) {
            ssize_t moved;

            if (watched[index].revents == 0)
                continue;
            moved = move(&all[index]);
            if (moved < 0 && errno != EAGAIN && errno != EINTR)
                fail(all[index].path);
            if (moved == 0)
                watched[index].fd = -1;
            if (moved > 0 && (all[index].size += moved) >= limit)
                rotate(&all[index]);
        }
    }
}
