//! The weight stream: all ports' packets to words of codes, and the buffer of words.

use super::axi_read::{fault, report_as, require_port};
use super::fifo::Fifo;
use super::listed;
use super::packets::PacketRead;
use super::require::require;
use super::ring::{Ring, TOTAL};
use super::stream_read::{count_runs, saw_last};
use super::weight_port::WeightPort;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use std::rc::Rc;

/// N linear streams of weights.
pub struct Weights {
    /// B: bits of a port's beat.
    pub bits: u32,
    /// N: ports.
    pub ports: u32,
    /// Codes of a word, T*Q.
    pub codes: u32,
    /// Words of the buffer.
    pub buffer_words: u64,
}

/// Takes that wait.
const TAKES: u32 = 8;

impl Weights {
    fn name(&self) -> String {
        format!("tern_weights_b{}_n{}_c{}_d{}", self.bits, self.ports, self.codes, self.buffer_words)
    }

    /// What makes words of a port's beats.
    pub fn port(&self) -> WeightPort {
        WeightPort { bytes: self.bits / 8, codes: self.codes / self.ports }
    }

    fn buffer(&self) -> Ring {
        Ring { width: 5 * self.codes, depth: self.buffer_words }
    }

    /// Cycles from the beat that completes a word to that word, through an empty buffer.
    pub fn latency(&self) -> u32 {
        WeightPort::LATENCY + Ring::LATENCY
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, ports, codes) = (self.bits, self.ports, self.codes);
        let name = self.name();
        require_port(&name, bits, ports as usize)?;
        let shares = codes > 0 && codes.is_multiple_of(ports);
        require(&name, shares, "codes of a word", "a multiple of the number of ports", codes.into())?;
        let own = codes / ports;
        let packets_of = PacketRead { bits }.build(design)?;
        let port_of = self.port().build(design)?;
        let buffer_of = self.buffer().build(design)?;
        let takes_of = Fifo { width: TOTAL + 2, depth: TAKES }.build(design)?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Weights: {ports} linear streams -> words of {codes} codes; port i carries codes {own}i .. {own}(i+1).\n\n\
             Shapes   cmd sherry, addr u32 (line of port 0), stride u32 (lines from port to port), packets u32 (of each),\n\
             \x20        words u32 | rd<i>_cmd, rd<i>_data: clients of tern_axi_read | out [{codes}] u5\n\
             \x20        buffer [{}] u{} in UltraRAM, three registers behind it\n\
             Listed   a run of the groups that come through list: of each, a packet of every port, `each` words; the\n\
             \x20        ring turns them round (tern_ring). It waits until all earlier words have left\n\
             Taken    words leave as take asks for them; with hold they stay and come once more (tern_ring). {TAKES} takes wait\n\
             Rate     one beat a cycle and port or one word a cycle, whichever is less data\n\
             Latency  {} cycles from the beat that completes a word to the word, if the buffer is empty\n\
             Runs     the rest of a run's last packet is dropped, a beat a cycle; a few cycles later the next run's\n\
             \x20        beats are taken, in the other format if it says so. The buffer bridges this\n\
             Faults   4 CRC: info is the packet's line; 5 illegal code: info is the port; the codes read as zeros\n\
             Stalls   all stages hold; each port's packets are read ahead as far as its client's queue goes\n\
             Oracle   spec::program::{{WordReader, write_packets}} (sim::blocks::weights)",
            self.buffer_words,
            5 * codes,
            self.latency()
        ));
        let fields =
            [("sherry", 1), ("listed", 1), ("addr", 32), ("stride", 32), ("packets", 32), ("words", 32), ("each", 16)];
        let cmd = m.sink("cmd", &fields.map(|(n, w)| (n, uint(w))));
        let take = m.sink("take", &[("total", uint(TOTAL)), ("hold", uint(1)), ("again", uint(1))]);
        let out = m.source("out", &[("data", uint(5 * codes))]);
        let idle = m.output("idle_o", uint(1));

        m.comment("A command goes to one port after the other.");
        let feed_q = m.reg_reset("feed_q", &lit(0, ports));
        let feed_line_q = m.reg("feed_line_q", uint(32));
        let stride_q = m.reg("stride_q", uint(32));
        let packets_q = m.reg("packets_q", uint(32));
        let runs_ready = m.net("runs_ready", uint(1));
        let rests = m.net("rests", uint(1));
        let next_run = listed::build(&mut m, &cmd, &(&runs_ready & !feed_q.any()), &rests);
        let start = &next_run.start;
        let given = m.net("given", uint(1));
        let next = if ports == 1 { lit(0, 1) } else { cat([feed_q.low(ports - 1), lit(0, 1)]) };
        m.next_when(&feed_q, &(start | &given), &start.mux(&lit(1, ports), &next));
        let line = start.mux(&next_run.line, &feed_line_q.add_wrap(&stride_q));
        m.next_when(&feed_line_q, &(start | &given), &line);
        m.next_when(&stride_q, &cmd.fire(), &cmd.field("stride"));
        m.next_when(&packets_q, start, &next_run.packets);
        let push = m.net("push", uint(1));
        let run = count_runs(&mut m, design, (start, &next_run.tag, &next_run.words), &push)?;
        m.drive(&runs_ready, &run.ready);

        m.comment("Each port: packets, codes.");
        let (mut gives, mut valids, mut lanes, mut ends, mut idles, mut faults) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for i in 0..ports {
            let rd = format!("rd{i}");
            let ask = m.source(&format!("{rd}_cmd"), &[("addr", uint(40)), ("beats", uint(24))]);
            let data = m.sink(&format!("{rd}_data"), &[("data", uint(bits)), ("last", uint(1))]);
            let beat_ready = m.net(&format!("beat_ready{i}"), uint(1));
            let feed = feed_q.bit(i);
            let packets = m.instance(
                &format!("packets{i}"),
                &packets_of,
                &[
                    ("cmd_valid_i", &feed),
                    ("cmd_addr_i", &feed_line_q),
                    ("cmd_packets_i", &packets_q),
                    ("rd_cmd_ready_i", &ask.ready),
                    ("rd_data_valid_i", &data.valid),
                    ("rd_data_data_i", &data.field("data")),
                    ("rd_data_last_i", &data.field("last")),
                    ("out_ready_i", &beat_ready),
                ],
            );
            gives.push(&feed & packets.get("cmd_ready_o"));
            m.drive(&ask.valid, &packets.get("rd_cmd_valid_o"));
            m.drive(&ask.field("addr"), &packets.get("rd_cmd_addr_o"));
            m.drive(&ask.field("beats"), &packets.get("rd_cmd_beats_o"));
            m.drive(&data.ready, &packets.get("rd_data_ready_o"));
            let valid = packets.get("out_valid_o");
            let last_moves = m.wire(&format!("last_moves{i}"), &(&valid & &beat_ready & packets.get("out_last_o")));
            let (seen_q, seen) = saw_last(&mut m, &format!("p{i}"), &run, &last_moves);
            ends.push(seen);
            let enter = m.wire(&format!("enter{i}"), &(&run.open & !&seen_q));
            let port = m.instance(
                &format!("port{i}"),
                &port_of,
                &[
                    ("clear_i", &run.flush),
                    ("sherry_i", &run.tag.bit(0)),
                    ("in_valid_i", &(&valid & &enter)),
                    ("in_data_i", &packets.get("out_data_o")),
                    ("out_ready_i", &push),
                ],
            );
            m.drive(&beat_ready, &(!&seen_q & (&run.flush | &run.open & port.get("in_ready_o"))));
            valids.push(port.get("out_valid_o"));
            lanes.push(port.get("out_data_o"));
            idles.push(packets.get("idle_o"));
            faults.push((packets.get("fault_valid_o"), fault::CRC, packets.get("fault_info_o")));
            faults.push((port.get("illegal_o"), fault::ILLEGAL_CODE, lit(i.into(), 32)));
        }
        m.drive(&given, &cat(&gives).any());
        m.drive(&run.done, &(&run.flush & cat(&ends).all()));

        m.comment("A word is complete when every port has its part.");
        let buffer_ready = m.net("buffer_ready", uint(1));
        m.drive(&push, &(&run.open & &buffer_ready & cat(&valids).all()));
        let word = cat(lanes.iter().rev());
        let asked = cat([&take.field("again"), &take.field("hold"), &take.field("total")]);
        let take_ready = m.net("take_ready", uint(1));
        let inputs = [("in_valid_i", &take.valid), ("in_data_i", &asked), ("out_ready_i", &take_ready)];
        let takes = m.instance("takes", &takes_of, &inputs);
        m.drive(&take.ready, &takes.get("in_ready_o"));
        let asked = takes.get("out_data_o");
        let (take_valid, total) = (takes.get("out_valid_o"), asked.low(TOTAL));
        let (hold, again) = (asked.bit(TOTAL), asked.bit(TOTAL + 1));
        let inputs = [
            ("take_valid_i", &take_valid),
            ("take_total_i", &total),
            ("take_hold_i", &hold),
            ("take_again_i", &again),
            ("in_valid_i", &push),
            ("in_data_i", &word),
            ("rewind_i", &next_run.rewind),
            ("turn_i", &run.tag.bit(1)),
            ("end_i", &run.last),
            ("final_i", &run.tag.bit(2)),
            ("keep_i", &next_run.keep),
            ("out_ready_i", &out.ready),
        ];
        let buffer = m.instance("buffer", &buffer_of, &inputs);
        m.drive(&buffer_ready, &buffer.get("in_ready_o"));
        m.drive(&take_ready, &buffer.get("take_ready_o"));
        m.drive(&out.valid, &buffer.get("out_valid_o"));
        m.drive(&out.field("data"), &buffer.get("out_data_o"));
        m.drive(&rests, &(cat(&idles).all() & buffer.get("idle_o") & !(feed_q.any() | &run.busy)));
        m.drive(&idle, &(&rests & !&next_run.busy));
        let none: (Expr, Expr, Expr) = (lit(0, 1), lit(0, 8), lit(0, 32));
        let (any, code, info) = faults.iter().rev().fold(none, |(any, code, info), (happens, own, own_info)| {
            (happens | &any, happens.mux(&lit(*own, 8), &code), happens.mux(own_info, &info))
        });
        report_as(&mut m, &any, &code, &info);
        design.add(m)
    }
}
