#ifndef GATEWAY_HTTP_WIRE_H
#define GATEWAY_HTTP_WIRE_H

/* The AMQP section codec: the only place of this folder that knows where it is. */

#include "gateway/wire/codec.h"
#include "gateway/wire/event.h"

#endif
