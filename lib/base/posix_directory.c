/* posix_directory.c - what lies in a directory. */
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool sm_directory_find(const char *path, const char *ending, char *name, uint64_t capacity,
                       bool *is_directory) {
    DIR *directory = opendir(path);
    bool found = false;
    *is_directory = directory != NULL;
    if (!directory)
        return false;
    for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
        const size_t length = strlen(e->d_name), tail = strlen(ending);
        if (length < tail || strcmp(e->d_name + length - tail, ending) != 0 || length >= capacity)
            continue;
        if (!found || strcmp(e->d_name, name) < 0) /* the first by name: always the same one */
            memcpy(name, e->d_name, length + 1);
        found = true;
    }
    closedir(directory);
    return found;
}

bool sm_path_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

sm_status sm_directory_make(const char *path, sm_error *error) {
    struct stat info;
    if (mkdir(path, 0777) == 0 ||
        (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        return SM_OK;
    return sm_os_fail(error, path, "make the directory", (sm_os_code)errno);
}
