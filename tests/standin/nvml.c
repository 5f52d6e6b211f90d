/* A stand-in for libnvidia-ml.so.1: the functions of NVML that the agent calls, with the C ABI that nvidia-ml-py
 * expects, over GPUs that a small text file describes (its path in GPUMON_STANDIN; read again whenever it changes).
 *
 * Without a file there are four GPUs whose values move. A line of the file is one of
 *   driver TEXT | cuda NUMBER | gpus COUNT | init CODE (what nvmlInit returns) | dead CODE (what everything returns)
 *   missing FUNCTION                  the driver does not have it
 *   gpu I uuid|name|serial|vbios TEXT
 *   gpu I lost                        every call about it returns GPU_IS_LOST
 *   gpu I fail FUNCTION CODE          FUNCTION may be field:ID for one field value, gpm:ID for one metric of GPM
 *   gpu I hang FUNCTION MILLISECONDS  -1: until the line is gone
 *   gpu I set KEY NUMBER              see the table `values`
 *   gpu I mig COUNT                   MIG is on, with so many devices
 *   gpu I process PID TYPE MEMORY_MIB SM_PERCENT MIG_INDEX    TYPE: C(ompute), G(raphics), B(oth), M (an MPS client);
 *                                                             -1: memory not available, no sample, no MIG device
 *   gpu I xid CODE SERIAL | gpu I dbe SERIAL                  raised once for each SERIAL
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_GPUS 32
#define MAX_MIG 7
#define MAX_RULES 32
#define MAX_PROCESSES 128
#define MAX_EVENTS 64
#define UNSET (-1LL)
#define NONE 0xFFFFFFFFu
#define MIB (1024ULL * 1024ULL)

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT = 7, TIMEOUT = 10,
       NO_FUNCTION = 13, GPU_LOST = 15, VERSION_MISMATCH = 25 };

enum { TEMPERATURE, MEMORY_TEMPERATURE, UTILIZATION, MEMORY_UTILIZATION, MEMORY_TOTAL, MEMORY_USED, MEMORY_RESERVED,
       POWER, POWER_LIMIT, ENERGY, FAN, SM_CLOCK, MEMORY_CLOCK, PSTATE, REASONS, ENCODER, DECODER, PCIE_GENERATION,
       PCIE_WIDTH, PCIE_RX, PCIE_TX, NVLINK_RX, NVLINK_TX, ECC_CORRECTED, ECC_UNCORRECTED, GPM, SM_ACTIVE, TENSOR_ACTIVE,
       DRAM_ACTIVE, VALUES };

static const char *values[VALUES] = {
    "temperature_c", "memory_temperature_c", "utilization_percent", "memory_utilization_percent", "memory_total_mib",
    "memory_used_mib", "memory_reserved_mib", "power_mw", "power_limit_mw", "energy_mj", "fan_percent", "sm_clock_mhz",
    "memory_clock_mhz", "pstate", "reasons", "encoder_percent", "decoder_percent", "pcie_generation", "pcie_width",
    "pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s", "nvlink_rx_kib_per_s", "nvlink_tx_kib_per_s", "ecc_corrected",
    "ecc_uncorrected", "gpm", "sm_active_permille", "tensor_active_permille", "dram_active_permille"};

typedef struct { char function[64]; int code; int hang_ms; } Rule;
typedef struct { unsigned pid; char type; long long memory_mib; int sm; int mig; } Process;
typedef struct {
    int lost, mig, rules, processes;
    char uuid[96], name[96], serial[30], vbios[32];
    long long set[VALUES];
    Rule rule[MAX_RULES];
    Process process[MAX_PROCESSES];
} Gpu;
typedef struct { int gpu; unsigned long long type, data; long serial; } Event;
typedef struct nvmlDevice_st { int gpu, mig; } Device; /* mig: -1 for the GPU itself */

static struct {
    char driver[80];
    int cuda, gpus, init, dead, missing, events;
    char missing_function[MAX_RULES][64];
    Gpu gpu[MAX_GPUS];
    Event event[MAX_EVENTS];
} state;
static Device device[MAX_GPUS][MAX_MIG + 1];
static struct { int gpu; unsigned long long types; } registered[MAX_GPUS * 2];
static int registrations, delivered_count, initialised;
static Event delivered[MAX_EVENTS * 4];
static struct { struct timespec when; ino_t inode; } seen;
static char seen_path[512] = "?";
static long calls, calls_about[MAX_GPUS], gpm_samples;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* How many calls there were so far, nvmlInit among them, waits for events not; and how many that opened this GPU or asked it something. */
long gpumonStandinCalls(void) { return calls; }
long gpumonStandinCallsAbout(int gpu) { return gpu >= 0 && gpu < MAX_GPUS ? calls_about[gpu] : 0; }
/* How many buffers of performance monitoring are allocated and not freed. */
long gpumonStandinGpmSamples(void) { return gpm_samples; }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the description ---- */

static void defaults(void) {
    memset(&state, 0, sizeof state);
    strcpy(state.driver, "580.159.03");
    state.cuda = 13000;
    state.gpus = 4;
    for (int i = 0; i < MAX_GPUS; i++) {
        Gpu *gpu = &state.gpu[i];
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-%08x-5a17-4c0d-9e2b-%012x", 0x1b0000 + i, 0xabc000 + i);
        strcpy(gpu->name, "NVIDIA H200");
        snprintf(gpu->serial, sizeof gpu->serial, "16532240%05d", i);
        strcpy(gpu->vbios, "96.00.A5.00.03");
        for (int v = 0; v < VALUES; v++) gpu->set[v] = UNSET;
    }
    state.gpu[0].process[0] = (Process){(unsigned)getpid(), 'C', 30720, 85, -1};
    state.gpu[0].processes = 1;
}

static void gpu_line(Gpu *gpu, int index, char *rest) {
    char word[32] = "", text[96] = "", type = 'C';
    int used = 0, a = 0, sm = -1, mig = -1;
    long long number = 0;
    unsigned pid;
    sscanf(rest, "%31s %n", word, &used);
    rest += used;
    if (!strcmp(word, "lost")) gpu->lost = 1;
    else if (!strcmp(word, "mig")) gpu->mig = atoi(rest);
    else if (!strcmp(word, "uuid")) snprintf(gpu->uuid, sizeof gpu->uuid, "%s", rest);
    else if (!strcmp(word, "name")) snprintf(gpu->name, sizeof gpu->name, "%s", rest);
    else if (!strcmp(word, "serial")) snprintf(gpu->serial, sizeof gpu->serial, "%.29s", rest);
    else if (!strcmp(word, "vbios")) snprintf(gpu->vbios, sizeof gpu->vbios, "%.31s", rest);
    else if (!strcmp(word, "set") && sscanf(rest, "%63s %lld", text, &number) == 2) {
        for (int v = 0; v < VALUES; v++)
            if (!strcmp(text, values[v])) gpu->set[v] = number;
    } else if ((!strcmp(word, "fail") || !strcmp(word, "hang")) && sscanf(rest, "%63s %d", text, &a) == 2) {
        if (gpu->rules == MAX_RULES) return;
        Rule *rule = &gpu->rule[gpu->rules++];
        memset(rule, 0, sizeof *rule);
        snprintf(rule->function, sizeof rule->function, "%.63s", text);
        if (word[0] == 'f') rule->code = a;
        else rule->hang_ms = a;
    } else if (!strcmp(word, "process") && sscanf(rest, "%u %c %lld %d %d", &pid, &type, &number, &sm, &mig) >= 3) {
        if (gpu->processes < MAX_PROCESSES) gpu->process[gpu->processes++] = (Process){pid, type, number, sm, mig};
    } else if (!strcmp(word, "xid") && sscanf(rest, "%lld %d", &number, &a) == 2) {
        if (state.events < MAX_EVENTS) state.event[state.events++] = (Event){index, 8, (unsigned long long)number, a};
    } else if (!strcmp(word, "dbe")) {
        if (state.events < MAX_EVENTS) state.event[state.events++] = (Event){index, 2, 0, atoi(rest)};
    }
}

static void reread(void) {
    const char *path = getenv("GPUMON_STANDIN");
    struct stat info = {0};
    if (strcmp(path ? path : "", seen_path)) { /* another machine: its events are its own */
        snprintf(seen_path, sizeof seen_path, "%s", path ? path : "");
        delivered_count = 0;
    } else if (path && stat(path, &info)) {
        return; /* no file yet, or it is just being replaced */
    } else if (info.st_mtim.tv_sec == seen.when.tv_sec && info.st_mtim.tv_nsec == seen.when.tv_nsec && info.st_ino == seen.inode) {
        return;
    }
    if (path) stat(path, &info);
    seen.when = info.st_mtim;
    seen.inode = info.st_ino;
    defaults();
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return;
    for (int i = 0; i < MAX_GPUS; i++) state.gpu[i].processes = 0;
    char line[512], word[32];
    while (fgets(line, sizeof line, file)) {
        int used = 0, index = 0, more = 0;
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || sscanf(line, "%31s %n", word, &used) < 1) continue;
        char *rest = line + used;
        if (!strcmp(word, "driver")) snprintf(state.driver, sizeof state.driver, "%.79s", rest);
        else if (!strcmp(word, "cuda")) state.cuda = atoi(rest);
        else if (!strcmp(word, "gpus")) state.gpus = atoi(rest) < MAX_GPUS ? atoi(rest) : MAX_GPUS;
        else if (!strcmp(word, "init")) state.init = atoi(rest);
        else if (!strcmp(word, "dead")) state.dead = atoi(rest);
        else if (!strcmp(word, "missing") && state.missing < MAX_RULES)
            snprintf(state.missing_function[state.missing++], 64, "%.63s", rest);
        else if (!strcmp(word, "gpu") && sscanf(rest, "%d %n", &index, &more) == 1 && index >= 0 && index < MAX_GPUS)
            gpu_line(&state.gpu[index], index, rest + more);
    }
    fclose(file);
}

/* ---- what every function begins with ---- */

static int rule_code(const Gpu *gpu, const char *function, int *hang_ms) {
    int code = OK;
    for (int r = 0; r < gpu->rules; r++)
        if (!strcmp(gpu->rule[r].function, function)) {
            if (gpu->rule[r].code) code = gpu->rule[r].code;
            if (gpu->rule[r].hang_ms && hang_ms) *hang_ms = gpu->rule[r].hang_ms;
        }
    return code;
}

static int system_begin(const char *function) {
    calls++;
    reread();
    if (state.dead) return state.dead;
    if (!initialised) return UNINITIALIZED;
    for (int m = 0; m < state.missing; m++)
        if (!strcmp(state.missing_function[m], function)) return NO_FUNCTION;
    return OK;
}

static int device_begin(const Device *d, const char *function) {
    int code = system_begin(function), hang_ms = 0;
    if (code) return code;
    if (!d) return INVALID;
    calls_about[d->gpu]++;
    const Gpu *gpu = &state.gpu[d->gpu];
    code = rule_code(gpu, function, &hang_ms);
    for (int waits = hang_ms; waits; ) {
        pthread_mutex_unlock(&lock);
        usleep(hang_ms < 0 ? 5000 : (useconds_t)hang_ms * 1000);
        pthread_mutex_lock(&lock);
        waits = 0;
        if (hang_ms < 0) {
            reread();
            code = rule_code(gpu, function, &waits);
        }
    }
    return gpu->lost ? GPU_LOST : code;
}

#define ENTER_SYSTEM pthread_mutex_lock(&lock); int code = system_begin(__func__)
#define ENTER(d) pthread_mutex_lock(&lock); int code = device_begin(d, __func__); Gpu *gpu = (d) ? &state.gpu[(d)->gpu] : NULL; (void)gpu
#define LEAVE pthread_mutex_unlock(&lock); return code

/* ---- believable values ---- */

static double wave(double period, double phase) { /* 0 .. 1 .. 0 */
    double t = seconds() / period + phase;
    t -= (double)(long long)t;
    return t < 0.5 ? 2 * t : 2 - 2 * t;
}

static long long value(const Gpu *gpu, int what) {
    if (gpu->set[what] != UNSET) return gpu->set[what];
    double phase = (double)(gpu - state.gpu) * 0.17;
    double busy = (gpu - state.gpu) % 4 == 2 ? 0.0 : 0.35 + 0.6 * wave(60, phase);
    switch (what) {
    case TEMPERATURE: return 34 + (long long)(38 * busy + 2 * wave(13, phase));
    case MEMORY_TEMPERATURE: return 38 + (long long)(40 * busy);
    case UTILIZATION: return (long long)(100 * busy);
    case MEMORY_UTILIZATION: return (long long)(55 * busy);
    case MEMORY_TOTAL: return 143771;
    case MEMORY_USED: return busy > 0 ? 32000 + (long long)(60000 * wave(600, phase)) : 4;
    case MEMORY_RESERVED: return 614;
    case POWER: return 75000 + (long long)(600000 * busy + 9000 * wave(7, phase));
    case POWER_LIMIT: return 700000;
    case ENERGY: return (long long)(seconds() - 1.7e9) * 300000;
    case FAN: return 30 + (long long)(40 * busy);
    case SM_CLOCK: return busy > 0 ? 1980 : 345;
    case MEMORY_CLOCK: return 3201;
    case REASONS: return busy > 0.8 ? 4 : busy > 0 ? 0 : 1;
    case PCIE_GENERATION: return 5;
    case PCIE_WIDTH: return 16;
    case PCIE_RX: return busy > 0 ? 2000000000LL : 0;
    case PCIE_TX: return busy > 0 ? 400000000LL : 0;
    case NVLINK_RX: case NVLINK_TX: return 3000000;
    case GPM: return 1;
    case SM_ACTIVE: return (long long)(800 * busy);
    case TENSOR_ACTIVE: return (long long)(450 * busy);
    case DRAM_ACTIVE: return (long long)(550 * busy);
    default: return 0;
    }
}

/* A byte counter that has run at this rate; a rate that stays the same counts exactly. */
static unsigned long long counter(long long per_second) {
    double since = seconds() - 1.7e9;
    return (unsigned long long)((long double)since * (long double)per_second);
}

static void text(char *target, unsigned size, const char *source) { if (size) snprintf(target, size, "%s", source); }

/* ---- the library ---- */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&lock);
    calls++;
    reread();
    int code = state.dead ? state.dead : state.init;
    if (!code) initialised++;
    LEAVE;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    int code = initialised ? OK : UNINITIALIZED;
    if (initialised) initialised--;
    LEAVE;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case UNINITIALIZED: return "Uninitialized";
    case INVALID: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case NO_FUNCTION: return "Function Not Found";
    case GPU_LOST: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { ENTER_SYSTEM; if (!code) text(out, size, state.driver); LEAVE; }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { ENTER_SYSTEM; if (!code) text(out, size, "13.580.159.03"); LEAVE; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER_SYSTEM; if (!code) *out = state.cuda; LEAVE; }
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }
int nvmlDeviceGetCount_v2(unsigned *out) { ENTER_SYSTEM; if (!code) *out = (unsigned)state.gpus; LEAVE; }

static Device *handle_of(int gpu, int mig) {
    Device *d = &device[gpu][mig + 1];
    d->gpu = gpu;
    d->mig = mig;
    calls_about[gpu]++;
    return d;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out) {
    ENTER_SYSTEM;
    if (!code && index >= (unsigned)state.gpus) code = INVALID;
    if (!code && state.gpu[index].lost) code = GPU_LOST;
    if (!code) code = rule_code(&state.gpu[index], __func__, NULL);
    if (!code) *out = handle_of((int)index, -1);
    LEAVE;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, Device **out) {
    unsigned domain = 0, bus = 0;
    ENTER_SYSTEM;
    if (!code) {
        int known = sscanf(bus_id, "%x:%x:", &domain, &bus) == 2 && bus >= 0x1b && (int)bus - 0x1b < state.gpus;
        code = !known ? NOT_FOUND : state.gpu[bus - 0x1b].lost ? GPU_LOST : OK;
    }
    if (!code) *out = handle_of((int)bus - 0x1b, -1);
    LEAVE;
}

/* ---- one GPU: what does not change ---- */

int nvmlDeviceGetIndex(Device *d, unsigned *out) { ENTER(d); if (!code) *out = (unsigned)d->gpu; LEAVE; }
int nvmlDeviceGetSerial(Device *d, char *out, unsigned size) { ENTER(d); if (!code) text(out, size, gpu->serial); LEAVE; }
int nvmlDeviceGetVbiosVersion(Device *d, char *out, unsigned size) { ENTER(d); if (!code) text(out, size, gpu->vbios); LEAVE; }

int nvmlDeviceGetName(Device *d, char *out, unsigned size) {
    ENTER(d);
    if (!code && d->mig < 0) text(out, size, gpu->name);
    if (!code && d->mig >= 0) snprintf(out, size, "%.60s MIG 1g.18gb", gpu->name);
    LEAVE;
}

int nvmlDeviceGetUUID(Device *d, char *out, unsigned size) {
    ENTER(d);
    if (!code && d->mig < 0) text(out, size, gpu->uuid);
    if (!code && d->mig >= 0) snprintf(out, size, "MIG-%08x-77f1-5c3a-8e90-%012x", 0xd0000 + d->gpu, 0x10 + d->mig);
    LEAVE;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } PciInfo;
int nvmlDeviceGetPciInfo_v3(Device *d, PciInfo *out) {
    ENTER(d);
    if (!code) {
        memset(out, 0, sizeof *out);
        out->bus = 0x1b + (unsigned)d->gpu;
        out->id = 0x233510de;
        snprintf(out->legacy, sizeof out->legacy, "0000:%02X:00.0", out->bus);
        snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    }
    LEAVE;
}

/* ---- one GPU: readings ---- */

#define READING(name, what) int name(Device *d, unsigned *out) { ENTER(d); if (!code) *out = (unsigned)value(gpu, what); LEAVE; }
READING(nvmlDeviceGetFanSpeed, FAN)
READING(nvmlDeviceGetPowerUsage, POWER)
READING(nvmlDeviceGetPowerManagementLimit, POWER_LIMIT)
READING(nvmlDeviceGetEnforcedPowerLimit, POWER_LIMIT)
READING(nvmlDeviceGetPerformanceState, PSTATE)
READING(nvmlDeviceGetCurrPcieLinkGeneration, PCIE_GENERATION)
READING(nvmlDeviceGetCurrPcieLinkWidth, PCIE_WIDTH)

int nvmlDeviceGetTemperature(Device *d, unsigned sensor, unsigned *out) {
    ENTER(d);
    if (!code && sensor) code = INVALID;
    if (!code) *out = (unsigned)value(gpu, TEMPERATURE);
    LEAVE;
}

typedef struct { unsigned version, sensor; int temperature; } Temperature;
int nvmlDeviceGetTemperatureV(Device *d, Temperature *out) {
    ENTER(d);
    if (!code && out->version != (sizeof(Temperature) | 1u << 24)) code = VERSION_MISMATCH;
    if (!code) out->temperature = (int)value(gpu, TEMPERATURE);
    LEAVE;
}

typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Device *d, Utilization *out) {
    ENTER(d);
    if (!code && gpu->mig) code = NOT_SUPPORTED;
    if (!code) *out = (Utilization){(unsigned)value(gpu, UTILIZATION), (unsigned)value(gpu, MEMORY_UTILIZATION)};
    LEAVE;
}

int nvmlDeviceGetEncoderUtilization(Device *d, unsigned *out, unsigned *period_us) {
    ENTER(d);
    if (!code && gpu->mig) code = NOT_SUPPORTED;
    if (!code) { *out = (unsigned)value(gpu, ENCODER); *period_us = 167000; }
    LEAVE;
}
int nvmlDeviceGetDecoderUtilization(Device *d, unsigned *out, unsigned *period_us) {
    ENTER(d);
    if (!code && gpu->mig) code = NOT_SUPPORTED;
    if (!code) { *out = (unsigned)value(gpu, DECODER); *period_us = 167000; }
    LEAVE;
}

int nvmlDeviceGetClockInfo(Device *d, unsigned type, unsigned *out) {
    ENTER(d);
    if (!code && type > 3) code = INVALID;
    if (!code) *out = (unsigned)value(gpu, type == 2 ? MEMORY_CLOCK : SM_CLOCK);
    LEAVE;
}

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
static MemoryV2 memory_of(const Gpu *gpu, const Device *d) {
    MemoryV2 m = {0, (unsigned long long)value(gpu, MEMORY_TOTAL) * MIB, (unsigned long long)value(gpu, MEMORY_RESERVED) * MIB, 0,
                  (unsigned long long)value(gpu, MEMORY_USED) * MIB};
    if (d->mig >= 0) {
        m.total /= 8;
        m.reserved = 0;
        m.used = 12 * MIB;
        for (int p = 0; p < gpu->processes; p++)
            if (gpu->process[p].mig == d->mig) m.used += (unsigned long long)gpu->process[p].memory_mib * MIB;
    }
    m.free = m.total - m.used - m.reserved;
    return m;
}
int nvmlDeviceGetMemoryInfo(Device *d, Memory *out) {
    ENTER(d);
    if (!code) { MemoryV2 m = memory_of(gpu, d); *out = (Memory){m.total, m.free, m.used + m.reserved}; }
    LEAVE;
}
int nvmlDeviceGetMemoryInfo_v2(Device *d, MemoryV2 *out) {
    ENTER(d);
    if (!code && out->version != (sizeof(MemoryV2) | 2u << 24)) code = VERSION_MISMATCH;
    if (!code) { unsigned version = out->version; *out = memory_of(gpu, d); out->version = version; }
    LEAVE;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *out) {
    ENTER(d);
    if (!code) *out = (unsigned long long)value(gpu, ENERGY);
    LEAVE;
}
int nvmlDeviceGetCurrentClocksEventReasons(Device *d, unsigned long long *out) {
    ENTER(d);
    if (!code) *out = (unsigned long long)value(gpu, REASONS);
    LEAVE;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, unsigned long long *out) {
    ENTER(d);
    if (!code) *out = (unsigned long long)value(gpu, REASONS);
    LEAVE;
}
int nvmlDeviceGetPcieThroughput(Device *d, unsigned which, unsigned *out) { /* 0: TX; KB/s over 20 ms */
    ENTER(d);
    if (!code) *out = (unsigned)(value(gpu, which ? PCIE_RX : PCIE_TX) / 1000);
    pthread_mutex_unlock(&lock);
    usleep(20000);
    return code;
}
int nvmlDeviceGetTotalEccErrors(Device *d, unsigned type, unsigned kind, unsigned long long *out) {
    ENTER(d);
    (void)kind;
    if (!code) *out = (unsigned long long)value(gpu, type ? ECC_UNCORRECTED : ECC_CORRECTED);
    LEAVE;
}

typedef struct {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    unsigned type;
    int code;
    union { double d; unsigned u; unsigned long long ull; } value;
} FieldValue;

static void field_value(const Gpu *gpu, const Device *d, FieldValue *f) {
    char name[32];
    snprintf(name, sizeof name, "field:%u", f->field);
    f->code = rule_code(gpu, name, NULL);
    f->type = 3;
    f->timestamp_us = (long long)(seconds() * 1e6);
    if (f->code) return;
    if (d->mig >= 0) { f->code = NOT_SUPPORTED; return; }
    switch (f->field) {
    case 3: f->value.ull = (unsigned long long)value(gpu, ECC_CORRECTED); break;
    case 4: f->value.ull = (unsigned long long)value(gpu, ECC_UNCORRECTED); break;
    case 82: f->type = 1; f->value.u = (unsigned)value(gpu, MEMORY_TEMPERATURE); break;
    case 83: f->value.ull = (unsigned long long)value(gpu, ENERGY); break;
    case 138: case 139:
        if (f->scope != NONE) f->code = INVALID;
        f->value.ull = counter(value(gpu, f->field == 138 ? NVLINK_TX : NVLINK_RX));
        break;
    case 197: case 198: /* like the driver's, these wrap at 32 bits */
        f->value.ull = counter(value(gpu, f->field == 197 ? PCIE_TX : PCIE_RX)) & 0xFFFFFFFFu;
        break;
    default: f->code = INVALID;
    }
}
int nvmlDeviceGetFieldValues(Device *d, int count, FieldValue *fields) {
    ENTER(d);
    for (int i = 0; !code && i < count; i++) field_value(gpu, d, &fields[i]);
    LEAVE;
}

/* ---- processes ---- */

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } ProcessInfo;
static int list_processes(const Gpu *gpu, const Device *d, char type, unsigned *count, ProcessInfo *out) {
    unsigned found = 0, room = *count;
    for (int p = 0; p < gpu->processes; p++) {
        const Process *process = &gpu->process[p];
        if (process->type != type && !(process->type == 'B' && type != 'M')) continue;
        if (d->mig >= 0 && process->mig != d->mig) continue;
        if (out && found < room)
            out[found] = (ProcessInfo){process->pid, process->memory_mib < 0 ? ~0ULL : (unsigned long long)process->memory_mib * MIB,
                                       process->mig < 0 ? NONE : 7u + (unsigned)process->mig, process->mig < 0 ? NONE : 0};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT : OK;
}
#define PROCESSES(name, type) int name(Device *d, unsigned *count, ProcessInfo *out) { ENTER(d); if (!code) code = list_processes(gpu, d, type, count, out); LEAVE; }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 'C')
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 'C')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 'G')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 'G')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, 'M')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, 'M')

typedef struct { unsigned pid; unsigned long long timestamp; unsigned sm, memory, encoder, decoder; } UtilizationSample;
int nvmlDeviceGetProcessUtilization(Device *d, UtilizationSample *out, unsigned *count, unsigned long long last) {
    ENTER(d);
    unsigned found = 0, room = *count;
    unsigned long long now = (unsigned long long)(seconds() * 1e6);
    if (!code && gpu->mig) code = NOT_SUPPORTED;
    for (int p = 0; !code && last < now && p < gpu->processes; p++) {
        if (gpu->process[p].sm <= 0) continue;
        if (out && found < room) out[found] = (UtilizationSample){gpu->process[p].pid, now, (unsigned)gpu->process[p].sm, 1, 0, 0};
        found++;
    }
    if (!code) { *count = found; code = !found ? NOT_FOUND : found > room || !out ? INSUFFICIENT : OK; }
    LEAVE;
}

/* ---- MIG ---- */

int nvmlDeviceGetMigMode(Device *d, unsigned *current, unsigned *pending) {
    ENTER(d);
    if (!code) *current = *pending = gpu->mig ? 1 : 0;
    LEAVE;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out) { ENTER(d); if (!code) *out = MAX_MIG; LEAVE; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **out) {
    ENTER(d);
    if (!code && (int)index >= gpu->mig) code = NOT_FOUND;
    if (!code) *out = handle_of(d->gpu, (int)index);
    LEAVE;
}
int nvmlDeviceGetGpuInstanceId(Device *d, unsigned *out) { ENTER(d); if (!code) *out = 7u + (unsigned)d->mig; LEAVE; }
int nvmlDeviceGetComputeInstanceId(Device *d, unsigned *out) { ENTER(d); if (!code) *out = 0; LEAVE; }
int nvmlDeviceIsMigDeviceHandle(Device *d, unsigned *out) { ENTER(d); if (!code) *out = d->mig >= 0; LEAVE; }

typedef struct { unsigned multiprocessors, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices; unsigned long long memory_mb; } Attributes;
int nvmlDeviceGetAttributes_v2(Device *d, Attributes *out) {
    ENTER(d);
    if (!code) *out = (Attributes){16, 1, 1, 0, 1, 0, 1, 1, (unsigned long long)value(gpu, MEMORY_TOTAL) / 8};
    LEAVE;
}

#ifndef WITHOUT_GPM
/* ---- performance monitoring (GPM): what lies between two samples; here the mean of what held at both ---- */

typedef struct { unsigned magic, instance; int gpu, filled; double taken; long long active[3]; } GpmSample;
typedef struct { unsigned version, supported; } GpmSupport;
typedef struct { unsigned id; int code; double value; const char *short_name, *long_name, *unit; } GpmMetric;
typedef struct { unsigned version, count; GpmSample *first, *second; GpmMetric metric[]; } GpmMetrics;
enum { GPM_MAGIC = 0x47504d };

int nvmlGpmQueryDeviceSupport(Device *d, GpmSupport *out) {
    ENTER(d);
    if (!code && out->version != 1) code = VERSION_MISMATCH;
    if (!code) out->supported = value(gpu, GPM) != 0;
    LEAVE;
}
int nvmlGpmSampleAlloc(GpmSample **out) {
    ENTER_SYSTEM;
    if (!code) {
        *out = calloc(1, sizeof **out);
        (*out)->magic = GPM_MAGIC;
        gpm_samples++;
    }
    LEAVE;
}
int nvmlGpmSampleFree(GpmSample *sample) { /* memory of this process: a driver that has gone does not matter */
    pthread_mutex_lock(&lock);
    calls++;
    int code = sample && sample->magic == GPM_MAGIC ? OK : INVALID;
    if (!code) {
        sample->magic = 0;
        free(sample);
        gpm_samples--;
    }
    LEAVE;
}
static int gpm_sample(const Gpu *gpu, const Device *d, unsigned instance, GpmSample *sample) {
    if (!sample || sample->magic != GPM_MAGIC || d->mig >= 0) return INVALID;
    if (!value(gpu, GPM)) return NOT_SUPPORTED;
    if (instance != NONE && (instance < 7 || (int)instance - 7 >= gpu->mig)) return INVALID;
    *sample = (GpmSample){GPM_MAGIC, instance, d->gpu, 1, seconds(),
                          {value(gpu, SM_ACTIVE), value(gpu, TENSOR_ACTIVE), value(gpu, DRAM_ACTIVE)}};
    return OK;
}
int nvmlGpmSampleGet(Device *d, GpmSample *sample) { ENTER(d); if (!code) code = gpm_sample(gpu, d, NONE, sample); LEAVE; }
int nvmlGpmMigSampleGet(Device *d, unsigned instance, GpmSample *sample) {
    ENTER(d);
    if (!code) code = gpm_sample(gpu, d, instance, sample);
    LEAVE;
}
int nvmlGpmMetricsGet(GpmMetrics *get) {
    ENTER_SYSTEM;
    const GpmSample *first = get->first, *second = get->second;
    if (!code && get->version != 1) code = VERSION_MISMATCH;
    if (!code && (!first || !second || first->magic != GPM_MAGIC || second->magic != GPM_MAGIC)) code = INVALID;
    if (!code && (!first->filled || !second->filled || first->taken >= second->taken)) code = INVALID;
    if (!code && (first->gpu != second->gpu || first->instance != second->instance)) code = INVALID;
    for (unsigned m = 0; !code && m < get->count; m++) {
        GpmMetric *metric = &get->metric[m];
        int place = metric->id == 2 ? 0 : metric->id == 5 ? 1 : metric->id == 10 ? 2 : -1;
        char name[32];
        snprintf(name, sizeof name, "gpm:%u", metric->id);
        metric->code = place < 0 ? NOT_SUPPORTED : rule_code(&state.gpu[first->gpu], name, NULL);
        if (!metric->code) metric->value = (double)(first->active[place] + second->active[place]) / 20.0;
    }
    LEAVE;
}

#endif

/* ---- events ---- */

typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } EventData;

int nvmlEventSetCreate(void **out) {
    ENTER_SYSTEM;
    if (!code) { *out = &registrations; registrations = 0; }
    LEAVE;
}
int nvmlEventSetFree(void *set) { (void)set; ENTER_SYSTEM; registrations = 0; LEAVE; }
int nvmlDeviceGetSupportedEventTypes(Device *d, unsigned long long *out) { ENTER(d); if (!code) *out = 0x8 | 0x2 | 0x1; LEAVE; }
int nvmlDeviceRegisterEvents(Device *d, unsigned long long types, void *set) {
    (void)set;
    ENTER(d);
    if (!code) { registered[registrations].gpu = d->gpu; registered[registrations++].types = types; }
    LEAVE;
}

static int next_event(EventData *out) {
    for (int e = 0; e < state.events; e++) {
        Event *event = &state.event[e];
        int wanted = 0, known = 0;
        for (int r = 0; r < registrations; r++) wanted |= registered[r].gpu == event->gpu && (registered[r].types & event->type);
        for (int k = 0; k < delivered_count; k++)
            known |= delivered[k].gpu == event->gpu && delivered[k].type == event->type && delivered[k].data == event->data && delivered[k].serial == event->serial;
        if (!wanted || known || delivered_count == MAX_EVENTS * 4) continue;
        delivered[delivered_count++] = *event;
        *out = (EventData){&device[event->gpu][0], event->type, event->data, NONE, NONE};
        return 1;
    }
    return 0;
}
int nvmlEventSetWait_v2(void *set, EventData *out, unsigned timeout_ms) {
    (void)set;
    double until = seconds() + timeout_ms / 1000.0;
    for (;;) {
        ENTER_SYSTEM;
        calls--; /* waiting is not asking */
        if (!code && next_event(out)) { LEAVE; }
        for (int r = 0; !code && r < registrations; r++) /* as NVML does, which then no longer waits */
            if (state.gpu[registered[r].gpu].lost) code = GPU_LOST;
        if (!code && seconds() >= until) code = TIMEOUT;
        pthread_mutex_unlock(&lock);
        if (code) return code;
        usleep(10000);
    }
}
