/* An NVML without a GPU: answers what the file ANSWERS says, read anew at each call.
 *
 * A line is `key=value`, with `GPU.key` for what is asked of one GPU. A value that begins with `!` is
 * the number of an error; what has no line is not supported. Layouts and numbers are those of nvml.h. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

typedef void *device_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;

/* The value of a key, or an error. */
static int answer(const char *key, char *value, size_t size)
{
    FILE *file = fopen(ANSWERS, "r");
    char line[4096];
    int code = NOT_SUPPORTED;
    while (file && fgets(line, sizeof line, file)) {
        char *end = strchr(line, '=');
        if (!end || (size_t)(end - line) != strlen(key) || strncmp(line, key, strlen(key)))
            continue;
        line[strcspn(line, "\n")] = 0;
        code = end[1] == '!' ? atoi(end + 2) : SUCCESS;
        snprintf(value, size, "%s", end + 1);
    }
    if (file)
        fclose(file);
    return code;
}

static int of_gpu(device_t device, const char *key, char *value, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "%lu.%s", (unsigned long)(uintptr_t)device - 1, key);
    return answer(name, value, size);
}

static int number(device_t device, const char *key, unsigned long long *number)
{
    char value[64];
    int code = of_gpu(device, key, value, sizeof value);
    if (code == SUCCESS)
        *number = strtoull(value, NULL, 10);
    return code;
}

static int small_number(device_t device, const char *key, unsigned *small)
{
    unsigned long long large = 0;
    int code = number(device, key, &large);
    *small = (unsigned)large;
    return code;
}

int nvmlInit_v2(void)
{
    char value[64];
    int code = answer("init", value, sizeof value);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) { return answer("driver", version, size); }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    char value[64];
    int code = answer("count", value, sizeof value);
    *count = code == SUCCESS ? (unsigned)atoi(value) : 0;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device)
{
    char value[64];
    *device = (device_t)(uintptr_t)(index + 1);
    int code = of_gpu(*device, "handle", value, sizeof value);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}

int nvmlDeviceGetName(device_t device, char *name, unsigned size) { return of_gpu(device, "name", name, size); }

int nvmlDeviceGetUUID(device_t device, char *uuid, unsigned size) { return of_gpu(device, "uuid", uuid, size); }

int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_t *memory)
{
    if (memory->version != (sizeof *memory | 2U << 24))
        return INVALID_ARGUMENT;
    int code = number(device, "total", &memory->total);
    if (code == SUCCESS)
        code = number(device, "used", &memory->used);
    memory->free = memory->total - memory->used;
    return code;
}

int nvmlDeviceGetUtilizationRates(device_t device, utilization_t *rates)
{
    return small_number(device, "utilization", &rates->gpu);
}

int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *celsius)
{
    return sensor ? INVALID_ARGUMENT : small_number(device, "temperature", celsius);
}

int nvmlDeviceGetPowerUsage(device_t device, unsigned *milliwatts)
{
    return small_number(device, "power", milliwatts);
}

int nvmlDeviceGetMigMode(device_t device, unsigned *now, unsigned *pending)
{
    *pending = 0;
    return small_number(device, "mig", now);
}

/* `PID:BYTES` with spaces between; `PID:?` where the driver does not know. */
static int processes(device_t device, const char *key, unsigned *count, process_t *list)
{
    char value[4096], *rest = value;
    unsigned room = *count, found = 0;
    int code = of_gpu(device, key, value, sizeof value);
    if (code != SUCCESS)
        return code;
    for (char *entry; (entry = strtok_r(rest, " ", &rest)); found++) {
        if (found >= room)
            continue;
        char *bytes = strchr(entry, ':') + 1;
        process_t process = { (unsigned)atol(entry), *bytes == '?' ? ~0ULL : strtoull(bytes, NULL, 10), ~0U, ~0U };
        list[found] = process;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count, process_t *list)
{
    return processes(device, "compute", count, list);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t device, unsigned *count, process_t *list)
{
    return processes(device, "graphics", count, list);
}
