//! Reads memory for several clients through one AXI4 port.

use super::axi_client::AxiReadClient;
use super::require::require;
use super::rest::Rest;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::{count_width, index_width};
use std::rc::Rc;

/// Codes of faults on the memory side.
pub mod fault {
    use spec::regs::fault as codes;

    /// An access outside of the memory that the host has given.
    pub const BAD_ADDRESS: u128 = codes::BAD_ADDRESS as u128;
    /// A read that memory answered with an error.
    pub const READ_ERROR: u128 = codes::READ_ERROR as u128;
    /// A write that memory answered with an error.
    pub const WRITE_ERROR: u128 = codes::WRITE_ERROR as u128;
    /// A packet whose checksum is wrong.
    pub const CRC: u128 = codes::CRC as u128;
    /// A weight byte that is no five trits.
    pub const ILLEGAL_CODE: u128 = codes::ILLEGAL_CODE as u128;
}

/// Bits of addresses.
pub const ADDRESS: u32 = 40;
/// Bits of a command's count of beats.
pub const BEATS: u32 = 24;
/// Bits of an address inside of a page, which no burst crosses.
pub const PAGE: u32 = 12;

/// A reading AXI4 master.
pub struct AxiRead {
    /// B: bits of a beat.
    pub bits: u32,
    /// Names of the clients and beats that each one's queue holds, highest priority first.
    pub clients: Vec<(String, u32)>,
    /// While `hurry_i` says that these clients' answers are waited for, the last client has at most two open bursts, and
    /// one while one of them reads (`urgent_o`), so that they do not stand behind all that it has asked for.
    pub urgent: Vec<String>,
    /// Most beats of a burst, a power of two up to 256.
    pub burst: u32,
}

/// A fault of a client: whether it happens, its code and its page.
pub(crate) struct Fault {
    pub(crate) happens: Expr,
    pub(crate) code: u128,
    pub(crate) client: u32,
    pub(crate) page: Expr,
}

/// Makes the fault ports: the first of these faults, one cycle later. Info: client, then page.
pub(crate) fn report(m: &mut Module, faults: &[Fault]) {
    let none = (lit(0, 1), lit(0, 8), lit(0, 32));
    let (any, code, info) = faults.iter().rev().fold(none, |(any, code, info), f| {
        let own = cat([lit(f.client.into(), 8), f.page.low(24)]);
        (&f.happens | &any, f.happens.mux(&lit(f.code, 8), &code), f.happens.mux(&own, &info))
    });
    report_as(m, &any, &code, &info);
}

/// Makes the fault ports, one cycle behind these values.
pub(crate) fn report_as(m: &mut Module, any: &Expr, code: &Expr, info: &Expr) {
    let ports = [("valid", 1), ("code", 8), ("info", 32)].map(|(n, w)| m.output(&format!("fault_{n}_o"), uint(w)));
    let valid_q = m.reg_reset("fault_valid_q", &lit(0, 1));
    m.next(&valid_q, any);
    let code_q = m.reg("fault_code_q", uint(8));
    let info_q = m.reg("fault_info_q", uint(32));
    m.next_when(&code_q, any, code);
    m.next_when(&info_q, any, info);
    for (port, value) in ports.iter().zip([valid_q, code_q, info_q]) {
        m.drive(port, &value);
    }
}

/// The legal widths of a port.
pub(crate) fn require_port(module: &str, bits: u32, clients: usize) -> Result<(), IrError> {
    let width = bits.is_power_of_two() && (32..=1024).contains(&bits);
    require(module, width, "bits of a beat", "a power of two from 32 to 1024", bits.into())?;
    require(module, (1..=256).contains(&clients), "clients", "1 to 256", clients as u64)
}

/// `base + offset` of addresses in beats: the base begins a page.
pub(crate) fn absolute(base: &Expr, offset: &Expr, bits: u32) -> Expr {
    let beat = (bits / 8).ilog2();
    let inside = PAGE - beat;
    let page = offset.slice(inside, ADDRESS - PAGE).add_wrap(&base.slice(PAGE, ADDRESS - PAGE));
    cat([page, offset.low(inside), lit(0, beat)])
}

impl AxiRead {
    /// Cycles from a command to its first address, if nothing else is asked for.
    pub const LATENCY: u32 = AxiReadClient::LATENCY + 2;

    fn name(&self) -> String {
        let clients: Vec<String> = self.clients.iter().map(|(name, fifo)| format!("{name}{fifo}")).collect();
        let urgent = if self.urgent.is_empty() { String::new() } else { format!("_u{}", self.urgent.join("_")) };
        format!("tern_axi_read_b{}_x{}_{}{urgent}", self.bits, self.burst, clients.join("_"))
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, name) = (self.bits, self.name());
        let count = self.clients.len();
        require_port(&name, bits, count)?;
        let beat = (bits / 8).ilog2();
        let (address, id_width) = (ADDRESS - beat, index_width(count as u64));
        let mut m = Module::new(name);
        m.header(&format!(
            "Reads memory for {count} clients: data[i] = memory[addr + i * {}], last with a command's last beat.\n\n\
             Shapes   <client>_cmd addr u{ADDRESS} in bytes from mem_base_i, a multiple of {}, beats u{BEATS}\n\
             \x20        <client>_data data u{bits}, last; AXI4 ports m_ar*, m_r*, arid = client\n\
             Bursts   aligned, at most {} beats, so that none crosses 4 KiB; place for all of its beats is\n\
             \x20        reserved first, so m_rready_o is always high; many are open at once\n\
             Order    the first client that may ask does; ids may answer interleaved\n\
             Urgent   {}\n\
             Latency  {} cycles from a command to m_arvalid_o, 2 from m_rvalid_i to the data of an empty queue\n\
             Faults   1 bad address: beyond mem_bytes_i, nothing of the command is asked for; 2 read error: the data\n\
             \x20        passes on; info: client in the high byte, then the page (address / 4096)\n\
             Stop     stop_i: no more bursts begin; busy_o: bursts are open. mem_base_i begins a page\n\
             Stalls   a client that takes no data stops only itself\n\
             Oracle   the memory's bytes (sim::blocks::axi_read, sim::axi)",
            bits / 8,
            bits / 8,
            self.burst,
            match self.urgent.is_empty() {
                true => "none".to_string(),
                false => format!(
                    "urgent_o: {} has bursts open or asks for one. While hurry_i is high the last client has at\n\
                     \x20        most two bursts open, one while urgent_o is high, too",
                    self.urgent.join(" or ")
                ),
            },
            Self::LATENCY
        ));
        let base = m.input("mem_base_i", uint(ADDRESS));
        let bytes = m.input("mem_bytes_i", uint(ADDRESS));
        let stop = m.input("stop_i", uint(1));
        let busy = m.output("busy_o", uint(1));
        m.unused("base", &[base.low(PAGE), bytes.low(beat)]);
        let limit = bytes.slice(beat, address);
        let stop_q = m.delay("stop_q", &stop);
        let out = |m: &mut Module, name: &str, width: u32| m.output(&format!("m_{name}_o"), uint(width));
        let arid = out(&mut m, "arid", id_width);
        let araddr = out(&mut m, "araddr", ADDRESS);
        let arlen = out(&mut m, "arlen", 8);
        // modifiable and bufferable, so that interconnects may merge
        let fixed = [("arsize", 3, beat), ("arburst", 2, 1), ("arlock", 1, 0), ("arcache", 4, 3), ("arprot", 3, 0)];
        for (name, width, value) in fixed.into_iter().chain([("arqos", 4, 0)]) {
            let port = out(&mut m, name, width);
            m.drive(&port, &lit(value.into(), width));
        }
        let arvalid = out(&mut m, "arvalid", 1);
        let arready = m.input("m_arready_i", uint(1));
        let rid = m.input("m_rid_i", uint(id_width));
        let rdata = m.input("m_rdata_i", uint(bits));
        let rresp = m.input("m_rresp_i", uint(2));
        let rlast = m.input("m_rlast_i", uint(1));
        let rvalid = m.input("m_rvalid_i", uint(1));
        let rready = out(&mut m, "rready", 1);
        m.drive(&rready, &lit(1, 1));

        m.comment("Beats come through a register.");
        let beat_valid_q = m.reg_reset("beat_valid_q", &lit(0, 1));
        m.next(&beat_valid_q, &rvalid);
        let held = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &rvalid, value);
            q
        };
        let beat_id_q = held(&mut m, "beat_id_q", &rid);
        let beat_data_q = held(&mut m, "beat_data_q", &rdata);
        let beat_last_q = held(&mut m, "beat_last_q", &rlast);
        let beat_error_q = held(&mut m, "beat_error_q", &rresp.any());

        m.comment("The first client that asks is served, if the next address may be chosen.");
        let choose = m.net("choose", uint(1));
        let limit_q = (!self.urgent.is_empty()).then(|| {
            let hurry = m.input("hurry_i", uint(1));
            let open = m.reg_reset("last_open_q", &lit(0, count_width(AxiReadClient::OPEN.into()) + 1));
            let (urgent, out) = (m.reg_reset("urgent_q", &lit(0, 1)), m.output("urgent_o", uint(1)));
            m.drive(&out, &urgent);
            (urgent, m.delay("hurry_q", &hurry), open)
        });
        let mut urgent = lit(0, 1);
        let (mut taken, mut opens, mut faults) = (lit(0, 1), Vec::new(), Vec::new());
        let chosen = (lit(0, address), lit(0, 8), lit(0, id_width));
        let mut requests = Vec::new();
        for (c, (client, fifo)) in self.clients.iter().enumerate() {
            let part = AxiReadClient { bits, fifo: *fifo, burst: self.burst }.build(design)?;
            let cmd = m.sink(&format!("{client}_cmd"), &[("addr", uint(ADDRESS)), ("beats", uint(BEATS))]);
            let data = m.source(&format!("{client}_data"), &[("data", uint(bits)), ("last", uint(1))]);
            let open = m.net(&format!("open{c}"), uint(1));
            let may = match &limit_q {
                Some((urgent, hurry, open)) if c + 1 == count => {
                    let more = open.slice(1, open.width() - 1).any();
                    !(hurry & ((urgent & open.any()) | more))
                }
                _ => lit(1, 1),
            };
            let grant = m.wire(&format!("grant{c}"), &((&choose & !&taken) & &may));
            let own = m.wire(&format!("beat{c}"), &(&beat_valid_q & beat_id_q.eq(&lit(c as u128, id_width))));
            let addr = cmd.field("addr");
            m.unused(&format!("{client}_addr"), &[addr.low(beat)]);
            let (from, beats) = (addr.slice(beat, address), cmd.field("beats"));
            let mut given = vec![
                ("cmd_valid_i", &cmd.valid),
                ("cmd_addr_i", &from),
                ("cmd_beats_i", &beats),
                ("limit_i", &limit),
                ("req_ready_i", &grant),
                ("beat_valid_i", &own),
                ("beat_data_i", &beat_data_q),
                ("beat_last_i", &beat_last_q),
                ("beat_error_i", &beat_error_q),
                ("data_ready_i", &data.ready),
            ];
            let rests = design.is_for_simulation().then(|| {
                let on = m.net(&format!("{client}_on"), uint(1));
                (Rest::Brief.clock(&mut m, client, &on), on)
            });
            given.extend(rests.iter().map(|(clock, _)| ("clk_i", clock)));
            let got = m.instance(client, &part, &given);
            if let Some((_, on)) = rests {
                let asked = got.get("req_valid_o") & &grant;
                let moves = [cmd.fire(), asked, own.clone(), data.fire(), m.reset()];
                m.drive(&on, &cat(&moves).any());
            }
            m.drive(&cmd.ready, &got.get("cmd_ready_o"));
            m.drive(&data.valid, &got.get("data_valid_o"));
            m.drive(&data.field("data"), &got.get("data_data_o"));
            m.drive(&data.field("last"), &got.get("data_last_o"));
            m.drive(&open, &got.get("open_o"));
            let asks = m.wire(&format!("asks{c}"), &(got.get("req_valid_o") & &may));
            taken = m.wire(&format!("taken{c}"), &(&taken | &asks));
            if self.urgent.contains(client) {
                urgent = urgent | (&asks | &open);
            }
            if let Some((_, _, open_q)) = limit_q.as_ref().filter(|_| c + 1 == count) {
                let (more, fewer) = (&grant & &asks, &own & &beat_last_q);
                let one = lit(1, open_q.width());
                let next = more.mux(&open_q.add_wrap(&one), &open_q.sub_wrap(&one).as_unsigned());
                m.next_when(open_q, &(&more ^ &fewer), &next);
            }
            opens.push(open);
            requests.push((asks, got.get("req_addr_o"), got.get("req_len_o")));
            for (port, code) in [("bad", fault::BAD_ADDRESS), ("error", fault::READ_ERROR)] {
                let (happens, page) = (got.get(&format!("{port}_o")), got.get(&format!("{port}_page_o")));
                faults.push(Fault { happens, code, client: c as u32, page });
            }
        }
        if let Some((urgent_q, ..)) = &limit_q {
            m.next(urgent_q, &urgent);
        }
        let first = requests.iter().enumerate().rev().fold(chosen, |(a, l, i), (c, (valid, addr, len))| {
            (valid.mux(addr, &a), valid.mux(len, &l), valid.mux(&lit(c as u128, id_width), &i))
        });

        m.comment("The chosen address, then with the base added.");
        let chosen_q = m.reg_reset("chosen_q", &lit(0, 1));
        let ar_valid_q = m.reg_reset("ar_valid_q", &lit(0, 1));
        let move_ar = m.wire("move_ar", &(&arready | !&ar_valid_q));
        let move_chosen = m.wire("move_chosen", &(&move_ar | !&chosen_q));
        m.drive(&choose, &(&move_chosen & !&stop_q));
        m.next_when(&chosen_q, &move_chosen, &(&taken & !&stop_q));
        m.next_when(&ar_valid_q, &move_ar, &chosen_q);
        let stage = |m: &mut Module, name: &str, enable: &Expr, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, enable, value);
            q
        };
        let chosen_addr_q = stage(&mut m, "chosen_addr_q", &move_chosen, &first.0);
        let chosen_len_q = stage(&mut m, "chosen_len_q", &move_chosen, &first.1);
        let chosen_id_q = stage(&mut m, "chosen_id_q", &move_chosen, &first.2);
        let addr_q = stage(&mut m, "addr_q", &move_ar, &absolute(&base, &chosen_addr_q, bits));
        let len_q = stage(&mut m, "len_q", &move_ar, &chosen_len_q);
        let id_q = stage(&mut m, "id_q", &move_ar, &chosen_id_q);
        m.drive(&arvalid, &ar_valid_q);
        m.drive(&araddr, &addr_q);
        m.drive(&arlen, &len_q);
        m.drive(&arid, &id_q);
        m.drive(&busy, &cat(&opens).any());
        report(&mut m, &faults);
        design.add(m)
    }
}
