/* The child that every supervisor of the benchmark keeps running.
 *
 *     child FIFO NAME
 *
 * The first thing it does is to look at the clock. It tells "NAME PID NANOSECONDS" in one write and
 * then sleeps until a signal ends it. The FIFO stays open, so that its reader sees the end of file
 * when no child is left.
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    char line[128];
    int fifo, length;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 3)
        return 2;
    fifo = open(argv[1], O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* without a reader this is an error */
    if (fifo < 0)
        return 3;
    fcntl(fifo, F_SETFL, 0);
    length = snprintf(line, sizeof line, "%s %ld %lld\n", argv[2], (long)getpid(),
                      (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    if (length >= (int)sizeof line || write(fifo, line, length) != length)
        return 4;
    for (;;)
        pause();
}
