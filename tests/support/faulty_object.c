/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and their attributes. */
#include "tests/support/faulty_montgomery.h"
#include "tests/support/faulty_self.h"

#include <sys/random.h>

CK_RV faulty_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
                            CK_OBJECT_HANDLE *object)
{
    struct faulty_call call;
    if (!faulty_enter_session(&call, FAULTY_C_CreateObject, &session))
        return faulty_leave(&call);
    call.rv = faulty_check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = faulty_self.real->C_CreateObject(session, template, count, object);
    if (call.rv == CKR_OK && faulty_lies(FAULTY_LIE_FORGETS))
        call.rv = faulty_self.real->C_DestroyObject(session, *object);
    if (call.rv == CKR_OK)
        *object = faulty_outer(*object);
    return faulty_leave(&call);
}

static bool enter_object(struct faulty_call *call, enum faulty_function function,
                         CK_SESSION_HANDLE *session, CK_OBJECT_HANDLE *object)
{
    if (faulty_enter_session(call, function, session) && !faulty_inner(object))
        call->rv = CKR_OBJECT_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

/* Of another object, where that is the lie. */
static CK_OBJECT_HANDLE copy_given(CK_OBJECT_HANDLE copy)
{
    unsigned long first = 0;
    if (!faulty_lies(FAULTY_LIE_OTHER_COPY) ||
        atomic_compare_exchange_strong(&faulty_self.first_copy, &first, copy))
        return copy;
    return first;
}

CK_RV faulty_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                          CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
    struct faulty_call call;
    if (enter_object(&call, FAULTY_C_CopyObject, &session, &object))
        call.rv = faulty_self.real->C_CopyObject(session, object, template, count, copy);
    if (call.rv == CKR_OK)
        *copy = faulty_outer(copy_given(*copy));
    return faulty_leave(&call);
}

CK_RV faulty_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct faulty_call call;
    if (enter_object(&call, FAULTY_C_DestroyObject, &session, &object))
        call.rv = faulty_self.real->C_DestroyObject(session, object);
    return faulty_leave(&call);
}

CK_RV faulty_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
    struct faulty_call call;
    if (enter_object(&call, FAULTY_C_GetObjectSize, &session, &object))
        call.rv = faulty_self.real->C_GetObjectSize(session, object, size);
    return faulty_leave(&call);
}

/* Lies about one value; room is what the caller's buffer has. */
static void falsify(CK_ATTRIBUTE *attribute, CK_ULONG room)
{
    bool sizing = attribute->pValue == NULL;
    if (attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION)
        return;
    if (faulty_lies(FAULTY_LIE_ATTRIBUTE_NOISE) && !sizing && attribute->ulValueLen <= 256 &&
        getrandom(attribute->pValue, attribute->ulValueLen, 0) < 0)
        attribute->ulValueLen = 0;
    if (faulty_lies(FAULTY_LIE_ATTRIBUTE_LENGTH) && sizing)
        attribute->ulValueLen = FAULTY_HUGE_LENGTH;
    if (faulty_lies(FAULTY_LIE_ATTRIBUTE_GROWS) && !sizing)
        attribute->ulValueLen = room + 4096;
    if (faulty_lies(FAULTY_LIE_ATTRIBUTE_EMPTY))
        attribute->ulValueLen = 0;
}

/* The real module sees the attributes that the profile knows; the others are "not available". */
static CK_RV get_known(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
                       CK_ULONG count)
{
    CK_ATTRIBUTE known[FAULTY_TEMPLATE_MAX] = {{0}};
    CK_ULONG index[FAULTY_TEMPLATE_MAX];
    CK_ULONG room[FAULTY_TEMPLATE_MAX];
    CK_ULONG known_count = 0;
    if (count > FAULTY_TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    for (CK_ULONG i = 0; i < count; i++) {
        room[i] = template[i].ulValueLen;
        if (faulty_profile_knows(faulty_current_profile(), template[i].type)) {
            index[known_count] = i;
            known[known_count++] = template[i];
        } else {
            template[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
        }
    }
    CK_RV rv = CKR_OK;
    if (known_count > 0)
        rv = faulty_self.real->C_GetAttributeValue(session, object, known, known_count);
    if (faulty_lies(FAULTY_LIE_MONTGOMERY))
        faulty_montgomery_from_edwards(faulty_self.real, session, object, known, known_count);
    for (CK_ULONG i = 0; i < known_count; i++) {
        template[index[i]] = known[i];
        falsify(&template[index[i]], room[index[i]]);
    }
    return rv == CKR_OK && known_count < count ? CKR_ATTRIBUTE_TYPE_INVALID : rv;
}

/* The rest of the template stays as the caller made it. */
static CK_RV get_until(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
                       CK_ULONG count)
{
    CK_RV rv = CKR_OK;
    for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++)
        rv = get_known(session, object, &template[i], 1);
    return rv;
}

CK_RV faulty_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                 CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct faulty_call call;
    if (enter_object(&call, FAULTY_C_GetAttributeValue, &session, &object))
        call.rv = (faulty_lies(FAULTY_LIE_ATTRIBUTE_STOPS) ? get_until : get_known)(
            session, object, template, count);
    return faulty_leave(&call);
}

CK_RV faulty_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                 CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct faulty_call call;
    if (enter_object(&call, FAULTY_C_SetAttributeValue, &session, &object))
        call.rv = faulty_check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = faulty_self.real->C_SetAttributeValue(session, object, template, count);
    return faulty_leave(&call);
}

CK_RV faulty_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct faulty_call call;
    if (faulty_enter_session(&call, FAULTY_C_FindObjectsInit, &session))
        call.rv = faulty_check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = faulty_self.real->C_FindObjectsInit(session, template, count);
    return faulty_leave(&call);
}

static CK_OBJECT_HANDLE number_given(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE found)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE asked = {CKA_CLASS, &class, sizeof(class)};
    if (!faulty_lies(FAULTY_LIE_ONE_NUMBER) ||
        faulty_self.real->C_GetAttributeValue(session, found, &asked, 1) != CKR_OK ||
        class != CKO_PRIVATE_KEY)
        return found;
    atomic_store(&faulty_self.one_number, found);
    return FAULTY_ONE_NUMBER;
}

CK_RV faulty_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG room,
                           CK_ULONG *count)
{
    struct faulty_call call;
    if (!faulty_enter_session(&call, FAULTY_C_FindObjects, &session))
        return faulty_leave(&call);
    call.rv = faulty_self.real->C_FindObjects(session, objects, room, count);
    for (CK_ULONG i = 0; call.rv == CKR_OK && i < *count; i++)
        objects[i] = faulty_outer(number_given(session, objects[i]));
    if (call.rv == CKR_OK && *count == 1 && room > 1 && faulty_lies(FAULTY_LIE_COPY_SHOWN) &&
        atomic_load(&faulty_self.control->functions[FAULTY_C_CopyObject].in_flight) > 0)
        objects[(*count)++] = objects[0];
    if (call.rv == CKR_OK && faulty_lies(FAULTY_LIE_OBJECT_COUNT))
        *count = room + 4096;
    return faulty_leave(&call);
}
