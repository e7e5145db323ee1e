/* windows_file.c - files over Windows: opening, reading, mapping, replacing. */
#include "windows_os.h"

#include <stddef.h>
#include <string.h>

const char *const sm_os_number_name = "error";

/* FormatMessage speaks the user's language. */
const char *sm_os_reason(sm_os_code code) {
    static const struct {
        sm_os_code code;
        const char *text;
    } table[] = {
        {ERROR_FILE_NOT_FOUND, "no such file or directory"},
        {ERROR_PATH_NOT_FOUND, "no such directory"},
        {ERROR_INVALID_NAME, "no name of a file"},
        {ERROR_NO_UNICODE_TRANSLATION, "the path is not UTF-8"},
        {ERROR_ACCESS_DENIED, "permission denied"},
        {ERROR_DIRECTORY, "is a directory"},
        {ERROR_DISK_FULL, "no space left on device"},
        {ERROR_HANDLE_DISK_FULL, "no space left on device"},
        {ERROR_TOO_MANY_OPEN_FILES, "too many open files"},
        {ERROR_NOT_ENOUGH_MEMORY, "out of memory"},
        {ERROR_OUTOFMEMORY, "out of memory"},
        {ERROR_WRITE_PROTECT, "read-only file system"},
        {ERROR_FILE_TOO_LARGE, "file too large"},
        {ERROR_FILENAME_EXCED_RANGE, "file name too long"},
        {ERROR_FILE_EXISTS, "file exists"},
        {ERROR_SHARING_VIOLATION, "another program has it open"},
        {ERROR_LOCK_VIOLATION, "another program has locked it"},
        {ERROR_USER_MAPPED_FILE, "a program has it mapped"},
        {ERROR_INVALID_HANDLE, "no handle of an open file"},
        {ERROR_INVALID_PARAMETER, "invalid argument"},
        {ERROR_NOT_READY, "device not ready"},
        {ERROR_CRC, "device input/output error"},
        {ERROR_IO_DEVICE, "device input/output error"},
        {ERROR_BAD_NETPATH, "no such machine"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].text;
    return "system error";
}

bool sm_os_lacks_memory(sm_os_code code) {
    return code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_OUTOFMEMORY ||
           code == ERROR_COMMITMENT_LIMIT;
}

/* ---- paths -------------------------------------------------------------------------- */

sm_os_code sm_wide_of(sm_wide_path *out, const char *path) {
    wchar_t given[SM_PATH_UNITS];
    if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, given, SM_PATH_UNITS))
        return GetLastError() == ERROR_INSUFFICIENT_BUFFER ? ERROR_FILENAME_EXCED_RANGE
                                                           : GetLastError();
    const DWORD n = GetFullPathNameW(given, SM_PATH_UNITS, out->text, NULL);
    if (n == 0)
        return *given ? GetLastError() : ERROR_FILE_NOT_FOUND;
    if (n >= SM_PATH_UNITS)
        return ERROR_FILENAME_EXCED_RANGE;
    /* "\\?\" takes paths as they are, and long ones; a directory's content adds to it */
    if (n < MAX_PATH - 12 || !wcsncmp(out->text, L"\\\\?\\", 4))
        return 0;
    const bool share = !wcsncmp(out->text, L"\\\\", 2);
    const wchar_t *front = share ? L"\\\\?\\UNC" : L"\\\\?\\";
    const size_t length = wcslen(front), skip = share ? 1 : 0;
    memmove(out->text + length, out->text + skip, (n + 1 - skip) * sizeof *out->text);
    memcpy(out->text, front, length * sizeof *front);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------ */

void sm_os_close(sm_os_file file) {
    const DWORD keep = GetLastError();
    CloseHandle((HANDLE)file);
    SetLastError(keep);
}

sm_status sm_os_look(sm_os_file file, uint64_t *size, const char *name, sm_error *error) {
    BY_HANDLE_FILE_INFORMATION info;
    if (GetFileType((HANDLE)file) != FILE_TYPE_DISK)
        return GetLastError() == ERROR_INVALID_HANDLE
                   ? sm_os_fail(error, name, "open", ERROR_INVALID_HANDLE)
                   : sm_fail(error, SM_ERR_IO, "%s: not a regular file", name);
    if (!GetFileInformationByHandle((HANDLE)file, &info))
        return sm_os_fail(error, name, "open", GetLastError());
    if (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
        return sm_os_fail(error, name, "open", ERROR_DIRECTORY);
    *size = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow;
    return *size > SIZE_MAX / 2 ? sm_os_fail(error, name, "open", ERROR_FILE_TOO_LARGE) : SM_OK;
}

sm_status sm_os_open(sm_os_file *out, uint64_t *size, const char *path, sm_error *error) {
    sm_wide_path wide;
    const sm_os_code code = sm_wide_of(&wide, path);
    if (code)
        return sm_os_fail(error, path, "open", code);
    /* with FILE_FLAG_BACKUP_SEMANTICS a directory opens, and is told from what may not be read */
    const HANDLE file =
        CreateFileW(wide.text, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                    NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return sm_os_fail(error, path, "open", GetLastError());
    const sm_status status = sm_os_look((sm_os_file)file, size, path, error);
    if (status)
        CloseHandle(file);
    else
        *out = (sm_os_file)file;
    return status;
}

sm_os_code sm_os_read(sm_os_file file, uint64_t offset, void *to, uint64_t n, uint64_t *got) {
    OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
    DWORD read = 0;
    const DWORD most = n < (1u << 30) ? (DWORD)n : 1u << 30;
    const bool ok = ReadFile((HANDLE)file, to, most, &read, &at);
    *got = read;
    return ok || GetLastError() == ERROR_HANDLE_EOF ? 0 : GetLastError();
}

/* ---- mapping ------------------------------------------------------------------------ */

static SYSTEM_INFO system_info(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info;
}

uint64_t sm_os_page_bytes(void) {
    return system_info().dwPageSize;
}

uint64_t sm_os_map_step(void) {
    return system_info().dwAllocationGranularity;
}

sm_os_code sm_os_map(void **at, sm_os_file file, uint64_t offset, uint64_t size) {
    const HANDLE mapping = CreateFileMappingW((HANDLE)file, NULL, PAGE_READONLY, 0, 0, NULL);
    if (!mapping)
        return GetLastError();
    *at = MapViewOfFile(mapping, FILE_MAP_READ, (DWORD)(offset >> 32), (DWORD)offset, (SIZE_T)size);
    const sm_os_code code = *at ? 0 : GetLastError();
    CloseHandle(mapping); /* the view keeps it */
    return code;
}

void sm_os_unmap(void *at, uint64_t size) {
    (void)size;
    UnmapViewOfFile(at);
}

/* Pages that nobody locked leave the working set so (VirtualUnlock's documentation). */
void sm_os_forget(void *at, uint64_t size) {
    VirtualUnlock(at, (SIZE_T)size);
}

/* ---- the file that is replaced ------------------------------------------------------
 *
 * A temporary is open for its writer alone, however long that lives: what can be opened for
 * deletion is dead. The new file has the permissions that its directory gives. A file that some
 * program has mapped cannot be replaced; it says so. */

static bool is_link(const wchar_t *path) {
    const DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_REPARSE_POINT);
}

/* Where the link leads, in place. */
static sm_os_code follow(sm_wide_path *path) {
    const HANDLE file = CreateFileW(path->text, 0, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                                    OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return GetLastError();
    const DWORD n = GetFinalPathNameByHandleW(file, path->text, SM_PATH_UNITS, 0);
    const sm_os_code code = n == 0               ? GetLastError()
                            : n >= SM_PATH_UNITS ? ERROR_FILENAME_EXCED_RANGE
                                                 : 0;
    CloseHandle(file);
    return code;
}

static sm_status no_memory(const sm_os_new_file *f, sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", f->path);
}

/* f->target: the full path of the file, links followed, in UTF-8; f->name: its last part. */
static sm_status resolve_target(sm_os_new_file *f, sm_error *error) {
    sm_wide_path wide;
    sm_os_code code = sm_wide_of(&wide, f->path);
    if (!code && is_link(wide.text))
        code = follow(&wide);
    if (code)
        return sm_os_fail(error, f->path, "write", code);
    const DWORD attributes = GetFileAttributesW(wide.text);
    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY))
        return sm_os_fail(error, f->path, "write", ERROR_DIRECTORY);
    const int n = WideCharToMultiByte(CP_UTF8, 0, wide.text, -1, NULL, 0, NULL, NULL);
    f->target = n > 0 ? sm_alloc(f->mem, (uint64_t)n) : NULL;
    if (!f->target)
        return no_memory(f, error);
    WideCharToMultiByte(CP_UTF8, 0, wide.text, -1, f->target, n, NULL, NULL);
    const char *slash = strrchr(f->target, '\\');
    f->name = slash ? slash + 1 : f->target;
    return *f->name ? SM_OK : sm_os_fail(error, f->path, "write", ERROR_DIRECTORY);
}

/* What killed writers of this name left behind goes. That this cannot be done is no failure. */
static void remove_dead(const sm_os_new_file *f) {
    sm_wide_path all;
    WIN32_FIND_DATAW entry;
    if (sm_wide_of(&all, f->target))
        return;
    wchar_t *name = wcsrchr(all.text, L'\\');
    const size_t front = name ? (size_t)(name + 1 - all.text) : 0;
    wcscat(all.text, L".*"); /* sm_wide_path has the room */
    const HANDLE list = FindFirstFileW(all.text, &entry);
    if (list == INVALID_HANDLE_VALUE)
        return;
    do {
        char shown[3 * MAX_PATH];
        if (!WideCharToMultiByte(CP_UTF8, 0, entry.cFileName, -1, shown, sizeof shown, NULL,
                                 NULL) ||
            !sm_os_is_temporary_of(shown, f->name) ||
            front + wcslen(entry.cFileName) >= SM_PATH_UNITS)
            continue;
        wcscpy(all.text + front, entry.cFileName);
        const HANDLE dead =
            CreateFileW(all.text, DELETE, 0, NULL, OPEN_EXISTING, FILE_FLAG_DELETE_ON_CLOSE, NULL);
        if (dead != INVALID_HANDLE_VALUE)
            CloseHandle(dead);
    } while (FindNextFileW(list, &entry));
    FindClose(list);
}

static sm_status create_temporary(sm_os_new_file *f, sm_error *error) {
    const uint64_t capacity = strlen(f->target) + 48;
    f->temporary = sm_alloc(f->mem, capacity);
    if (!f->temporary)
        return no_memory(f, error);
    remove_dead(f);
    sm_os_code code = ERROR_FILE_EXISTS;
    for (unsigned n = 0; n < 1000 && code == ERROR_FILE_EXISTS; n++) {
        sm_wide_path wide;
        sm_format(f->temporary, capacity, "%s.%u-%u" SM_OS_TEMPORARY_END, f->target,
                  sm_process_id(), n);
        code = sm_wide_of(&wide, f->temporary);
        if (code)
            break;
        const HANDLE file = CreateFileW(wide.text, GENERIC_WRITE | DELETE, 0, NULL, CREATE_NEW,
                                        FILE_ATTRIBUTE_NORMAL, NULL);
        code = file == INVALID_HANDLE_VALUE ? GetLastError() : 0;
        /* one that is open, or is being deleted, is there, too */
        if (code == ERROR_SHARING_VIOLATION || code == ERROR_ACCESS_DENIED)
            code =
                GetFileAttributesW(wide.text) != INVALID_FILE_ATTRIBUTES ? ERROR_FILE_EXISTS : code;
        if (!code)
            f->file = (sm_os_file)file;
    }
    if (code)
        f->temporary[0] = 0;
    return code ? sm_os_fail(error, f->path, "create a temporary beside it", code) : SM_OK;
}

sm_status sm_os_new_file_open(sm_os_new_file *f, sm_mem *mem, const char *path, sm_error *error) {
    *f = (sm_os_new_file){.mem = mem, .directory = SM_OS_NO_FILE, .file = SM_OS_NO_FILE};
    f->path = sm_strdup(mem, path, strlen(path));
    if (!f->path)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    const sm_status status = resolve_target(f, error);
    return status ? status : create_temporary(f, error);
}

sm_status sm_os_new_file_write(sm_os_new_file *f, const uint8_t *data, uint64_t size,
                               sm_error *error) {
    const uint64_t piece = (uint64_t)1 << 30;
    while (size) {
        DWORD n = 0;
        if (!WriteFile((HANDLE)f->file, data, (DWORD)min_u64(size, piece), &n, NULL) || n == 0)
            return sm_os_fail(error, f->path, "write", n ? ERROR_DISK_FULL : GetLastError());
        data += n;
        size -= n;
    }
    return SM_OK;
}

sm_status sm_os_new_file_commit(sm_os_new_file *f, sm_error *error) {
    if (!FlushFileBuffers((HANDLE)f->file))
        return sm_os_fail(error, f->path, "sync", GetLastError());
    struct {
        FILE_RENAME_INFO info; /* its name of one unit, and the rest of it */
        wchar_t rest[SM_PATH_UNITS + 8];
    } to;
    sm_wide_path wide;
    sm_os_code code = sm_wide_of(&wide, f->target);
    if (code)
        return sm_os_fail(error, f->path, "rename the temporary", code);
    const size_t bytes = wcslen(wide.text) * sizeof *wide.text;
    memset(&to.info, 0, sizeof to.info);
    to.info.ReplaceIfExists = TRUE;
    to.info.FileNameLength = (DWORD)bytes;
    memcpy((uint8_t *)&to + offsetof(FILE_RENAME_INFO, FileName), wide.text,
           bytes + sizeof *wide.text);
    if (!SetFileInformationByHandle((HANDLE)f->file, FileRenameInfo, &to, sizeof to))
        return sm_os_fail(error, f->path, "rename the temporary", GetLastError());
    f->temporary[0] = 0;
    return SM_OK;
}

void sm_os_new_file_drop(sm_os_new_file *f, bool leave) {
    (void)leave; /* processes do not fork here */
    if (f->file != SM_OS_NO_FILE) {
        FILE_DISPOSITION_INFO gone = {.DeleteFile = TRUE};
        if (f->temporary[0])
            SetFileInformationByHandle((HANDLE)f->file, FileDispositionInfo, &gone, sizeof gone);
        CloseHandle((HANDLE)f->file);
    }
    sm_free(f->mem, f->temporary);
    sm_free(f->mem, f->target);
    sm_free(f->mem, f->path);
}
