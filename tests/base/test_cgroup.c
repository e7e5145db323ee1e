/* The CPU time that control groups leave, read below directories that stand for "/". The contents
 * of /proc/self follow proc(5); the layouts are those of Debian and Fedora hosts, Docker with and
 * without a cgroup namespace, Kubernetes and systemd-nspawn. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "support.h"

#define NONE UINT32_MAX

static char root[512];

static int remove_node(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static int clear(void **state) {
    (void)state;
    nftw(root, remove_node, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int begin(void **state) {
    snprintf(root, sizeof root, "%s", scratch_path("root"));
    return clear(state);
}

/* A file below the root, its directories made as needed. */
static void put_bytes(const char *path, const void *content, size_t size) {
    char whole[4096];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(whole, 0700) != 0)
            assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
    scratch_write(whole, content, size);
}

static void put(const char *path, const char *content) {
    put_bytes(path, content, strlen(content));
}

static void expect(uint32_t cpus) {
    const uint32_t got = sm_cpu_quota(root);
    if (got != cpus)
        fail_msg("%u CPUs, expected %u", got, cpus);
}

#define OTHER_MOUNTS                                                                  \
    "22 29 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw\n"   \
    "29 1 254:1 / / rw,relatime shared:1 master:2 - ext4 /dev/vda1 rw,errors=panic\n" \
    "31 29 0:27 / /mnt/a\\040b\\134c rw - fuse.sshfs me@host:/x\\040y rw,user_id=1\n"

#define V2_MOUNT "33 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void v2(const char *group, const char *mounts) {
    char line[4096];
    snprintf(line, sizeof line, "0::%s\n", group);
    put("/proc/self/cgroup", line);
    snprintf(line, sizeof line, OTHER_MOUNTS "%s", mounts);
    put("/proc/self/mountinfo", line);
}

/* Quotas of a group and of those above it: the least, rounded up. */
static void v2_test(void **state) {
    (void)state;
    expect(NONE); /* nothing there at all */
    v2("/user.slice/user-1000.slice/session-2.scope", V2_MOUNT);
    expect(NONE);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/user-1000.slice/cpu.max", "400000 100000\n");
    expect(4);
    put("/sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n");
    expect(3);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max", "50000 100000\n");
    expect(1);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max", "200000 100000\n");
    expect(2);
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max", "200001 100000\n");
    expect(3);
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n"); /* of a namespace's root */
    expect(1);
    /* neighbours and children bind nobody else */
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/user.slice/user-1001.slice/cpu.max", "1000 100000\n");
    put("/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/below/cpu.max", "1000 100000\n");
    expect(3);
}

/* In a container with a namespace of its own the group is "/", at the mount point. */
static void v2_namespace_test(void **state) {
    (void)state;
    v2("/", V2_MOUNT);
    expect(NONE);
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(2);
    v2("/init.scope", V2_MOUNT);
    expect(2);
    put("/sys/fs/cgroup/init.scope/cpu.max", "20000 100000\n");
    expect(1);
    /* a process that was moved out of the namespace is bound by nothing that is to be seen */
    v2("/../other", V2_MOUNT);
    expect(NONE);
    v2("/..", V2_MOUNT);
    expect(NONE);
    /* a name that only looks like it */
    put("/sys/fs/cgroup/..x/cpu.max", "700000 100000\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    v2("/..x", V2_MOUNT);
    expect(7);
}

/* Mounts of a part of the hierarchy, and of parts that are not ours. */
static void v2_mounts_test(void **state) {
    (void)state;
    v2("/docker/abc/app", "50 40 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    expect(3);
    put("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
    expect(2);
    v2("/docker/abc", "50 40 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(3);
    const char *others[] = {"/docker/ab", "/docker/abcd", "/other", "/docker/abc/app/x"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char line[200];
        snprintf(line, sizeof line, "50 40 0:28 %s /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                 others[i]);
        v2("/docker/abc/app", line);
        expect(NONE);
    }
    /* the mount was made outside of our namespace: its top is above us, a neighbour's is not */
    v2("/", "50 40 0:28 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(3);
    v2("/app", "50 40 0:28 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(3);
    v2("/../app", "50 40 0:28 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(2);
    v2("/../../app", "50 40 0:28 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(NONE);
    v2("/", "50 40 0:28 /../other /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    expect(NONE);
    /* anywhere, with a name that /proc writes with escapes, beside a mount that is not ours */
    v2("/a", "50 40 0:28 / /mnt/my\\040groups\\134 rw master:1 propagate_from:2 - cgroup2 none rw\n"
             "51 40 0:28 /other /sys/fs/cgroup rw - cgroup2 none rw\n");
    put("/mnt/my groups\\/a/cpu.max", "500000 100000\n");
    expect(5);
    v2("/a", "50 40 0:28 / / rw - cgroup2 none rw\n");
    put("/a/cpu.max", "600000 100000\n");
    expect(6);
}

#define V1_MOUNTS                                                                        \
    "34 25 0:30 %s /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:16 - cgroup cgroup "      \
    "rw,cpu,cpuacct\n"                                                                   \
    "35 25 0:31 / /sys/fs/cgroup/cpuset rw,nosuid shared:17 - cgroup cgroup rw,cpuset\n" \
    "36 25 0:32 / /sys/fs/cgroup/unified rw,nosuid shared:18 - cgroup2 cgroup2 rw\n"

static void v1(const char *group, const char *mount_root) {
    char text[4096];
    snprintf(
        text, sizeof text,
        "12:cpuset:/wrong\n11:memory:/wrong\n5:cpuacct,cpu:%s\n1:name=systemd:/wrong\n0::/wrong\n",
        group);
    put("/proc/self/cgroup", text);
    snprintf(text, sizeof text, OTHER_MOUNTS V1_MOUNTS, mount_root);
    put("/proc/self/mountinfo", text);
}

static void quota_v1(const char *group, const char *quota, const char *period) {
    char path[1024];
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", group);
    put(path, quota);
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", group);
    put(path, period);
}

static void v1_test(void **state) {
    (void)state;
    v1("/kubepods/burstable/pod1/c1", "/");
    expect(NONE);
    quota_v1("/kubepods/burstable/pod1/c1", "-1\n", "100000\n");
    expect(NONE);
    quota_v1("/kubepods/burstable/pod1", "350000\n", "100000\n");
    expect(4);
    quota_v1("/kubepods/burstable/pod1/c1", "100000\n", "50000\n");
    expect(2);
    quota_v1("/kubepods", "1000\n", "100000\n");
    expect(1);
    /* Docker without a namespace: the mount's root is the group */
    v1("/docker/abc", "/docker/abc");
    quota_v1("", "300000\n", "100000\n");
    expect(3);
    v1("/docker/abc/x", "/docker/abc");
    quota_v1("/x", "200000\n", "100000\n");
    expect(2);
}

/* Both at once, as on hosts in between: either binds. */
static void both_test(void **state) {
    (void)state;
    v1("/a", "/");
    quota_v1("/a", "300000\n", "100000\n");
    put("/sys/fs/cgroup/unified/wrong/cpu.max", "200000 100000\n");
    expect(2);
    quota_v1("/a", "100000\n", "100000\n");
    expect(1);
}

/* What the kernel never writes is no limit, and no harm. */
static void malformed_test(void **state) {
    (void)state;
    v2("/a", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "700000 100000\n"); /* still found, above */
    static const char *const limits[] = {
        "",
        "\n",
        " ",
        "max",
        "max\n",
        "100000",
        "100000\n",
        "-1 100000\n",
        "-100000 -100000\n",
        "100000 0\n",
        "0 100000\n",
        "0 0\n",
        "100000 100000x\n",
        "x100000 100000\n",
        "100000  100000\n",
        " 100000 100000\n",
        "100000 100000 \n",
        "100000\t100000\n",
        "18446744073709551616 1\n",
        "99999999999999999999999 100000\n",
        "100000 18446744073709551616",
        "18446744073709551615 1\n",
        "4294967295 1\n",
        "1e5 1e5\n",
        "0x10000 0x10000\n",
        "+100000 100000\n",
        "\n100000 100000\n",
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        put("/sys/fs/cgroup/a/cpu.max", limits[i]);
        expect(7);
    }
    put_bytes("/sys/fs/cgroup/a/cpu.max", "100000\0 100000\n", 15);
    expect(7);
    put("/sys/fs/cgroup/a/cpu.max", "100000 18446744073709551615\n"); /* small is small */
    expect(1);
    put("/sys/fs/cgroup/a/cpu.max", "100000 100000"); /* without line end */
    expect(1);

    static const char *const groups[] = {
        "",       "\n",  ":",       "::",       "0::",        "0::a\n",
        "0:/a\n", "0\n", "1::/a\n", "00::/a\n", "0:cpu:/a\n", ":::/a\n",
    };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        put("/proc/self/cgroup", groups[i]);
        const uint32_t got = sm_cpu_quota(root);
        assert_true(got == NONE || got == 7);
    }
    put("/proc/self/cgroup", "garbage\n::\n1:\n0::/a\n0::/b\n");
    expect(1);

    static const char *const mounts[] = {
        "",
        "\n",
        "33\n",
        "33 23 0:28 / /sys/fs/cgroup rw\n",
        "33 23 0:28 / /sys/fs/cgroup rw -\n",
        "33 23 0:28 / /sys/fs/cgroup rw - cgroup2\n",
        "33 23 0:28 / /sys/fs/cgroup rw - cgroup2 \n",
        "33 23 0:28 x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "33 23 0:28 / sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "33 23 0:28 / /sys/fs/cgroup rw cgroup2 cgroup2 rw\n",
        "33 23 0:28 / /sys/fs/cgroup rw - cgroup22 cgroup2 rw\n",
        "33 23 0:28  / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    };
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        put("/proc/self/mountinfo", mounts[i]);
        if (sm_cpu_quota(root) != NONE)
            fail_msg("\"%s\" is taken for a mount", mounts[i]);
    }
    /* a line that is too long, and one without end, between good ones */
    const size_t long_size = 100000;
    char *text = malloc(long_size + 300);
    memset(text, 'x', long_size);
    strcpy(text + long_size, "\n" V2_MOUNT);
    put("/proc/self/mountinfo", text);
    expect(1);
    strcpy(text, V2_MOUNT);
    text[strlen(text)] = 'y';
    put_bytes("/proc/self/mountinfo", text, long_size);
    expect(1);
    free(text);
}

/* Groups as deep and names as long as can be, and files that are none. */
static void limits_test(void **state) {
    (void)state;
    char group[8192] = "";
    for (int i = 0; i < 900; i++)
        strcat(group, "/a");
    v2(group, V2_MOUNT);
    put("/sys/fs/cgroup/a/a/a/cpu.max", "300000 100000\n");
    expect(3);
    for (size_t length = 1000; length < 6000; length += 7) { /* past every buffer's end */
        memset(group, 'b', length);
        group[0] = '/';
        group[length] = 0;
        char *text = malloc(length + 600);
        sprintf(text, "0::%s\n", group);
        put("/proc/self/cgroup", text);
        expect(NONE);
        sprintf(text, "33 23 0:28 / %s rw - cgroup2 cgroup2 rw\n", group);
        put("/proc/self/cgroup", "0::/a\n");
        put("/proc/self/mountinfo", text);
        expect(NONE);
        free(text);
    }
    v2("/a", V2_MOUNT);
    char path[600];
    snprintf(path, sizeof path, "%s/sys/fs/cgroup/a/cpu.max", root);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes into it */
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    expect(4);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect(4);
    rmdir(path);
    assert_int_equal(symlink("cpu.max", path), 0);
    expect(4);
    memset(group, '/', sizeof group);
    group[sizeof group - 1] = 0;
    assert_int_equal(sm_cpu_quota(group), NONE);
}

/* Of this very process: no more than the affinity mask allows. */
static void count_test(void **state) {
    (void)state;
    const uint32_t n = sm_cpu_count(), quota = sm_cpu_quota("");
    assert_true(n >= 1 && n <= quota);
    const long online = sysconf(_SC_NPROCESSORS_CONF);
    assert_true(n <= (uint32_t)online);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, clear)
    const struct CMUnitTest tests[] = {
        TEST(v2_test),   TEST(v2_namespace_test), TEST(v2_mounts_test), TEST(v1_test),
        TEST(both_test), TEST(malformed_test),    TEST(limits_test),    TEST(count_test),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
