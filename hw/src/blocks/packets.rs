//! Packets of a linear stream to the bytes they carry.

use super::crc32c::Crc32c;
use super::fifo::Fifo;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use spec::program::{LINE, PACKET};
use std::rc::Rc;

/// Reads runs of packets, checks them and passes their payload on.
pub struct PacketRead {
    /// B: bits of a beat.
    pub bits: u32,
}

impl PacketRead {
    /// Runs that may wait while one is delivered.
    pub const RUNS: u32 = 4;
    /// Cycles from a packet's last beat to its fault.
    pub const FAULT: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let bits = self.bits;
        let name = format!("tern_packets_b{bits}");
        super::axi_read::require_port(&name, bits, 1)?;
        let beats = PACKET as u32 / (bits / 8);
        let beat = beats.ilog2();
        let crc_of = Crc32c { bits }.build(design)?;
        let lines = (PACKET / LINE).ilog2();
        let queue_of = Fifo { width: 64 - lines, depth: Self::RUNS }.build(design)?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Runs of packets: {beats} beats each, of which {} are payload and the last holds their CRC32C.\n\n\
             Shapes   cmd addr u32 in lines of {LINE} bytes, packets u32 | rd_cmd, rd_data: a client of tern_axi_read\n\
             \x20        out data u{bits}, last (of the run)\n\
             Rate     one beat a cycle; a command's packets are asked for at once, as far as the client's queue goes,\n\
             \x20        while the payload of earlier ones is delivered; up to {} runs wait\n\
             Latency  0 cycles from rd_data to out, one cycle between runs\n\
             Faults   fault_valid_o {} cycles after a packet whose checksum is wrong; its payload was passed on;\n\
             \x20        fault_info_o: the packet's line\n\
             Stalls   rd_data_ready_o depends on out_ready_i\n\
             Oracle   spec::program::write_packets (sim::blocks::stream)",
            beats - 1,
            Self::RUNS,
            Self::FAULT
        ));
        let cmd = m.sink("cmd", &[("addr", uint(32)), ("packets", uint(32))]);
        let ask = m.source("rd_cmd", &[("addr", uint(40)), ("beats", uint(24))]);
        let data = m.sink("rd_data", &[("data", uint(bits)), ("last", uint(1))]);
        let out = m.source("out", &[("data", uint(bits)), ("last", uint(1))]);
        let fault = m.output("fault_valid_o", uint(1));
        let info = m.output("fault_info_o", uint(32));
        let idle = m.output("idle_o", uint(1));
        m.unused("last", &[data.field("last")]);
        // memory has lines for so many packets
        let count = u32::BITS - lines;
        let (one, packets_of_run) = (lit(1, count), cmd.field("packets").low(count));
        m.unused("packets", &[cmd.field("packets").slice(count, lines)]);
        let packet_line = |run: &Expr, packet: &Expr| cat([&run.slice(lines, count).add_wrap(packet), &run.low(lines)]);

        m.comment("Asking: a command for each packet.");
        let go_q = m.reg_reset("go_q", &lit(0, 1));
        let ask_run_q = m.reg("ask_run_q", uint(32));
        let ask_packets_q = m.reg("ask_packets_q", uint(count));
        let asked_q = m.reg("asked_q", uint(count));
        let queue_ready = m.net("queue_ready", uint(1));
        m.drive(&cmd.ready, &(!&go_q & &queue_ready));
        let some = cmd.field("packets").any();
        let start = m.wire("start", &(cmd.fire() & some));
        let asked = m.wire("asked", &ask.fire());
        let next_asked = m.wire("next_asked", &asked_q.add_wrap(&one));
        m.next(&go_q, &(&start | &go_q & !(&asked & next_asked.eq(&ask_packets_q))));
        m.next_when(&ask_run_q, &start, &cmd.field("addr"));
        m.next_when(&ask_packets_q, &start, &packets_of_run);
        m.next(&asked_q, &start.mux(&lit(0, count), &asked.mux(&next_asked, &asked_q)));
        m.drive(&ask.valid, &go_q);
        m.drive(&ask.field("addr"), &cat([&packet_line(&ask_run_q, &asked_q), &lit(0, LINE.ilog2())]).extend(40));
        m.drive(&ask.field("beats"), &lit(beats.into(), 24));

        m.comment("Delivering: runs in order.");
        let run_q = m.reg_reset("run_q", &lit(0, 1));
        let load = m.wire("load", &!&run_q);
        let entry = cat([packets_of_run, cmd.field("addr")]);
        let inputs = [("in_valid_i", &start), ("in_data_i", &entry), ("out_ready_i", &load)];
        let queue = m.instance("queue", &queue_of, &inputs);
        m.drive(&queue_ready, &queue.get("in_ready_o"));
        let from_q = m.reg("from_q", uint(32));
        let packets_q = m.reg("packets_q", uint(count));
        let done_q = m.reg("done_q", uint(count));
        let beat_q = m.reg_reset("beat_q", &lit(0, beat));
        let sum_beat = m.wire("sum_beat", &beat_q.all());
        let final_q = m.reg("final_q", uint(1));
        m.drive(&data.ready, &(&run_q & (&sum_beat | &out.ready)));
        m.drive(&out.valid, &(&run_q & &data.valid & !&sum_beat));
        m.drive(&out.field("data"), &data.field("data"));
        let last_payload = beat_q.eq(&lit((beats - 2).into(), beat));
        m.drive(&out.field("last"), &(&final_q & last_payload));
        let moves = m.wire("moves", &data.fire());
        let ends = m.wire("ends", &(&moves & &sum_beat));
        m.next_when(&beat_q, &moves, &beat_q.add_wrap(&lit(1, beat)));
        let loads = m.wire("loads", &(&load & queue.get("out_valid_o")));
        m.next(&run_q, &(&loads | &run_q & !(&ends & &final_q)));
        let (packets, from) = (queue.get("out_data_o").slice(32, count), queue.get("out_data_o").low(32));
        m.next_when(&from_q, &loads, &from);
        m.next_when(&packets_q, &loads, &packets);
        let next_done = m.wire("next_done", &done_q.add_wrap(&one));
        m.next(&done_q, &loads.mux(&lit(0, count), &ends.mux(&next_done, &done_q)));
        // known long before a packet ends
        m.next(&final_q, &next_done.eq(&packets_q));

        m.comment("The sum of the payload meets the one of the packet two cycles later.");
        let payload = &moves & !&sum_beat;
        let first = beat_q.eq(&lit(0, beat));
        let crc =
            m.instance("crc", &crc_of, &[("valid_i", &payload), ("first_i", &first), ("data_i", &data.field("data"))]);
        let check_q = m.reg_reset("check_q", &lit(0, 1));
        let expected_q = m.reg("expected_q", uint(32));
        let check_line_q = m.reg("check_line_q", uint(32));
        m.next(&check_q, &ends);
        m.next_when(&expected_q, &ends, &data.field("data").low(32));
        m.next_when(&check_line_q, &ends, &packet_line(&from_q, &done_q));
        let differs_q = m.reg_reset("differs_q", &lit(0, 1));
        // eight bits at a time, so that the comparison is short
        let parts = (0..4).map(|i| crc.get("crc_o").lane(i, 8).ne(&expected_q.lane(i, 8)));
        m.next(&differs_q, &(&check_q & cat(parts).any()));
        m.drive(&fault, &differs_q);
        m.drive(&info, &check_line_q);
        let busy = cat([&go_q, &queue.get("out_valid_o"), &run_q, &check_q, &differs_q]).any();
        m.drive(&idle, &!busy);
        design.add(m)
    }
}
