/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what people and programs tell kyok: kyok.conf, key references, PEM key references, PIN
 * sources, policies. It parses and checks; it never contacts a custodian.
 */
#ifndef KYOK_CONFIG_H
#define KYOK_CONFIG_H

#include "common/config/kyok_conf.h"
#include "common/config/pem_reference.h"
#include "common/config/pin_source.h"
#include "common/config/policy.h"
#include "common/config/reference.h"

#endif
