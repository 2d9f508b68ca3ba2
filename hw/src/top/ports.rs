//! Which client reads through which memory port.

use super::fabric::{Placed, connect};
use crate::blocks::axi_read::AxiRead;
use crate::ir::{Design, Expr, IrError, Module};
use crate::preset::Machine;

/// Most beats of a read burst.
pub(crate) const BURST: u32 = 64;

/// Most bursts of full length of a port that wait for their data: as many as its queues have room for.
pub(crate) fn reads_open(machine: &Machine) -> u32 {
    let of_port = |port| clients(machine).iter().filter(|c| c.port == port).map(|c| c.fifo.div_ceil(BURST)).sum();
    (0..machine.ports).map(of_port).max().unwrap_or(1)
}

/// A source of read commands with its sink of data.
pub(crate) struct Client {
    /// Name of the client.
    pub(crate) name: String,
    /// Its port.
    pub(crate) port: u32,
    /// Beats of its queue.
    pub(crate) fifo: u32,
}

/// All read clients in falling priority, spread over the ports. Weights come last: they are fetched far ahead.
pub(crate) fn clients(machine: &Machine) -> Vec<Client> {
    let ports = machine.ports;
    let client = |name: &str, port: u32, fifo: u32| Client { name: name.to_string(), port: port % ports, fifo };
    let mut all = vec![
        client("prog", 0, 64),
        client("gather", 1, 64),
        client("norm", 2, 1024),
        client("row", 3, 64),
        client("mult", 1, 64),
    ];
    // A unit reads as fast as the slower one of its ports: the outer two, then the next two (with an odd number of ports
    // one unit has the middle one for both). On a Zynq UltraScale+ ports 1 and 2 lag, so one unit is fast.
    for unit in 0..machine.units {
        all.push(client(&format!("k{unit}"), unit, 256));
        all.push(client(&format!("v{unit}"), ports - 1 - unit % ports, 256));
    }
    all.extend((0..ports).map(|port| client(&format!("w{port}"), port, 256)));
    all
}

/// Clients of a port that weights, which are fetched far ahead, give way to: embedding rows, keys and values.
pub(super) fn urgent(machine: &Machine, port: u32) -> Vec<String> {
    let names = clients(machine).into_iter().filter(|c| c.port == port).map(|c| c.name);
    names.filter(|name| name.starts_with(['k', 'v', 'g'])).collect()
}

/// Places a reading master for each port.
pub(super) fn place(
    machine: &Machine,
    design: &mut Design,
    m: &mut Module,
    rst: &Expr,
) -> Result<Vec<Placed>, IrError> {
    let all = clients(machine);
    (0..machine.ports)
        .map(|port| {
            let clients: Vec<_> = all.iter().filter(|c| c.port == port).map(|c| (c.name.clone(), c.fifo)).collect();
            let urgent = urgent(machine, port);
            let of = AxiRead { bits: machine.port_bits, clients, urgent, burst: BURST }.build(design)?;
            Ok(Placed::new(m, &format!("read{port}"), &of, rst))
        })
        .collect()
}

/// Wires a unit's streams `<stem>cmd` and `<stem>data` to the client `name`.
pub(super) fn attach(machine: &Machine, m: &mut Module, reads: &[Placed], name: &str, unit: &Placed, stem: &str) {
    if let Some(client) = clients(machine).into_iter().find(|c| c.name == name) {
        let port = &reads[client.port as usize];
        connect(m, (unit, &format!("{stem}cmd")), (port, &format!("{name}_cmd")));
        connect(m, (port, &format!("{name}_data")), (unit, &format!("{stem}data")));
    }
}
