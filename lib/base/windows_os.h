/* windows_os.h - what the windows_*.c files share: Windows 8 and later, paths in UTF-8 outside and
 * in UTF-16 inside.
 */
#ifndef SM_WINDOWS_OS_H
#define SM_WINDOWS_OS_H

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0602 /* WaitOnAddress */

#include "os.h"

#include <windows.h>

#define SM_PATH_UNITS 4096 /* of a path, its zero included; a longer one is refused */

typedef struct sm_wide_path {
    wchar_t text[SM_PATH_UNITS + 8]; /* room for what stands in front of a long one */
} sm_wide_path;

/* The full path, in the form that may have more than 260 units where it has. */
sm_os_code sm_wide_of(sm_wide_path *out, const char *path);

#endif
