#ifndef TEST_UNIT_THROTTLE_SIM_PRIV_H
#define TEST_UNIT_THROTTLE_SIM_PRIV_H

/* What sim.c and sim_scopes.c share. */

#include "test/unit/throttle/sim.h"

/* A run at the present time, after all that happens at it. */
void sim_run_soon(struct sim *sim);
void sim_run_now(struct sim *sim);

void sim_place(struct sim *sim, struct sim_lane *l, const struct throttle_place *p);
void sim_drain(struct sim *sim, struct sim_scope *s, enum throttle_direction d);
void sim_admit(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
	       const struct throttle_cost *c);
void sim_give(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
	      const struct throttle_cost *c);
void sim_wait(struct sim_lane *l, enum throttle_direction d, const struct throttle_cost *c, bool in);
int64_t sim_longest(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
		    const struct throttle_cost *c);
bool sim_is_limit(const struct sim_lane *l, const struct throttle_reason *r);

#endif
