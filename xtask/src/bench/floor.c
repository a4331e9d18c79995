/* The floor: the least that any init has to do for this disk. Modules and device are compiled in, nothing is
   parsed, nothing is discovered. FLOOR_MODULES is a list of strings, FLOOR_ROOT a node, FLOOR_FSTYPE a type. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *const modules[] = { FLOOR_MODULES };

static void die(const char *what)
{
    dprintf(2, "floor: %s: %s\n", what, strerror(errno));
    for (;;)
        pause();
}

int main(void)
{
    char path[128];
    struct timespec nap = { 0, 1000000 };

    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
        die("devtmpfs");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        snprintf(path, sizeof path, "/m/%s", modules[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", FLOOR_MODULE_FLAGS) && errno != EEXIST))
            die(modules[i]);
        close(fd);
    }
    /* The driver's probe is synchronous for virtio; the bound only keeps a broken run from hanging. */
    for (int i = 0; access(FLOOR_ROOT, F_OK) && i < 5000; i++)
        nanosleep(&nap, NULL);
    if (mount(FLOOR_ROOT, "/sysroot", FLOOR_FSTYPE, MS_RDONLY, NULL))
        die("root");
    if (mount("/dev", "/sysroot/dev", NULL, MS_MOVE, NULL))
        die("move dev");
    if (chdir("/sysroot") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
        die("switch");
    execl("/sbin/init", "init", NULL);
    die("exec");
}
