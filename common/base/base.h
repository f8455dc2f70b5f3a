/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: errors, byte cursors and buffers, secrets, deadlines, events, the process object.
 * What every other folder stands on. It never talks to a token, a server, or a configuration file.
 */
#ifndef KYOK_BASE_H
#define KYOK_BASE_H

#include "common/base/bytes.h"
#include "common/base/deadline.h"
#include "common/base/error.h"
#include "common/base/event.h"
#include "common/base/key_types.h"
#include "common/base/process.h"
#include "common/base/public_key.h"
#include "common/base/secret.h"

/* The one place for the version. */
#define KYOK_VERSION "0.1.0"

#endif
