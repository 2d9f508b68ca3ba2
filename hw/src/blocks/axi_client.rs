//! One client of a reading AXI4 port.

use super::axi_read::{ADDRESS, BEATS, PAGE};
use super::fifo::Fifo;
use super::fifo_ram::FifoRam;
use super::require::require;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use crate::width::count_width;
use std::rc::Rc;

/// Cuts commands into bursts and keeps their data.
pub struct AxiReadClient {
    /// Bits of a beat.
    pub bits: u32,
    /// Beats of the queue.
    pub fifo: u32,
    /// Most beats of a burst, a power of two.
    pub burst: u32,
}

impl AxiReadClient {
    /// Cycles from a command to its first request.
    pub const LATENCY: u32 = 6;
    /// Deepest queue in LUT RAM.
    pub const LUT_RAM: u32 = 64;
    /// Most open bursts.
    pub const OPEN: u32 = 32;
    /// Bits of a page's number in faults.
    pub const PAGE_NUMBER: u32 = 24;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, fifo) = (self.bits, self.fifo);
        let name = format!("tern_axi_client_b{bits}_d{fifo}_x{}", self.burst);
        let legal = self.burst.is_power_of_two() && self.burst <= 256;
        require(&name, legal, "beats of a burst", "a power of two up to 256", self.burst.into())?;
        require(&name, (1..=1 << 16).contains(&fifo), "beats of a queue", "1 to 65536", fifo.into())?;
        let beat = (bits / 8).ilog2();
        let (address, page) = (ADDRESS - beat, Self::PAGE_NUMBER);
        // a burst fits the queue and its page
        let burst = self.burst.min(1 << fifo.ilog2()).min(1 << (PAGE - beat));
        let ram = fifo > Self::LUT_RAM;
        let mut m = Module::new(name);
        m.header(&format!(
            "A client of a reading port: commands -> bursts of at most {burst} beats, aligned to that; beats -> queue.\n\n\
             Shapes   cmd addr u{address}, beats u{BEATS} | req addr u{address}, len u8 (beats - 1) | beat u{bits}\n\
             \x20        queue [{fifo}] u{} in {} RAM; open bursts [{}] final u1, page u{page}\n\
             Latency  {} cycles from cmd to req; a burst every 3 cycles at most, a command every 3\n\
             Faults   bad_o: a command beyond limit_i, dropped; error_o: a beat with an error\n\
             Stalls   a request waits until the queue has places for all of its beats\n\
             Oracle   sim::blocks::axi_read",
            bits + 1,
            if ram { "block" } else { "LUT" },
            fifo.min(Self::OPEN),
            Self::LATENCY
        ));
        let cmd = m.sink("cmd", &[("addr", uint(address)), ("beats", uint(BEATS))]);
        let limit = m.input("limit_i", uint(address));
        let req = m.source("req", &[("addr", uint(address)), ("len", uint(8))]);
        let [beat_valid, beat_last, beat_error] =
            ["valid", "last", "error"].map(|n| m.input(&format!("beat_{n}_i"), uint(1)));
        let beat_data = m.input("beat_data_i", uint(bits));
        let data = m.source("data", &[("data", uint(bits)), ("last", uint(1))]);
        let [open, bad, error] = ["open", "bad", "error"].map(|n| m.output(&format!("{n}_o"), uint(1)));
        let [bad_page, error_page] = ["bad", "error"].map(|n| m.output(&format!("{n}_page_o"), uint(page)));

        m.comment("A command waits while its end is computed and compared.");
        let wait_q = m.reg_reset("wait_q", &lit(0, 1));
        let summed_q = m.reg_reset("summed_q", &lit(0, 1));
        let checked_q = m.reg_reset("checked_q", &lit(0, 1));
        let wait_addr_q = m.reg("wait_addr_q", uint(address));
        let wait_beats_q = m.reg("wait_beats_q", uint(BEATS));
        let leave = m.net("leave", uint(1));
        m.drive(&cmd.ready, &(&leave | !&wait_q));
        let load = m.wire("load", &cmd.fire());
        m.next(&wait_q, &(&load | &wait_q & !&leave));
        m.next(&summed_q, &(&wait_q & !&leave));
        m.next(&checked_q, &(&summed_q & !&leave));
        m.next_when(&wait_addr_q, &load, &cmd.field("addr"));
        m.next_when(&wait_beats_q, &load, &cmd.field("beats"));
        let end_q = m.delay("end_q", &(&wait_addr_q + &wait_beats_q));
        let beyond_q = m.delay("beyond_q", &end_q.gt(&limit));
        let none_q = m.delay("none_q", &!wait_beats_q.any());
        let drop = m.wire("drop", &(&beyond_q | &none_q));
        m.drive(&bad, &(&checked_q & &beyond_q));
        m.drive(&bad_page, &page_of(&wait_addr_q, bits));

        m.comment("The command in work: where its next burst begins and what is left.");
        let work_q = m.reg_reset("work_q", &lit(0, 1));
        let addr_q = m.reg("addr_q", uint(address));
        let left_q = m.reg("left_q", uint(BEATS));
        let sized_q = m.reg_reset("sized_q", &lit(0, 1));
        let ask_q = m.reg_reset("ask_q", &lit(0, 1));
        let length = count_width(burst.into());
        let len_q = m.reg("len_q", uint(length));
        let final_q = m.reg("final_q", uint(1));
        let ask = m.wire("ask", &req.fire());
        let free = m.wire("free", &(!&work_q | &ask & &final_q));
        m.drive(&leave, &(&checked_q & (&drop | &free)));
        let start = m.wire("start", &(&checked_q & &free & !&drop));
        m.next(&work_q, &(&start | !&free));
        let after = addr_q.add_wrap(&len_q.extend(address));
        m.next_when(&addr_q, &(&start | &ask), &start.mux(&wait_addr_q, &after));
        let rest = left_q.sub_wrap(&len_q.extend(BEATS)).as_unsigned();
        m.next_when(&left_q, &(&start | &ask), &start.mux(&wait_beats_q, &rest));

        m.comment("The next burst ends where a block of the largest burst does, or with the command.");
        let block = match burst {
            1 => lit(1, length),
            _ => lit(burst.into(), length).sub_wrap(&addr_q.low(length - 1).extend(length)).as_unsigned(),
        };
        let all = m.wire("all", &left_q.le(&block.extend(BEATS)));
        m.next(&len_q, &sized_q.mux(&len_q, &all.mux(&left_q.low(length), &block)));
        m.next(&final_q, &sized_q.mux(&final_q, &all));
        m.next(&sized_q, &(&work_q & !&ask));

        m.comment("It is asked for when the queue has places for it; the places are its own from then on.");
        let places = count_width(fifo.into());
        let places_q = m.reg_reset("places_q", &lit(fifo.into(), places));
        let enough = places_q.ge(&len_q.extend(places.max(length)));
        let open_ready = m.net("open_ready", uint(1));
        m.next(&ask_q, &(!&ask & (&ask_q | (&sized_q & &enough & &open_ready))));
        let given = ask.mux(&len_q.extend(places.max(length)), &lit(0, places.max(length))).low(places);
        let back = m.wire("back", &data.fire());
        m.next_when(&places_q, &(&ask | &back), &places_q.sub_wrap(&given).as_unsigned().add_wrap(&back));
        m.drive(&req.valid, &ask_q);
        m.drive(&req.field("addr"), &addr_q);
        m.drive(&req.field("len"), &len_q.extend(8.max(length)).sub_wrap(&lit(1, 8.max(length))).low(8));

        m.comment("Open bursts, and the queue of beats.");
        let open_of = Fifo { width: page + 1, depth: fifo.min(Self::OPEN) }.build(design)?;
        let ends = m.wire("ends", &(&beat_valid & &beat_last));
        let entry = cat([&final_q, &page_of(&addr_q, bits)]);
        let bursts =
            m.instance("open", &open_of, &[("in_valid_i", &ask), ("in_data_i", &entry), ("out_ready_i", &ends)]);
        m.drive(&open_ready, &bursts.get("in_ready_o"));
        m.drive(&open, &bursts.get("out_valid_o"));
        let now = bursts.get("out_data_o");
        m.drive(&error, &(&beat_valid & &beat_error));
        m.drive(&error_page, &now.low(page));
        let queue_of = match ram {
            true => FifoRam { width: bits + 1, depth: fifo.into(), ultra: false }.build(design)?,
            false => Fifo { width: bits + 1, depth: fifo }.build(design)?,
        };
        let entry = cat([&(&beat_last & now.bit(page)), &beat_data]);
        let queue = m.instance(
            "queue",
            &queue_of,
            &[("in_valid_i", &beat_valid), ("in_data_i", &entry), ("out_ready_i", &data.ready)],
        );
        let mut unused = vec![queue.get("in_ready_o")];
        if ram {
            unused.push(queue.get("idle_o"));
        }
        m.unused("queue", &unused);
        m.drive(&data.valid, &queue.get("out_valid_o"));
        m.drive(&data.field("data"), &queue.get("out_data_o").low(bits));
        m.drive(&data.field("last"), &queue.get("out_data_o").bit(bits));
        design.add(m)
    }
}

/// The low bits of the number of the page that holds a beat.
fn page_of(addr: &crate::ir::Expr, bits: u32) -> crate::ir::Expr {
    addr.slice(PAGE - (bits / 8).ilog2(), AxiReadClient::PAGE_NUMBER)
}
