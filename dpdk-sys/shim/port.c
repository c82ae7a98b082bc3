/* Ports and their queues. */
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>

#include "failed.h"
#include "shim.h"

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

int dp_ring_port(const char *name, struct rte_ring **rx, uint32_t rx_count, struct rte_ring **tx,
		 uint32_t tx_count)
{
	int port = rte_eth_from_rings(name, rx, rx_count, tx, tx_count, rte_socket_id_by_idx(0));

	return port < 0 ? failed() : port;
}
