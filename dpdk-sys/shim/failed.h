/* What a DPDK function that answers NULL or -1 left behind. */
#pragma once

#include <errno.h>

#include <rte_errno.h>

/* A negated errno; never 0, so that it cannot read as success. */
static inline int failed(void)
{
	return rte_errno ? -rte_errno : -EIO;
}
