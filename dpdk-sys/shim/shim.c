#define _GNU_SOURCE /* fopencookie */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

#include "shim.h"

#define AT(field, offset) \
	_Static_assert(offsetof(struct rte_mbuf, field) == (offset), \
		       "rte_mbuf." #field " lies elsewhere in this DPDK: dpdk-sys/src/mbuf.rs does not fit")
AT(buf_addr, DP_MBUF_BUF_ADDR);
AT(data_off, DP_MBUF_DATA_OFF);
AT(refcnt, DP_MBUF_REFCNT);
AT(nb_segs, DP_MBUF_NB_SEGS);
AT(port, DP_MBUF_PORT);
AT(ol_flags, DP_MBUF_OL_FLAGS);
AT(packet_type, DP_MBUF_PACKET_TYPE);
AT(pkt_len, DP_MBUF_PKT_LEN);
AT(data_len, DP_MBUF_DATA_LEN);
AT(vlan_tci, DP_MBUF_VLAN_TCI);
AT(hash.rss, DP_MBUF_HASH);
AT(vlan_tci_outer, DP_MBUF_VLAN_TCI_OUTER);
AT(buf_len, DP_MBUF_BUF_LEN);
AT(pool, DP_MBUF_POOL);
AT(next, DP_MBUF_NEXT);
AT(tx_offload, DP_MBUF_TX_OFFLOAD);
AT(shinfo, DP_MBUF_SHINFO);
AT(priv_size, DP_MBUF_PRIV_SIZE);
AT(dynfield1, DP_MBUF_DYNFIELD1);
_Static_assert(sizeof(struct rte_mbuf) == DP_MBUF_SIZE, "rte_mbuf has another size in this DPDK");

/* What a function that answers NULL or -1 left in rte_errno; never 0, so that it cannot read as success. */
static int failed(void)
{
	return rte_errno ? -rte_errno : -EIO;
}

/* EAL */

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

/* mbufs and pools */

int dp_tag_register(size_t size)
{
	/* Aligned to 4 only, so that it fits beside the 8 bytes of receive timestamp that some drivers take. */
	struct rte_mbuf_dynfield field = {.name = "puntd_tag", .size = size, .align = 4};
	int offset = rte_mbuf_dynfield_register(&field);

	return offset < 0 ? failed() : offset;
}

int dp_pool_new(const char *name, uint32_t size, uint32_t cache, uint16_t data_room, int socket,
		struct rte_mempool **pool)
{
	*pool = rte_pktmbuf_pool_create(name, size, cache, 0, data_room, socket);
	return *pool == NULL ? failed() : 0;
}

uint32_t dp_pool_available(const struct rte_mempool *pool)
{
	return rte_mempool_avail_count(pool);
}

struct rte_mbuf *dp_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int dp_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, uint32_t count)
{
	return rte_pktmbuf_alloc_bulk(pool, packets, count);
}

void dp_free(struct rte_mbuf *packet)
{
	rte_pktmbuf_free(packet);
}

void dp_free_bulk(struct rte_mbuf **packets, uint32_t count)
{
	rte_pktmbuf_free_bulk(packets, count);
}

/* Ports */

uint16_t dp_port_next(uint16_t from)
{
	uint64_t next = rte_eth_find_next_owned_by(from, RTE_ETH_DEV_NO_OWNER);

	return next < RTE_MAX_ETHPORTS ? (uint16_t)next : UINT16_MAX;
}

int dp_port_name(uint16_t port, char name[64])
{
	_Static_assert(RTE_ETH_NAME_MAX_LEN <= 64, "a port's name takes more than 64 bytes in this DPDK");
	return rte_eth_dev_get_name_by_port(port, name);
}

int dp_port_by_name(const char *name)
{
	uint16_t port;
	int status = rte_eth_dev_get_port_by_name(name, &port);

	return status < 0 ? status : port;
}

int dp_port_info(uint16_t port, struct dp_port_info *info)
{
	struct rte_eth_dev_info dev;
	struct rte_ether_addr mac;
	const struct rte_bus *bus;
	uint32_t overhead;
	int status = rte_eth_dev_info_get(port, &dev);

	if (status == 0)
		status = rte_eth_macaddr_get(port, &mac);
	if (status != 0)
		return status;

	memset(info, 0, sizeof(*info));
	snprintf(info->driver, sizeof(info->driver), "%s", dev.driver_name ? dev.driver_name : "");
	bus = dev.device ? rte_dev_bus(dev.device) : NULL;
	info->is_virtual = bus != NULL && strcmp(rte_bus_name(bus), "vdev") == 0;
	info->socket = rte_eth_dev_socket_id(port);
	memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	info->max_rx_queues = dev.max_rx_queues;
	info->max_tx_queues = dev.max_tx_queues;
	info->min_mtu = dev.min_mtu;
	/* A driver says either the longest frame or the largest MTU; rte_eth_dev_configure() holds us to both. */
	overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	if (dev.max_mtu != UINT16_MAX && dev.max_rx_pktlen > dev.max_mtu)
		overhead = dev.max_rx_pktlen - dev.max_mtu;
	info->max_mtu = dev.max_mtu;
	if (dev.max_rx_pktlen > overhead && dev.max_rx_pktlen - overhead < dev.max_mtu)
		info->max_mtu = (uint16_t)(dev.max_rx_pktlen - overhead);
	info->default_rx_descriptors = dev.default_rxportconf.ring_size;
	info->default_tx_descriptors = dev.default_txportconf.ring_size;
	info->rx_offloads = dev.rx_offload_capa;
	info->tx_offloads = dev.tx_offload_capa;
	info->rss = dev.flow_type_rss_offloads;
	return 0;
}

int dp_port_configure(uint16_t port, const struct dp_port_conf *conf)
{
	struct rte_eth_conf eth;

	memset(&eth, 0, sizeof(eth));
	eth.rxmode.mtu = conf->mtu;
	eth.rxmode.offloads = conf->rx_offloads;
	eth.rxmode.mq_mode = conf->rss ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
	eth.rx_adv_conf.rss_conf.rss_hf = conf->rss;
	eth.txmode.offloads = conf->tx_offloads;
	return rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &eth);
}

int dp_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx)
{
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, rx, tx);
}

int dp_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, socket, NULL, pool);
}

int dp_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket)
{
	return rte_eth_tx_queue_setup(port, queue, descriptors, socket, NULL);
}

int dp_port_start(uint16_t port)
{
	return rte_eth_dev_start(port);
}

int dp_port_stop(uint16_t port)
{
	return rte_eth_dev_stop(port);
}

int dp_port_close(uint16_t port)
{
	return rte_eth_dev_close(port);
}

int dp_port_mtu(uint16_t port, uint16_t *mtu)
{
	return rte_eth_dev_get_mtu(port, mtu);
}

int dp_port_set_mtu(uint16_t port, uint16_t mtu)
{
	return rte_eth_dev_set_mtu(port, mtu);
}

int dp_port_set_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr address;

	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	return rte_eth_dev_default_mac_addr_set(port, &address);
}

int dp_port_set_promiscuous(uint16_t port, int on)
{
	return on ? rte_eth_promiscuous_enable(port) : rte_eth_promiscuous_disable(port);
}

int dp_port_set_allmulticast(uint16_t port, int on)
{
	return on ? rte_eth_allmulticast_enable(port) : rte_eth_allmulticast_disable(port);
}

int dp_port_link(uint16_t port, struct dp_link *link)
{
	struct rte_eth_link now;
	int status = rte_eth_link_get_nowait(port, &now);

	if (status != 0)
		return status;
	link->up = now.link_status == RTE_ETH_LINK_UP;
	link->speed_mbps = now.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : now.link_speed;
	link->full_duplex = now.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return 0;
}

int dp_port_stats(uint16_t port, struct dp_stats *stats)
{
	struct rte_eth_stats now;
	int status = rte_eth_stats_get(port, &now);

	if (status != 0)
		return status;
	*stats = (struct dp_stats){
		.rx_packets = now.ipackets,
		.rx_bytes = now.ibytes,
		.rx_missed = now.imissed,
		.rx_errors = now.ierrors,
		.rx_nombuf = now.rx_nombuf,
		.tx_packets = now.opackets,
		.tx_bytes = now.obytes,
		.tx_errors = now.oerrors,
	};
	return 0;
}

int dp_port_stats_reset(uint16_t port)
{
	return rte_eth_stats_reset(port);
}

int dp_port_xstats(uint16_t port, struct dp_xstat *stats, uint32_t room)
{
	_Static_assert(RTE_ETH_XSTATS_NAME_SIZE <= 64, "a statistic's name takes more than 64 bytes in this DPDK");
	struct rte_eth_xstat_name *names = calloc(room, sizeof(*names));
	struct rte_eth_xstat *values = calloc(room, sizeof(*values));
	int count = -ENOMEM;

	if (room == 0 || (names != NULL && values != NULL)) {
		count = rte_eth_xstats_get_names(port, names, room);
		if (count >= 0 && (uint32_t)count <= room)
			count = rte_eth_xstats_get(port, values, room);
		for (int i = 0; i < count && (uint32_t)count <= room; i++) {
			uint64_t id = values[i].id;

			snprintf(stats[i].name, sizeof(stats[i].name), "%s", id < room ? names[id].name : "");
			stats[i].value = values[i].value;
		}
	}
	free(names);
	free(values);
	return count;
}

uint16_t dp_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t room)
{
	return rte_eth_rx_burst(port, queue, packets, room);
}

uint16_t dp_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, packets, count);
}

/* Rings */

int dp_ring_new(const char *name, uint32_t size, int socket, struct rte_ring **ring)
{
	*ring = rte_ring_create(name, size, socket, 0);
	return *ring == NULL ? failed() : 0;
}

uint32_t dp_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **packets, uint32_t count)
{
	return rte_ring_enqueue_burst(ring, (void *const *)packets, count, NULL);
}

uint32_t dp_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **packets, uint32_t room)
{
	return rte_ring_dequeue_burst(ring, (void **)packets, room, NULL);
}

uint32_t dp_ring_len(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}

int dp_ring_port(const char *name, struct rte_ring **rx, uint32_t rx_count, struct rte_ring **tx,
		 uint32_t tx_count)
{
	int port = rte_eth_from_rings(name, rx, rx_count, tx, tx_count, rte_socket_id_by_idx(0));

	return port < 0 ? failed() : port;
}

/* FIB */

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
