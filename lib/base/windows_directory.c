/* windows_directory.c - what lies in a directory. */
#include "windows_os.h"

#include <string.h>

bool sm_directory_find(const char *path, const char *ending, char *name, uint64_t capacity,
                       bool *is_directory) {
    sm_wide_path all;
    WIN32_FIND_DATAW entry;
    bool found = false;
    *is_directory = false;
    if (sm_wide_of(&all, path))
        return false;
    const DWORD attributes = GetFileAttributesW(all.text);
    *is_directory =
        attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY);
    if (!*is_directory)
        return false;
    wcscat(all.text, L"\\*"); /* sm_wide_path has the room */
    const HANDLE list = FindFirstFileW(all.text, &entry);
    if (list == INVALID_HANDLE_VALUE)
        return false;
    do {
        char shown[3 * MAX_PATH];
        if (!WideCharToMultiByte(CP_UTF8, 0, entry.cFileName, -1, shown, sizeof shown, NULL, NULL))
            continue;
        const size_t length = strlen(shown), tail = strlen(ending);
        if (length < tail || strcmp(shown + length - tail, ending) != 0 || length >= capacity)
            continue;
        if (!found || strcmp(shown, name) < 0) /* the first by name: always the same one */
            memcpy(name, shown, length + 1);
        found = true;
    } while (FindNextFileW(list, &entry));
    FindClose(list);
    return found;
}

bool sm_path_is_file(const char *path) {
    sm_wide_path wide;
    if (sm_wide_of(&wide, path))
        return false;
    const DWORD attributes = GetFileAttributesW(wide.text);
    return attributes != INVALID_FILE_ATTRIBUTES && !(attributes & FILE_ATTRIBUTE_DIRECTORY);
}

sm_status sm_directory_make(const char *path, sm_error *error) {
    sm_wide_path wide;
    const sm_os_code code = sm_wide_of(&wide, path);
    if (code)
        return sm_os_fail(error, path, "make the directory", code);
    if (CreateDirectoryW(wide.text, NULL))
        return SM_OK;
    const DWORD why = GetLastError(), attributes = GetFileAttributesW(wide.text);
    if (attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY)
        return SM_OK;
    return sm_os_fail(error, path, "make the directory", why);
}
