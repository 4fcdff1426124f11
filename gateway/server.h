#ifndef GATEWAY_SERVER_H
#define GATEWAY_SERVER_H

/* `sluice serve`: wiring, start order, signals, stop order. */

#include "gateway/config.h"

/* Runs until SIGTERM or SIGINT; returns the exit status. */
int server_run(const struct config *c);

#endif
