/* The init of the bench's root: reads the clock before anything else, ties that clock to the kernel log's, prints
   its record and the lines of the kernel log that the bench needs, and powers off. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long boottime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void copy(int out, const char *name, const char *path)
{
    char buffer[4096];
    int fd = open(path, O_RDONLY);
    ssize_t count;
    while (fd >= 0 && (count = read(fd, buffer, sizeof buffer - 1)) > 0) {
        buffer[count] = 0;
        for (char *line = strtok(buffer, "\n"); line; line = strtok(NULL, "\n"))
            dprintf(out, "bench-%s %s\n", name, line);
    }
}

int main(void)
{
    long long entered = boottime();
    static char record[9000];
    ssize_t count;

    mkdir("/dev", 0755);
    if (access("/dev/kmsg", F_OK))
        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int log = open("/dev/kmsg", O_RDWR | O_NONBLOCK);
    int out = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
    if (out < 0)
        out = open("/dev/console", O_WRONLY | O_NOCTTY);
    long long before = boottime();
    /* Not dprintf: it wants to seek, which /dev/kmsg refuses. */
    count = snprintf(record, sizeof record, "bench: tie %lld\n", before);
    if (write(log, record, count) != count)
        dprintf(out, "bench-error: cannot write to the kernel log\n");
    dprintf(out, "\nbench-entered %lld\n", entered);
    while ((count = read(log, record, sizeof record - 1)) != 0) {
        if (count < 0)
            break;
        record[count] = 0;
        if (strstr(record, "Trying to unpack rootfs") || strstr(record, "Freeing initrd memory")
            || strstr(record, "Run /") || strstr(record, "bench: ")) {
            char *end = strchr(record, '\n');
            if (end)
                *end = 0;
            dprintf(out, "bench-log %s\n", record);
        }
    }
    mount("proc", "/proc", "proc", 0, NULL);
    copy(out, "memory", "/proc/meminfo");
    copy(out, "module", "/proc/modules");
    dprintf(out, "bench-end\n");
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
