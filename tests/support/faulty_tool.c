/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faulty HSM's control file from the shell: `faulty_tool FILE VERB [ARGUMENT...]`, verbs in the
 * table at the end. Functions are named C_Sign, or by a class: all, calls (all but starting, ending
 * and logging in), logins, sessions, finds, signs, generates.
 */
#include "tests/support/faulty_control.h"
#include "tests/support/faulty_profile.h"
#include "tests/support/faulty_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong(const char *what, const char *which)
{
    fprintf(stderr, "faulty_tool: %s: %s\n", what, which);
    return 2;
}

/* --- classes of functions ----------------------------------------------------------------------
 */

static bool one_of(enum faulty_function function, const enum faulty_function *set, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (set[i] == function)
            return true;
    }
    return false;
}
#define ONE_OF(function, ...)                                                                      \
    one_of(function, (const enum faulty_function[]){__VA_ARGS__},                                  \
           sizeof((const enum faulty_function[]){__VA_ARGS__}) / sizeof(enum faulty_function))

static bool is_any(enum faulty_function function)
{
    (void)function;
    return true;
}

static bool is_login(enum faulty_function function)
{
    return function == FAULTY_C_Login;
}

static bool is_call(enum faulty_function function)
{
    return !ONE_OF(function, FAULTY_C_Initialize, FAULTY_C_Finalize, FAULTY_C_GetFunctionList,
                   FAULTY_C_Login);
}

static bool is_session(enum faulty_function function)
{
    return ONE_OF(function, FAULTY_C_OpenSession, FAULTY_C_CloseSession, FAULTY_C_CloseAllSessions,
                  FAULTY_C_GetSessionInfo);
}

static bool is_find(enum faulty_function function)
{
    return ONE_OF(function, FAULTY_C_FindObjectsInit, FAULTY_C_FindObjects,
                  FAULTY_C_FindObjectsFinal, FAULTY_C_GetAttributeValue);
}

static bool is_sign(enum faulty_function function)
{
    return ONE_OF(function, FAULTY_C_SignInit, FAULTY_C_Sign, FAULTY_C_SignUpdate,
                  FAULTY_C_SignFinal);
}

static bool is_generate(enum faulty_function function)
{
    return ONE_OF(function, FAULTY_C_GenerateKey, FAULTY_C_GenerateKeyPair);
}

static const struct {
    const char *name;
    bool (*has)(enum faulty_function function);
} classes[] = {{"all", is_any},           {"calls", is_call}, {"logins", is_login},
               {"sessions", is_session},  {"finds", is_find}, {"signs", is_sign},
               {"generates", is_generate}};

/* Calls visit for each function that name stands for; 0, or 2 when there is none. */
static int each(struct faulty_control *control, const char *name,
                void (*visit)(struct faulty_function_control *function, long value), long value)
{
    int index = faulty_function_by_name(name);
    if (index >= 0) {
        visit(&control->functions[index], value);
        return 0;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strcmp(classes[i].name, name) != 0)
            continue;
        for (int f = 0; f < FAULTY_FUNCTION_COUNT; f++) {
            if (classes[i].has((enum faulty_function)f))
                visit(&control->functions[f], value);
        }
        return 0;
    }
    return wrong("no such function or class", name);
}

/* --- verbs -------------------------------------------------------------------------------------
 */

struct arguments {
    const char *path;
    struct faulty_control *control;
    int count;
    char **texts;
};

static bool copy_text(char *to, size_t size, const char *from)
{
    return (size_t)snprintf(to, size, "%s", from) < size;
}

static int create(struct arguments *a)
{
    struct faulty_control *control = faulty_control_create(a->path);
    if (control == NULL)
        return wrong(a->path, strerror(errno));
    for (int i = 0; i + 1 < a->count; i += 2) {
        const char *option = a->texts[i];
        const char *value = a->texts[i + 1];
        const char *equals = strchr(value, '=');
        if (strcmp(option, "--module") == 0) {
            if (!copy_text(control->module, sizeof(control->module), value))
                return wrong("too long", value);
        } else if (strcmp(option, "--environment") == 0 && equals != NULL) {
            snprintf(control->environment_name, sizeof(control->environment_name), "%.*s",
                     (int)(equals - value), value);
            if (!copy_text(control->environment_value, sizeof(control->environment_value),
                           equals + 1))
                return wrong("too long", value);
        } else {
            return wrong("wrong option", option);
        }
    }
    return 0;
}

static void set_delay(struct faulty_function_control *function, long us)
{
    atomic_store(&function->delay_us, (uint32_t)us);
}

static int delay(struct arguments *a)
{
    long us;
    if (!faulty_parse_us(a->texts[1], &us))
        return wrong("not a time", a->texts[1]);
    return each(a->control, a->texts[0], set_delay, us);
}

static void set_hang(struct faulty_function_control *function, long times)
{
    atomic_store(&function->hang_calls, (int32_t)times);
}

static int hang(struct arguments *a)
{
    long times = FAULTY_FOREVER;
    if (a->count > 1 && !faulty_parse_times(a->texts[1], &times))
        return wrong("not a count", a->texts[1]);
    return each(a->control, a->texts[0], set_hang, times);
}

static int release(struct arguments *a)
{
    faulty_control_release(a->control);
    return 0;
}

static int hanging(struct arguments *a)
{
    printf("%u\n", faulty_control_hanging(a->control));
    return 0;
}

static int restart(struct arguments *a)
{
    atomic_fetch_add(&a->control->epoch, 1);
    return 0;
}

static int token_removed(struct arguments *a)
{
    atomic_store(&a->control->removed, 1);
    return 0;
}

static int token_returned(struct arguments *a)
{
    atomic_fetch_add(&a->control->epoch, 1);
    atomic_store(&a->control->removed, 0);
    return 0;
}

static CK_RV chosen_rv;

static void set_failure(struct faulty_function_control *function, long times)
{
    atomic_store(&function->fail_rv, chosen_rv);
    atomic_store(&function->fail_calls, (int32_t)times);
}

static void set_loss(struct faulty_function_control *function, long times)
{
    atomic_store(&function->fail_rv, chosen_rv);
    atomic_store(&function->lose_calls, (int32_t)times);
}

/* FUNCTION|CLASS CKR_NAME [CALLS] */
static int fail_by(struct arguments *a, void (*visit)(struct faulty_function_control *, long))
{
    long times = FAULTY_FOREVER;
    if (!faulty_parse_rv(a->texts[1], &chosen_rv))
        return wrong("not a CK_RV", a->texts[1]);
    if (a->count > 2 && !faulty_parse_times(a->texts[2], &times))
        return wrong("not a count", a->texts[2]);
    return each(a->control, a->texts[0], visit, times);
}

static int fail(struct arguments *a)
{
    return fail_by(a, set_failure);
}

static int lose(struct arguments *a)
{
    return fail_by(a, set_loss);
}

static int set_number(_Atomic uint32_t *number, const char *text)
{
    long value;
    if (!faulty_parse_times(text, &value) || value < 0)
        return wrong("not a number", text);
    atomic_store(number, (uint32_t)value);
    return 0;
}

static int limit(struct arguments *a)
{
    return set_number(&a->control->session_limit, a->texts[0]);
}

static int pin_limit(struct arguments *a)
{
    atomic_store(&a->control->pin_failures, 0);
    return set_number(&a->control->pin_limit, a->texts[0]);
}

static int sessions(struct arguments *a)
{
    printf("%u\n", faulty_control_sessions(a->control));
    return 0;
}

static int session_peak(struct arguments *a)
{
    printf("%u\n", atomic_load(&a->control->session_peak));
    return 0;
}

static int set_profile(struct arguments *a)
{
    int index = faulty_profile_by_name(a->texts[0]);
    if (index < 0)
        return wrong("no such profile", a->texts[0]);
    atomic_store(&a->control->profile, (uint32_t)index);
    return 0;
}

static int list_profiles(struct arguments *a)
{
    (void)a;
    for (const struct faulty_profile *p = faulty_profiles; p->name != NULL; p++)
        printf("%-8s %s\n", p->name, p->source);
    return 0;
}

static const struct {
    const char *name;
    enum faulty_lie lie;
} lies[] = {
    {"signature-length", FAULTY_LIE_SIGNATURE_LENGTH},
    {"attribute-length", FAULTY_LIE_ATTRIBUTE_LENGTH},
    {"attribute-grows", FAULTY_LIE_ATTRIBUTE_GROWS},
    {"attribute-empty", FAULTY_LIE_ATTRIBUTE_EMPTY},
    {"attribute-noise", FAULTY_LIE_ATTRIBUTE_NOISE},
    {"slot-count", FAULTY_LIE_SLOT_COUNT},
    {"object-count", FAULTY_LIE_OBJECT_COUNT},
    {"mechanism-count", FAULTY_LIE_MECHANISM_COUNT},
    {"decrypted-length", FAULTY_LIE_DECRYPTED_LENGTH},
    {"own-iv", FAULTY_LIE_OWN_IV},
    {"attribute-stops", FAULTY_LIE_ATTRIBUTE_STOPS},
    {"montgomery", FAULTY_LIE_MONTGOMERY},
    {"oaep-hash", FAULTY_LIE_OAEP_HASH},
    {"forgets", FAULTY_LIE_FORGETS},
    {"other-copy", FAULTY_LIE_OTHER_COPY},
    {"copy-shown", FAULTY_LIE_COPY_SHOWN},
    {"one-number", FAULTY_LIE_ONE_NUMBER},
};

static int lie(struct arguments *a)
{
    uint32_t bits = 0;
    for (int i = 0; i < a->count; i++) {
        uint32_t bit = 0;
        for (size_t l = 0; l < sizeof(lies) / sizeof(lies[0]); l++) {
            if (strcmp(lies[l].name, a->texts[i]) == 0)
                bit = lies[l].lie;
        }
        if (bit == 0)
            return wrong("no such lie", a->texts[i]);
        bits |= bit;
    }
    atomic_store(&a->control->hostile, bits);
    return 0;
}

static void clear_function(struct faulty_function_control *function, long unused)
{
    (void)unused;
    atomic_store(&function->delay_us, 0);
    atomic_store(&function->fail_calls, 0);
    atomic_store(&function->lose_calls, 0);
}

static int clear(struct arguments *a)
{
    struct faulty_control *control = a->control;
    each(control, "all", clear_function, 0);
    faulty_control_release(control);
    if (atomic_load(&control->removed) != 0)
        token_returned(a);
    atomic_store(&control->session_limit, 0);
    atomic_store(&control->pin_limit, 0);
    atomic_store(&control->pin_failures, 0);
    atomic_store(&control->profile, 0);
    atomic_store(&control->hostile, 0);
    return 0;
}

static void reset_function(struct faulty_function_control *function, long unused)
{
    (void)unused;
    atomic_store(&function->calls, 0);
    atomic_store(&function->failures, 0);
    atomic_store(&function->peak, 0);
}

static int reset(struct arguments *a)
{
    atomic_store(&a->control->session_peak, 0);
    return each(a->control, "all", reset_function, 0);
}

static uint64_t sum;

static void add_calls(struct faulty_function_control *function, long unused)
{
    (void)unused;
    sum += atomic_load(&function->calls);
}

/* With names: the sum of their calls. Without: a line for each function that was called. */
static int count(struct arguments *a)
{
    for (int i = 0; i < a->count; i++) {
        if (each(a->control, a->texts[i], add_calls, 0) != 0)
            return 2;
    }
    if (a->count > 0) {
        printf("%llu\n", (unsigned long long)sum);
        return 0;
    }
    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++) {
        struct faulty_function_control *function = &a->control->functions[i];
        if (atomic_load(&function->calls) != 0)
            printf("%s %llu failed %llu peak %d\n", faulty_function_names[i],
                   (unsigned long long)atomic_load(&function->calls),
                   (unsigned long long)atomic_load(&function->failures),
                   atomic_load(&function->peak));
    }
    return 0;
}

static void add_in_flight(struct faulty_function_control *function, long unused)
{
    (void)unused;
    sum += (uint64_t)atomic_load(&function->in_flight);
}

/* Those of a process that ended within one count for ever. */
static int inside(struct arguments *a)
{
    for (int i = 0; i < a->count; i++) {
        if (each(a->control, a->texts[i], add_in_flight, 0) != 0)
            return 2;
    }
    if (a->count == 0)
        each(a->control, "all", add_in_flight, 0);
    printf("%lld\n", (long long)sum);
    return 0;
}

static int peak(struct arguments *a)
{
    int index = faulty_function_by_name(a->texts[0]);
    if (index < 0)
        return wrong("no such function", a->texts[0]);
    printf("%d\n", atomic_load(&a->control->functions[index].peak));
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct arguments *a);
    int least, most; /* arguments */
    const char *help;
} verbs[] = {
    {"create", create, 0, 4, "[--module PATH] [--environment NAME=VALUE]"},
    {"count", count, 0, 99, "[FUNCTION|CLASS...]   calls so far"},
    {"peak", peak, 1, 1, "FUNCTION   most calls that were in flight at once"},
    {"inside", inside, 0, 99, "[FUNCTION|CLASS...]   calls that are under way now"},
    {"reset", reset, 0, 0, "counters to 0"},
    {"delay", delay, 2, 2, "FUNCTION|CLASS TIME   (250us, 1ms, 2s)"},
    {"hang", hang, 1, 2, "FUNCTION|CLASS [CALLS]   until release"},
    {"hanging", hanging, 0, 0, "how many calls hang now"},
    {"release", release, 0, 0, ""},
    {"restart", restart, 0, 0, "the HSM forgets sessions, logins and handles"},
    {"remove", token_removed, 0, 0, "the token leaves its slot"},
    {"return", token_returned, 0, 0, "the token is back"},
    {"fail", fail, 2, 3, "FUNCTION|CLASS CKR_NAME [CALLS]"},
    {"lose", lose, 2, 3, "FUNCTION|CLASS CKR_NAME [CALLS]   it is done, its answer is lost"},
    {"limit", limit, 1, 1, "SESSIONS   over all processes; 0: none"},
    {"sessions", sessions, 0, 0, "open now, over all processes"},
    {"session-peak", session_peak, 0, 0, ""},
    {"pin-limit", pin_limit, 1, 1, "WRONG-PINS until the PIN is locked; 0: never"},
    {"profile", set_profile, 1, 1, "NAME"},
    {"profiles", list_profiles, 0, 0, ""},
    {"lie", lie, 0, 12, "[LIE...]   none: the truth"},
    {"clear", clear, 0, 0, "no faults any more; counters stay"},
};

static int usage(void)
{
    fprintf(stderr, "usage: faulty_tool FILE VERB [ARGUMENT...]\n");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        fprintf(stderr, "  %s %s\n", verbs[i].name, verbs[i].help);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return usage();
    struct arguments a = {.path = argv[1], .count = argc - 3, .texts = argv + 3};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, argv[2]) != 0)
            continue;
        if (a.count < verbs[i].least || a.count > verbs[i].most)
            return usage();
        if (verbs[i].run != create) {
            a.control = faulty_control_open(a.path);
            if (a.control == NULL)
                return wrong(a.path, strerror(errno));
        }
        return verbs[i].run(&a);
    }
    return usage();
}
