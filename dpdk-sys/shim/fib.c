/* Longest prefix match. */
#include <string.h>

#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_version.h>

#include "failed.h"
#include "shim.h"

/* What a table of either family begins with (struct dir24_8_tbl, struct rte_trie_tbl), in every release from 22.11 to
 * 25.11. */
struct head {
	uint32_t groups;
	uint32_t reserved;
};

static int forget_reserved(void *table, uint32_t groups)
{
	struct head *head = table;

	if (head == NULL || head->groups != groups)
		return 0;
	head->reserved = 0;
	return 1;
}

int dp_fib4_forget_reserved(struct rte_fib *fib, uint32_t groups)
{
	return forget_reserved(rte_fib_get_dp(fib), groups);
}

int dp_fib6_forget_reserved(struct rte_fib6 *fib, uint32_t groups)
{
	return forget_reserved(rte_fib6_get_dp(fib), groups);
}

int dp_fib4_new(const char *name, uint32_t routes, uint32_t groups, uint32_t default_hop, int socket,
		struct rte_fib **fib)
{
	struct rte_fib_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.type = RTE_FIB_DIR24_8;
	conf.default_nh = default_hop;
	conf.max_routes = (int)routes;
	conf.dir24_8.nh_sz = RTE_FIB_DIR24_8_4B;
	conf.dir24_8.num_tbl8 = groups;
	*fib = rte_fib_create(name, socket, &conf);
	return *fib == NULL ? failed() : 0;
}

void dp_fib4_free(struct rte_fib *fib)
{
	rte_fib_free(fib);
}

int dp_fib4_add(struct rte_fib *fib, const uint32_t *address, uint8_t depth, uint32_t hop)
{
	return rte_fib_add(fib, *address, depth, hop);
}

int dp_fib4_delete(struct rte_fib *fib, const uint32_t *address, uint8_t depth)
{
	return rte_fib_delete(fib, *address, depth);
}

void dp_fib4_lookup(struct rte_fib *fib, const uint32_t *addresses, uint64_t *hops, uint32_t count)
{
	rte_fib_lookup_bulk(fib, (uint32_t *)(uintptr_t)addresses, hops, (int)count);
}

/* 24.11 gave IPv6 addresses a type of their own; it is the same 16 bytes. */
#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
#define ADDRESS(a) ((const struct rte_ipv6_addr *)(a))
#define ADDRESSES(a) ((const struct rte_ipv6_addr *)(a))
#else
#define ADDRESS(a) (*(a))
#define ADDRESSES(a) ((uint8_t(*)[16])(uintptr_t)(a))
#endif

int dp_fib6_new(const char *name, uint32_t routes, uint32_t groups, uint32_t default_hop, int socket,
		struct rte_fib6 **fib)
{
	struct rte_fib6_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.type = RTE_FIB6_TRIE;
	conf.default_nh = default_hop;
	conf.max_routes = (int)routes;
	conf.trie.nh_sz = RTE_FIB6_TRIE_4B;
	conf.trie.num_tbl8 = groups;
	*fib = rte_fib6_create(name, socket, &conf);
	return *fib == NULL ? failed() : 0;
}

void dp_fib6_free(struct rte_fib6 *fib)
{
	rte_fib6_free(fib);
}

int dp_fib6_add(struct rte_fib6 *fib, const uint8_t (*address)[16], uint8_t depth, uint32_t hop)
{
	return rte_fib6_add(fib, ADDRESS(address), depth, hop);
}

int dp_fib6_delete(struct rte_fib6 *fib, const uint8_t (*address)[16], uint8_t depth)
{
	return rte_fib6_delete(fib, ADDRESS(address), depth);
}

void dp_fib6_lookup(struct rte_fib6 *fib, const uint8_t (*addresses)[16], uint64_t *hops, uint32_t count)
{
	rte_fib6_lookup_bulk(fib, ADDRESSES(addresses), hops, (int)count);
}
