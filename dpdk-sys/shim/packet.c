/* mbufs, their pools, and rings of them. */
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "failed.h"
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
