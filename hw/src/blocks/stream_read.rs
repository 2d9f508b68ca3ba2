//! A linear stream as words.

use super::axi_read::{fault, report_as};
use super::fifo::Fifo;
use super::gearbox::Gearbox;
use super::packets::PacketRead;
use super::skid::Skid;
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::gcd;
use std::rc::Rc;

/// Reads a linear stream and delivers its words.
pub struct StreamRead {
    /// B: bits of a port's beat.
    pub bits: u32,
    /// Bits of a word.
    pub word: u32,
}

/// The run whose words are delivered.
pub(crate) struct Run {
    /// Words are still to come; what comes in belongs to them.
    pub(crate) open: Expr,
    /// All words are out: what is left of the run is dropped, and all that is under way.
    pub(crate) flush: Expr,
    /// The run is over.
    pub(crate) done: Expr,
    /// There is a run, or one that waits.
    pub(crate) busy: Expr,
    /// The queue takes another run.
    pub(crate) ready: Expr,
    /// The word that leaves is the run's last.
    pub(crate) last: Expr,
    /// What was given with the run.
    pub(crate) tag: Expr,
}

/// Counts the words of runs. `add`: a run with `tag` and `words` joins the queue; `word`: a word leaves.
/// `done` is a net: the run's last payload beat was taken, after all of its words left.
pub(crate) fn count_runs(
    m: &mut Module,
    design: &mut Design,
    (add, tag, words): (&Expr, &Expr, &Expr),
    word: &Expr,
) -> Result<Run, IrError> {
    let queue_of = Fifo { width: tag.width() + 32, depth: PacketRead::RUNS }.build(design)?;
    let run_q = m.reg_reset("run_q", &lit(0, 1));
    let more_q = m.reg("more_q", uint(1));
    let left_q = m.reg("left_q", uint(32));
    let tag_q = m.reg("tag_q", tag.ty());
    let idle = m.wire("no_run", &!&run_q);
    let entry = cat([tag, words]);
    let queue = m.instance("runs", &queue_of, &[("in_valid_i", add), ("in_data_i", &entry), ("out_ready_i", &idle)]);
    let load = m.wire("load_run", &(&idle & queue.get("out_valid_o")));
    let done = m.net("run_done", uint(1));
    m.next(&run_q, &(&load | &run_q & !&done));
    let count = queue.get("out_data_o").low(32);
    let fewer = left_q.sub_wrap(&lit(1, 32)).as_unsigned();
    m.next_when(&left_q, &(&load | word), &load.mux(&count, &fewer));
    let last = m.wire("last_word", &left_q.eq(&lit(1, 32)));
    m.next_when(&more_q, &(&load | word), &load.mux(&count.any(), &!&last));
    m.next_when(&tag_q, &load, &queue.get("out_data_o").slice(32, tag.width()));
    Ok(Run {
        open: m.wire("open", &(&run_q & &more_q)),
        flush: m.wire("flush", &(&run_q & !&more_q)),
        done,
        busy: &run_q | queue.get("out_valid_o"),
        ready: queue.get("in_ready_o"),
        last,
        tag: tag_q,
    })
}

/// Whether the last payload beat of the run was taken: now, or before.
pub(crate) fn saw_last(m: &mut Module, name: &str, run: &Run, last_moves: &Expr) -> (Expr, Expr) {
    let seen_q = m.reg_reset(&format!("{name}seen_q"), &lit(0, 1));
    let seen = m.wire(&format!("{name}seen"), &(&seen_q | last_moves));
    m.next(&seen_q, &(&seen & !&run.done));
    (seen_q, seen)
}

impl StreamRead {
    fn gearbox(&self) -> Gearbox {
        let element = gcd(self.bits, self.word);
        Gearbox { element, inputs: self.bits / element, outputs: self.word / element, fill: 0 }
    }

    /// Cycles from a beat of the client to the word that it completes.
    pub const LATENCY: u32 = Gearbox::LATENCY + Skid::LATENCY;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, word) = (self.bits, self.word);
        let packets_of = PacketRead { bits }.build(design)?;
        let gearbox_of = self.gearbox().build(design)?;
        let skid_of = Skid { width: word }.build(design)?;
        let mut m = Module::new(format!("tern_stream_b{bits}_w{word}"));
        m.header(&format!(
            "Linear stream: packets of u{bits} beats -> words of u{word}, in order.\n\n\
             Shapes   cmd addr u32 (line), packets u32, words u32 | rd_cmd, rd_data: a client of tern_axi_read\n\
             \x20        out data u{word}\n\
             Rate     one beat or one word a cycle, whichever is less data; between runs a few cycles and the rest\n\
             \x20        of the last packet, which is dropped beat by beat\n\
             Latency  {} cycles from a beat to the word that it completes\n\
             Faults   4 CRC: the payload was passed on; info: the packet's line\n\
             Stalls   all stages hold; the skid cuts the ready path. Later commands are read while words wait\n\
             Oracle   spec::program::write_packets (sim::blocks::stream)",
            Self::LATENCY
        ));
        let rst = m.input("rst_i", uint(1));
        let cmd = m.sink("cmd", &[("addr", uint(32)), ("packets", uint(32)), ("words", uint(32))]);
        let ask = m.source("rd_cmd", &[("addr", uint(40)), ("beats", uint(24))]);
        let data = m.sink("rd_data", &[("data", uint(bits)), ("last", uint(1))]);
        let out = m.source("out", &[("data", uint(word))]);
        let idle = m.output("idle_o", uint(1));

        m.comment("A command goes to the packets and to the count of words.");
        let runs_ready = m.net("runs_ready", uint(1));
        let packets_ready = m.net("packets_ready", uint(1));
        let beat_ready = m.net("beat_ready", uint(1));
        m.drive(&cmd.ready, &(&runs_ready & &packets_ready));
        let start = m.wire("start", &cmd.fire());
        let packets = m.instance(
            "packets",
            &packets_of,
            &[
                ("cmd_valid_i", &start),
                ("cmd_addr_i", &cmd.field("addr")),
                ("cmd_packets_i", &cmd.field("packets")),
                ("rd_cmd_ready_i", &ask.ready),
                ("rd_data_valid_i", &data.valid),
                ("rd_data_data_i", &data.field("data")),
                ("rd_data_last_i", &data.field("last")),
                ("out_ready_i", &beat_ready),
            ],
        );
        m.drive(&packets_ready, &packets.get("cmd_ready_o"));
        m.drive(&ask.valid, &packets.get("rd_cmd_valid_o"));
        m.drive(&ask.field("addr"), &packets.get("rd_cmd_addr_o"));
        m.drive(&ask.field("beats"), &packets.get("rd_cmd_beats_o"));
        m.drive(&data.ready, &packets.get("rd_data_ready_o"));
        let add = m.wire("add", &(&start & cmd.field("packets").any()));
        let leaves = m.net("leaves", uint(1));
        let run = count_runs(&mut m, design, (&add, &lit(0, 1), &cmd.field("words")), &leaves)?;
        m.drive(&runs_ready, &run.ready);
        m.unused("tag", std::slice::from_ref(&run.tag));

        m.comment("Payload to words; when the last word has left, the rest is dropped.");
        let gear_ready = m.net("gear_ready", uint(1));
        let skid_ready = m.net("skid_ready", uint(1));
        let valid = packets.get("out_valid_o");
        let last_moves = m.wire("last_moves", &(&valid & &beat_ready & packets.get("out_last_o")));
        let (seen_q, seen) = saw_last(&mut m, "", &run, &last_moves);
        m.drive(&run.done, &(&run.flush & &seen));
        let enter = m.wire("enter", &(&run.open & !&seen_q));
        m.drive(&beat_ready, &(!&seen_q & (&run.flush | &run.open & &gear_ready)));
        let clear = m.wire("clear", &(&rst | &run.flush));
        let gear = m.instance(
            "gearbox",
            &gearbox_of,
            &[
                ("rst_i", &clear),
                ("in_valid_i", &(&valid & &enter)),
                ("in_data_i", &packets.get("out_data_o")),
                ("in_last_i", &lit(0, 1)),
                ("out_ready_i", &skid_ready),
            ],
        );
        m.drive(&gear_ready, &gear.get("in_ready_o"));
        m.unused("out_last", &[gear.get("out_last_o")]);
        let take = m.wire("take", &(&run.open & &out.ready));
        let skid = m.instance(
            "skid",
            &skid_of,
            &[
                ("rst_i", &clear),
                ("in_valid_i", &gear.get("out_valid_o")),
                ("in_data_i", &gear.get("out_data_o")),
                ("out_ready_i", &take),
            ],
        );
        m.drive(&skid_ready, &skid.get("in_ready_o"));
        m.drive(&out.valid, &(&run.open & skid.get("out_valid_o")));
        m.drive(&out.field("data"), &skid.get("out_data_o"));
        m.drive(&leaves, &out.fire());
        m.drive(&idle, &!(&run.busy | !packets.get("idle_o")));
        report_as(&mut m, &packets.get("fault_valid_o"), &lit(fault::CRC, 8), &packets.get("fault_info_o"));
        design.add(m)
    }
}
