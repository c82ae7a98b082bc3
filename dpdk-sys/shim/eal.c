/* The EAL: start, log, lcores, memory. */
#define _GNU_SOURCE /* fopencookie */
#include <stdio.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_version.h>

#include "failed.h"
#include "shim.h"

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	dp_log_line line = (dp_log_line)cookie;

	line(rte_log_cur_msg_loglevel(), text, length);
	return length;
}

int dp_log_open(dp_log_line line)
{
	FILE *stream = fopencookie((void *)line, "w", (cookie_io_functions_t){.write = log_write});

	return stream == NULL ? -errno : rte_openlog_stream(stream);
}

int dp_eal_init(int argc, char **argv)
{
	return rte_eal_init(argc, argv) < 0 ? failed() : 0;
}

int dp_eal_cleanup(void)
{
	return rte_eal_cleanup();
}

const char *dp_version(void)
{
	return rte_version();
}

const char *dp_strerror(int error)
{
	return rte_strerror(error);
}

uint32_t dp_lcore_id(void)
{
	return rte_lcore_id();
}

uint32_t dp_main_lcore(void)
{
	return rte_get_main_lcore();
}

uint32_t dp_next_worker(uint32_t lcore)
{
	uint32_t next = rte_get_next_lcore(lcore, 1, 0);

	return next < RTE_MAX_LCORE ? next : UINT32_MAX;
}

int dp_lcore_socket(uint32_t lcore)
{
	return (int)rte_lcore_to_socket_id(lcore);
}

int dp_lcore_runs_on(uint32_t lcore, uint32_t cpu)
{
	rte_cpuset_t cpus = rte_lcore_cpuset(lcore);

	return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &cpus);
}

int dp_launch(int (*f)(void *), void *argument, uint32_t lcore)
{
	return rte_eal_remote_launch(f, argument, lcore);
}

int dp_wait(uint32_t lcore)
{
	return rte_eal_wait_lcore(lcore);
}

uint64_t dp_tsc_hz(void)
{
	return rte_get_tsc_hz();
}

uint64_t dp_memory_in_use(void)
{
	struct rte_malloc_socket_stats stats;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < rte_socket_count(); i++)
		if (rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats) == 0)
			sum += stats.heap_allocsz_bytes;
	return sum;
}
