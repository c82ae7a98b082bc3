//! The end: ports stop, and every packet is to be back in its pool.

use super::Control;

impl Control {
    /// Stops and closes the ports. The workers have left and dropped their queues. Returns what is not as it should be, a sentence each.
    pub fn stop(mut self) -> Vec<String> {
        // Sinks put away what they can while the ports are still there; nobody offers them anything any more.
        self.desk.close();
        let mut findings = Vec::new();
        for port in self.model.into_ports() {
            let name = port.name().to_owned();
            if let Err(error) = port.close() {
                findings.push(format!("port {name} did not stop: {error}"));
            }
        }
        for handle in &self.pools {
            // What drivers kept at start they may keep, or give back now.
            let in_use = handle.pool.in_use();
            if in_use > handle.idle {
                let name = handle.pool.name();
                findings.push(format!(
                    "pool {name}: {in_use} packets are out at the end, {} were at start",
                    handle.idle
                ));
            }
        }
        match dpdk_sys::lost() {
            0 => {}
            lost => findings.push(format!("{lost} packets went out of scope without a verdict")),
        }
        findings
    }
}
