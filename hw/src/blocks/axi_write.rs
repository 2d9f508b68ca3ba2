//! Writes memory for several clients through one AXI4 port.

use super::axi_read::{ADDRESS, Fault, PAGE, absolute, fault, report, require_port};
use super::axi_write_client::AxiWriteClient;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::index_width;
use std::rc::Rc;

/// A writing AXI4 master.
pub struct AxiWrite {
    /// B: bits of a beat.
    pub bits: u32,
    /// Names of the clients, highest priority first.
    pub clients: Vec<String>,
}

impl AxiWrite {
    /// Most beats of a command.
    pub const BEATS: u32 = 255;
    /// Cycles from a command and its first beat to the address, if nothing else is written.
    pub const LATENCY: u32 = AxiWriteClient::LATENCY + 2;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let bits = self.bits;
        let name = format!("tern_axi_write_b{bits}_{}", self.clients.join("_"));
        let count = self.clients.len();
        require_port(&name, bits, count)?;
        let beat = (bits / 8).ilog2();
        let (address, id_width, strobes) = (ADDRESS - beat, index_width(count as u64), bits / 8);
        let part = AxiWriteClient { bits }.build(design)?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Writes memory for {count} clients: memory[addr + i * {strobes}] = data[i] where strb is set.\n\n\
             Shapes   <client>_cmd addr u{ADDRESS} in bytes from mem_base_i, a multiple of {strobes}, beats u8 (1 to {})\n\
             \x20        <client>_data data u{bits}, strb u{strobes}; AXI4 ports m_aw*, m_w*, m_b*, awid = client\n\
             Bursts   a command, cut where it crosses 4 KiB; it begins when its first beat is there. Data of one burst\n\
             \x20        at a time, up to {} bursts of a client without their answers\n\
             Order    the first client that may write does; a client's data follow its command without waiting for others\n\
             Latency  {} cycles from command and data to m_awvalid_o and m_wvalid_o; 3 cycles between bursts\n\
             Faults   1 bad address: beyond mem_bytes_i, the data are taken and lost; 3 write error; info: client in\n\
             \x20        the high byte, then the page (address / 4096)\n\
             Stop     stop_i: no more bursts begin, the open one is filled up with beats that write nothing; busy_o:\n\
             \x20        bursts are open. <client>_idle_o: all of its writes are answered. mem_base_i begins a page\n\
             Stalls   data wait for memory; all outputs are registers\n\
             Oracle   the memory's bytes (sim::blocks::axi_write, sim::axi)",
            Self::BEATS,
            AxiWriteClient::OPEN,
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
        let awid = out(&mut m, "awid", id_width);
        let awaddr = out(&mut m, "awaddr", ADDRESS);
        let awlen = out(&mut m, "awlen", 8);
        let fixed = [("awsize", 3, beat), ("awburst", 2, 1), ("awlock", 1, 0), ("awcache", 4, 3), ("awprot", 3, 0)];
        for (name, width, value) in fixed.into_iter().chain([("awqos", 4, 0)]) {
            let port = out(&mut m, name, width);
            m.drive(&port, &lit(value.into(), width));
        }
        let awvalid = out(&mut m, "awvalid", 1);
        let awready = m.input("m_awready_i", uint(1));
        let [wdata, wstrb, wlast, wvalid] =
            [("wdata", bits), ("wstrb", strobes), ("wlast", 1), ("wvalid", 1)].map(|(n, w)| out(&mut m, n, w));
        let wready = m.input("m_wready_i", uint(1));
        let bid = m.input("m_bid_i", uint(id_width));
        let bresp = m.input("m_bresp_i", uint(2));
        let bvalid = m.input("m_bvalid_i", uint(1));
        let bready = out(&mut m, "bready", 1);
        m.drive(&bready, &lit(1, 1));
        let answer_q = m.reg_reset("answer_q", &lit(0, 1));
        m.next(&answer_q, &bvalid);
        let answer_id_q = m.delay("answer_id_q", &bid);
        let answer_error_q = m.delay("answer_error_q", &bresp.any());

        m.comment("The first client that asks gives the next burst, when the one before is over.");
        let choose = m.net("choose", uint(1));
        let beat_taken = m.net("beat_taken", uint(1));
        let open_q = m.reg_reset("open_q", &lit(0, 1));
        let void_q = m.reg("void_q", uint(1));
        let client_q = m.reg("client_q", uint(id_width));
        let (mut taken, mut opens, mut faults, mut requests, mut datas) =
            (lit(0, 1), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (c, client) in self.clients.iter().enumerate() {
            let cmd = m.sink(&format!("{client}_cmd"), &[("addr", uint(ADDRESS)), ("beats", uint(8))]);
            let data = m.sink(&format!("{client}_data"), &[("data", uint(bits)), ("strb", uint(strobes))]);
            let idle = m.output(&format!("{client}_idle_o"), uint(1));
            let own_id = lit(c as u128, id_width);
            let grant = m.wire(&format!("grant{c}"), &(&choose & !&taken));
            let answer = m.wire(&format!("answer{c}"), &(&answer_q & answer_id_q.eq(&own_id)));
            m.unused(&format!("{client}_addr"), &[cmd.field("addr").low(beat)]);
            let got = m.instance(
                client,
                &part,
                &[
                    ("cmd_valid_i", &cmd.valid),
                    ("cmd_addr_i", &cmd.field("addr").slice(beat, address)),
                    ("cmd_beats_i", &cmd.field("beats")),
                    ("limit_i", &limit),
                    ("data_i", &data.valid),
                    ("req_ready_i", &grant),
                    ("answer_i", &answer),
                ],
            );
            m.drive(&cmd.ready, &got.get("cmd_ready_o"));
            let own = m.wire(&format!("own{c}"), &(&open_q & client_q.eq(&own_id)));
            m.drive(&data.ready, &(&own & &beat_taken));
            taken = m.wire(&format!("taken{c}"), &(&taken | got.get("req_valid_o")));
            m.drive(&idle, &got.get("idle_o"));
            opens.push(got.get("open_o"));
            requests.push(["req_valid_o", "req_addr_o", "req_len_o", "req_void_o"].map(|n| got.get(n)));
            datas.push((data.valid.clone(), data.field("data"), data.field("strb"), own));
            let page = got.get("bad_page_o");
            faults.push(Fault { happens: got.get("bad_o"), code: fault::BAD_ADDRESS, client: c as u32, page });
            let (happens, page) = (&answer & &answer_error_q, got.get("answer_page_o"));
            faults.push(Fault { happens, code: fault::WRITE_ERROR, client: c as u32, page });
        }
        let start = (lit(0, address), lit(0, 8), lit(0, 1), lit(0, id_width));
        let (addr, len, void, id) =
            requests.iter().enumerate().rev().fold(start, |(a, l, v, i), (c, [valid, addr, len, void])| {
                let own_id = lit(c as u128, id_width);
                (valid.mux(addr, &a), valid.mux(len, &l), valid.mux(void, &v), valid.mux(&own_id, &i))
            });

        m.comment("The burst whose data pass. A void one was refused: its data are taken and lost.");
        let aw_valid_q = m.reg_reset("aw_valid_q", &lit(0, 1));
        let chosen_q = m.reg_reset("chosen_q", &lit(0, 1));
        let free = &!&open_q & !&chosen_q;
        // a client without a burst is not stopped by stop_i: what it does not write is lost anyway
        m.drive(&choose, &(&free & !&stop_q));
        let begin = m.wire("begins", &(&choose & &taken));
        let begin_q = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &begin, value);
            q
        };
        let chosen_addr_q = begin_q(&mut m, "chosen_addr_q", &addr);
        let chosen_len_q = begin_q(&mut m, "chosen_len_q", &len);
        m.next_when(&void_q, &begin, &void);
        m.next_when(&client_q, &begin, &id);
        let move_aw = m.wire("move_aw", &(&awready | !&aw_valid_q));
        m.next(&chosen_q, &(&begin & !&void | &chosen_q & !&move_aw));
        m.next_when(&aw_valid_q, &move_aw, &chosen_q);
        let stage = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &(&move_aw & &chosen_q), value);
            q
        };
        let aw_addr_q = stage(&mut m, "aw_addr_q", &absolute(&base, &chosen_addr_q, bits));
        let aw_len_q = stage(&mut m, "aw_len_q", &chosen_len_q);
        let aw_id_q = stage(&mut m, "aw_id_q", &client_q);
        m.drive(&awvalid, &aw_valid_q);
        m.drive(&awaddr, &aw_addr_q);
        m.drive(&awlen, &aw_len_q);
        m.drive(&awid, &aw_id_q);

        m.comment("Data, one beat in a register. A stopped client's beats are replaced by ones without strobes.");
        let left_q = m.reg("left_q", uint(8));
        let w_valid_q = m.reg_reset("w_valid_q", &lit(0, 1));
        let none = (lit(0, 1), lit(0, bits), lit(0, strobes));
        let (given, data, strb) = datas.iter().rev().fold(none, |(g, d, s), (valid, data, strb, own)| {
            (own.mux(valid, &g), own.mux(data, &d), own.mux(strb, &s))
        });
        let move_w = m.wire("move_w", &(&void_q | &wready | !&w_valid_q));
        m.drive(&beat_taken, &(&move_w & !&stop_q));
        let beat_moves = m.wire("beat_moves", &(&open_q & &move_w & (&given | &stop_q)));
        let last = m.wire("last", &left_q.eq(&lit(0, 8)));
        m.next(&open_q, &(&begin | &open_q & !(&beat_moves & &last)));
        m.next_when(&left_q, &(&begin | &beat_moves), &begin.mux(&len, &left_q.sub_wrap(&lit(1, 8)).as_unsigned()));
        let stays = &w_valid_q & !&wready;
        let enter = m.wire("enter", &(&beat_moves & !&void_q));
        m.next(&w_valid_q, &(&enter | stays));
        let held = |m: &mut Module, name: &str, value: &Expr| {
            let q = m.reg(name, value.ty());
            m.next_when(&q, &enter, value);
            q
        };
        let w_data_q = held(&mut m, "w_data_q", &data);
        let w_strb_q = held(&mut m, "w_strb_q", &stop_q.mux(&lit(0, strobes), &strb));
        let w_last_q = held(&mut m, "w_last_q", &last);
        m.drive(&wvalid, &w_valid_q);
        m.drive(&wdata, &w_data_q);
        m.drive(&wstrb, &w_strb_q);
        m.drive(&wlast, &w_last_q);
        m.drive(&busy, &(cat(&opens).any() | (&open_q & !&void_q)));
        report(&mut m, &faults);
        design.add(m)
    }
}
