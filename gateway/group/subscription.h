#ifndef GATEWAY_GROUP_SUBSCRIPTION_H
#define GATEWAY_GROUP_SUBSCRIPTION_H

/* The metadata members of protocol type "consumer" join with
 * (ConsumerProtocolSubscription): i16 version, i32 topics, each i16 length and
 * name; what follows (user data, owned partitions, ...) is not looked at. */

#include "base/bytes.h"

enum subscription_answer { SUBSCRIPTION_NO, SUBSCRIPTION_YES, SUBSCRIPTION_UNREADABLE };

/* Is `topic` among the topics of this metadata, case ignored? Pure. */
enum subscription_answer subscription_has(struct span metadata, struct span topic);

#endif
