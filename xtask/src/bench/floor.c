/* The floor: the least that any init has to do for these disks. Modules, members, tables and nodes are compiled in,
   nothing is parsed, nothing is discovered. FLOOR_MODULES is a list of strings, FLOOR_ROOT a node, FLOOR_FSTYPE a type;
   FLOOR_ARRAY the members of an array, FLOOR_CRYPT and FLOOR_VOLUME dm targets; FLOOR_ARGON2 asks for the key
   derivation of a LUKS2 container opened with FLOOR_KEY. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/major.h>
#include <linux/raid/md_u.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#ifdef FLOOR_ARGON2
#include <argon2.h>
#endif

struct target {
    unsigned long long length;
    const char *type, *params;
};

static const char *const modules[] = { FLOOR_MODULES };

static void die(const char *what)
{
    dprintf(2, "floor: %s: %s\n", what, strerror(errno));
    for (;;)
        pause();
}

/* The driver's probe is synchronous for virtio; the bound only keeps a broken run from hanging. */
static void await(const char *node)
{
    struct timespec nap = { 0, 1000000 };
    for (int i = 0; access(node, F_OK) && i < 5000; i++)
        nanosleep(&nap, NULL);
}

__attribute__((unused)) static void map(const char *name, struct target target)
{
    static union {
        struct dm_ioctl head;
        char room[4096];
    } request;
    static const unsigned long calls[] = { DM_DEV_CREATE, DM_TABLE_LOAD, DM_DEV_SUSPEND };
    int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < 3; i++) {
        memset(&request, 0, sizeof request);
        request.head.version[0] = DM_VERSION_MAJOR;
        request.head.data_size = sizeof request;
        request.head.data_start = sizeof request.head;
        strcpy(request.head.name, name);
        if (calls[i] == DM_TABLE_LOAD) {
            struct dm_target_spec *spec = (void *)(request.room + sizeof request.head);
            request.head.target_count = 1;
            spec->length = target.length;
            strcpy(spec->target_type, target.type);
            strcpy((char *)(spec + 1), target.params);
        }
        if (ioctl(control, calls[i], &request))
            die(name);
    }
    close(control);
}

#ifdef FLOOR_ARRAY
static void assemble(void)
{
    static const char *const members[] = { FLOOR_ARRAY };
    mdu_array_info_t array = { .major_version = 1, .minor_version = 2 };
    int md;

    mknod("/dev/md0", S_IFBLK | 0600, makedev(MD_MAJOR, 0));
    md = open("/dev/md0", O_RDWR | O_CLOEXEC);
    if (md < 0 || ioctl(md, SET_ARRAY_INFO, &array))
        die("array");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        struct stat about;
        mdu_disk_info_t disk = { 0 };
        await(members[i]);
        if (stat(members[i], &about))
            die(members[i]);
        disk.major = major(about.st_rdev);
        disk.minor = minor(about.st_rdev);
        if (ioctl(md, ADD_NEW_DISK, &disk))
            die(members[i]);
    }
    if (ioctl(md, RUN_ARRAY, NULL))
        die("run array");
    close(md);
}
#endif

int main(void)
{
    char path[128];

    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
        die("devtmpfs");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        snprintf(path, sizeof path, "/m/%s", modules[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", FLOOR_MODULE_FLAGS) && errno != EEXIST))
            die(modules[i]);
        close(fd);
    }
#ifdef FLOOR_ARRAY
    assemble();
#endif
#ifdef FLOOR_ARGON2
    unsigned char salt[32] = { 1 }, key[64];
    if (argon2id_hash_raw(4, 32768, 1, FLOOR_KEY, strlen(FLOOR_KEY), salt, sizeof salt, key, sizeof key))
        die("argon2id");
#endif
#ifdef FLOOR_CRYPT
    await("/dev/vda");
    map("opened", (struct target)FLOOR_CRYPT);
#endif
#ifdef FLOOR_VOLUME
    map("root", (struct target)FLOOR_VOLUME);
#endif
    await(FLOOR_ROOT);
    if (mount(FLOOR_ROOT, "/sysroot", FLOOR_FSTYPE, MS_RDONLY, NULL))
        die("root");
    if (mount("/dev", "/sysroot/dev", NULL, MS_MOVE, NULL))
        die("move dev");
    if (chdir("/sysroot") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
        die("switch");
    execl("/sbin/init", "init", NULL);
    die("exec");
}
