/* The child that writes, for the rows about output.
 *
 *     writer FIFO NAME BLOCK TOTAL
 *
 * It tells through the FIFO that it has started, as child.c does, and waits for SIGUSR1. Then it writes
 * TOTAL bytes to its standard output, BLOCK bytes at once, in lines of 100 bytes, and tells when it
 * began and when it was done as "NAME/begun" and "NAME/done". It does so again for each SIGUSR1.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 100

static int fifo;

static void tell(const char *name, const char *what)
{
    struct timespec now;
    char line[128];
    int length;

    clock_gettime(CLOCK_MONOTONIC, &now);
    length = snprintf(line, sizeof line, "%s%s %ld %lld\n", name, what, (long)getpid(),
                      (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    if (length >= (int)sizeof line || write(fifo, line, length) != length)
        exit(4);
}

static void put(const char *block, size_t length)
{
    while (length > 0) {
        ssize_t done = write(1, block, length);

        if (done < 0 && errno != EINTR)
            exit(5);
        if (done > 0) {
            block += done;
            length -= done;
        }
    }
}

int main(int argc, char **argv)
{
    size_t size, total;
    sigset_t go;
    char *block;
    int number;

    if (argc != 5 || (size = strtoul(argv[3], NULL, 10)) == 0)
        return 2;
    total = strtoul(argv[4], NULL, 10);
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    block = malloc(size);
    for (size_t index = 0; index < size; index++)
        block[index] = index % LINE == LINE - 1 ? '\n' : 'a' + index / LINE % 26;
    block[size - 1] = '\n';
    fifo = open(argv[1], O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* without a reader this is an error */
    if (fifo < 0)
        return 3;
    fcntl(fifo, F_SETFL, 0);
    tell(argv[2], "");
    while (sigwait(&go, &number) == 0) {
        tell(argv[2], "/begun");
        for (size_t left = total; left > 0; left -= left < size ? left : size)
            put(block, left < size ? left : size);
        tell(argv[2], "/done");
    }
}
