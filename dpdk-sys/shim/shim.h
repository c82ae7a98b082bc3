/* The one door between Rust and DPDK: what is inline, thread-local, a macro or differs between versions, as plain
 * functions, one call per burst. Rust's declarations are generated from this file and from nothing else.
 * Results: an int below zero is a negated errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf_core.h>

struct rte_fib;
struct rte_fib6;
struct rte_mempool;
struct rte_ring;

/* Where rte_mbuf's fields lie. Rust's struct and DPDK's are both held to these numbers at build time. */
enum {
	DP_MBUF_BUF_ADDR = 0,
	DP_MBUF_DATA_OFF = 16,
	DP_MBUF_REFCNT = 18,
	DP_MBUF_NB_SEGS = 20,
	DP_MBUF_PORT = 22,
	DP_MBUF_OL_FLAGS = 24,
	DP_MBUF_PACKET_TYPE = 32,
	DP_MBUF_PKT_LEN = 36,
	DP_MBUF_DATA_LEN = 40,
	DP_MBUF_VLAN_TCI = 42,
	DP_MBUF_HASH = 44,
	DP_MBUF_VLAN_TCI_OUTER = 52,
	DP_MBUF_BUF_LEN = 54,
	DP_MBUF_POOL = 56,
	DP_MBUF_NEXT = 64,
	DP_MBUF_TX_OFFLOAD = 72,
	DP_MBUF_SHINFO = 80,
	DP_MBUF_PRIV_SIZE = 88,
	DP_MBUF_DYNFIELD1 = 92,
	DP_MBUF_SIZE = 128,
};

/* RTE_BIT64() macros, which bindgen does not see. */
static const uint64_t DP_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t DP_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t DP_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t DP_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t DP_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t DP_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t DP_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t DP_RSS_IP_UDP_TCP = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

static const uint32_t DP_POOL_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE;
static const uint32_t DP_PORTS_MAX = RTE_MAX_ETHPORTS;
static const uint16_t DP_HEADROOM = RTE_PKTMBUF_HEADROOM;

/* EAL */
typedef void (*dp_log_line)(int level, const char *text, size_t length);
int dp_log_open(dp_log_line line); /* before dp_eal_init; all of DPDK's log goes to line */
int dp_eal_init(int argc, char **argv);
int dp_eal_cleanup(void);
const char *dp_version(void);
const char *dp_strerror(int error);
uint32_t dp_lcore_id(void);
uint32_t dp_main_lcore(void);
uint32_t dp_next_worker(uint32_t lcore); /* UINT32_MAX: the first one; returns UINT32_MAX after the last */
int dp_lcore_socket(uint32_t lcore);
/* Whether the lcore may run on this CPU. */
int dp_lcore_runs_on(uint32_t lcore, uint32_t cpu);
int dp_launch(int (*f)(void *), void *argument, uint32_t lcore);
int dp_wait(uint32_t lcore);
uint64_t dp_tsc_hz(void);
uint64_t dp_memory_in_use(void); /* bytes of DPDK's heap that are allocated, all sockets */

/* mbufs and pools */
int dp_tag_register(size_t size); /* offset of the dynamic field in the mbuf */
int dp_pool_new(const char *name, uint32_t size, uint32_t cache, uint16_t data_room, int socket,
		struct rte_mempool **pool);
uint32_t dp_pool_available(const struct rte_mempool *pool);
struct rte_mbuf *dp_alloc(struct rte_mempool *pool);
int dp_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, uint32_t count); /* all or none */
void dp_free(struct rte_mbuf *packet);
void dp_free_bulk(struct rte_mbuf **packets, uint32_t count);

/* Ports */
struct dp_port_info {
	char driver[64];
	int socket;
	uint8_t mac[6];
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint16_t default_rx_descriptors; /* 0: the driver has no opinion */
	uint16_t default_tx_descriptors;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss;
	int is_virtual;
};
struct dp_port_conf {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t mtu;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss; /* 0: no RSS */
};
struct dp_link {
	int up;
	uint32_t speed_mbps;
	int full_duplex;
};
struct dp_stats {
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_nombuf;
	uint64_t tx_packets, tx_bytes, tx_errors;
};
struct dp_xstat {
	char name[64];
	uint64_t value;
};
uint16_t dp_port_next(uint16_t from); /* the first port from here on, UINT16_MAX when there is none */
int dp_port_name(uint16_t port, char name[64]);
int dp_port_by_name(const char *name); /* port */
int dp_port_info(uint16_t port, struct dp_port_info *info);
int dp_port_configure(uint16_t port, const struct dp_port_conf *conf);
int dp_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx);
int dp_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket, struct rte_mempool *pool);
int dp_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket);
int dp_port_start(uint16_t port);
int dp_port_stop(uint16_t port);
int dp_port_close(uint16_t port);
int dp_port_mtu(uint16_t port, uint16_t *mtu);
int dp_port_set_mtu(uint16_t port, uint16_t mtu);
int dp_port_set_mac(uint16_t port, const uint8_t mac[6]);
int dp_port_set_promiscuous(uint16_t port, int on);
int dp_port_set_allmulticast(uint16_t port, int on);
int dp_port_link(uint16_t port, struct dp_link *link);
int dp_port_stats(uint16_t port, struct dp_stats *stats);
int dp_port_stats_reset(uint16_t port);
int dp_port_xstats(uint16_t port, struct dp_xstat *stats, uint32_t room); /* how many there are */
uint16_t dp_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t room);
uint16_t dp_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count);

/* Rings */
int dp_ring_new(const char *name, uint32_t size, int socket, struct rte_ring **ring);
uint32_t dp_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **packets, uint32_t count);
uint32_t dp_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **packets, uint32_t room);
uint32_t dp_ring_len(const struct rte_ring *ring);
int dp_ring_port(const char *name, struct rte_ring **rx, uint32_t rx_count, struct rte_ring **tx,
		 uint32_t tx_count); /* port */

/* FIB: IPv4 addresses in host order, IPv6 in network order, both by pointer; next hops of 31 bits */
int dp_fib4_new(const char *name, uint32_t routes, uint32_t groups, uint32_t default_hop, int socket,
		struct rte_fib **fib);
void dp_fib4_free(struct rte_fib *fib);
/* Sets DPDK's count of reserved groups to 0; 0 if the table, made for so many groups, does not look as expected. */
int dp_fib4_forget_reserved(struct rte_fib *fib, uint32_t groups);
int dp_fib4_add(struct rte_fib *fib, const uint32_t *address, uint8_t depth, uint32_t hop);
int dp_fib4_delete(struct rte_fib *fib, const uint32_t *address, uint8_t depth);
void dp_fib4_lookup(struct rte_fib *fib, const uint32_t *addresses, uint64_t *hops, uint32_t count);
int dp_fib6_new(const char *name, uint32_t routes, uint32_t groups, uint32_t default_hop, int socket,
		struct rte_fib6 **fib);
void dp_fib6_free(struct rte_fib6 *fib);
int dp_fib6_forget_reserved(struct rte_fib6 *fib, uint32_t groups);
int dp_fib6_add(struct rte_fib6 *fib, const uint8_t (*address)[16], uint8_t depth, uint32_t hop);
int dp_fib6_delete(struct rte_fib6 *fib, const uint8_t (*address)[16], uint8_t depth);
void dp_fib6_lookup(struct rte_fib6 *fib, const uint8_t (*addresses)[16], uint64_t *hops, uint32_t count);
