//! One client of a writing AXI4 port.

use super::axi_client::AxiReadClient;
use super::axi_read::{ADDRESS, PAGE};
use super::fifo::Fifo;
use crate::ir::{Design, Expr, Interface, IrError, Module, lit, uint};
use std::rc::Rc;

/// Cuts commands into bursts and counts their answers.
pub struct AxiWriteClient {
    /// Bits of a beat.
    pub bits: u32,
}

impl AxiWriteClient {
    /// Most bursts without an answer.
    pub const OPEN: u32 = 16;
    /// Cycles from a command, whose data wait, to its first request.
    pub const LATENCY: u32 = 5;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let bits = self.bits;
        let beat = (bits / 8).ilog2();
        let (address, page, inside) = (ADDRESS - beat, AxiReadClient::PAGE_NUMBER, PAGE - beat);
        let mut m = Module::new(format!("tern_axi_write_client_b{bits}"));
        m.header(&format!(
            "A client of a writing port: commands -> bursts that cross no page, and their answers.\n\n\
             Shapes   cmd addr u{address}, beats u8 | req addr u{address}, len u8 (beats - 1), void (refused: data only)\n\
             \x20        open bursts [{}] page u{page} in LUT RAM\n\
             Latency  {} cycles from cmd to req; one burst every 3 cycles at most\n\
             Faults   bad_o: a command beyond limit_i; it becomes a void request\n\
             Stalls   a request waits for the first beat (data_i) and for a place among the open bursts\n\
             Oracle   sim::blocks::axi_write",
            Self::OPEN,
            Self::LATENCY
        ));
        let cmd = m.sink("cmd", &[("addr", uint(address)), ("beats", uint(8))]);
        let limit = m.input("limit_i", uint(address));
        let data = m.input("data_i", uint(1));
        let req = m.source("req", &[("addr", uint(address)), ("len", uint(8)), ("void", uint(1))]);
        let answer = m.input("answer_i", uint(1));
        let answer_page = m.output("answer_page_o", uint(page));
        let [open, idle, bad] = ["open", "idle", "bad"].map(|n| m.output(&format!("{n}_o"), uint(1)));
        let bad_page = m.output("bad_page_o", uint(page));

        m.comment("A command, its end, whether it is allowed: one after the other.");
        let work_q = m.reg_reset("work_q", &lit(0, 1));
        let summed_q = m.reg_reset("summed_q", &lit(0, 1));
        let compared_q = m.reg_reset("compared_q", &lit(0, 1));
        let sized_q = m.reg_reset("sized_q", &lit(0, 1));
        let ask_q = m.reg_reset("ask_q", &lit(0, 1));
        let addr_q = m.reg("addr_q", uint(address));
        let left_q = m.reg("left_q", uint(8));
        let len_q = m.reg("len_q", uint(8));
        let final_q = m.reg("final_q", uint(1));
        m.drive(&cmd.ready, &!&work_q);
        let load = m.wire("load", &cmd.fire());
        let ask = m.wire("ask", &req.fire());
        let none = m.wire("none", &(&compared_q & !left_q.any()));
        m.next(&work_q, &(&load | &work_q & !(&ask & &final_q) & !&none));
        m.next(&summed_q, &(&work_q & !&none & !(&ask & &final_q)));
        m.next(&compared_q, &(&summed_q & !&none & !(&ask & &final_q)));
        let end_q = m.reg("end_q", uint(address + 1));
        m.next_when(&end_q, &!&summed_q, &(&addr_q + &left_q));
        let void_q = m.reg("void_q", uint(1));
        m.next_when(&void_q, &!&compared_q, &end_q.gt(&limit));
        let told_q = m.delay("told_q", &compared_q);
        m.drive(&bad, &(&compared_q & &void_q & !&told_q));
        let page_of = |e: &Expr| e.slice(inside, page);
        m.drive(&bad_page, &page_of(&addr_q));

        m.comment("The next burst ends with its page or with the command.");
        let block = lit(1 << inside, inside + 1).sub_wrap(&addr_q.low(inside).extend(inside + 1)).as_unsigned();
        let block = m.wire("block", &block);
        let both = (inside + 1).max(8);
        let short = if inside + 1 > 8 { block.low(8) } else { block.extend(8) };
        let all = m.wire("all", &left_q.extend(both).le(&block.extend(both)));
        m.next_when(&len_q, &!&sized_q, &all.mux(&left_q, &short));
        m.next_when(&final_q, &!&sized_q, &all);
        m.next(&sized_q, &(&compared_q & !&ask & !&none));
        m.next_when(&addr_q, &(&load | &ask), &load.mux(&cmd.field("addr"), &addr_q.add_wrap(&len_q.extend(address))));
        let rest = left_q.sub_wrap(&len_q).as_unsigned();
        m.next_when(&left_q, &(&load | &ask), &load.mux(&cmd.field("beats"), &rest));
        let open_ready = m.net("open_ready", uint(1));
        m.next(&ask_q, &(!&ask & (&ask_q | (&sized_q & &data & &open_ready))));
        m.drive(&req.valid, &ask_q);
        m.drive(&req.field("addr"), &addr_q);
        m.drive(&req.field("len"), &len_q.sub_wrap(&lit(1, 8)).as_unsigned());
        m.drive(&req.field("void"), &void_q);

        m.comment("Open bursts.");
        let open_of = Fifo { width: page, depth: Self::OPEN }.build(design)?;
        let begins = m.wire("begins", &(&ask & !&void_q));
        let inputs = [("in_valid_i", &begins), ("in_data_i", &page_of(&addr_q)), ("out_ready_i", &answer)];
        let bursts = m.instance("open", &open_of, &inputs);
        m.drive(&open_ready, &bursts.get("in_ready_o"));
        m.drive(&open, &bursts.get("out_valid_o"));
        m.drive(&answer_page, &bursts.get("out_data_o"));
        m.drive(&idle, &!(&work_q | bursts.get("out_valid_o")));
        design.add(m)
    }
}
