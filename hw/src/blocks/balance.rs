//! Shares the packets of several streams out among memory ports of unequal speed.

use super::fifo::Fifo;
use super::require::require;
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, RamStyle, Sink, Source, cat, lit, uint};
use crate::width::{count_width, index_width};
use spec::program::PACKET;
use std::rc::Rc;

/// Sits between N streams of packets and N ports: the next packet goes to a port that has nothing to do.
pub struct Balance {
    /// B: bits of a beat.
    pub bits: u32,
    /// N: streams, and ports.
    pub ports: u32,
    /// Packets of a stream that are asked for and not yet delivered, a power of two.
    pub frames: u32,
}

/// Packets that a port is asked for: one comes while the next is on its way.
const ASKED: u32 = 2;

/// A packet on its way through a port.
struct Head {
    valid: Expr,
    /// Stream and lowest bit of the frame: the memory that its beats are written to.
    target: Expr,
    fires: Expr,
    /// A cycle later: the frame's other bits and the beat.
    place: Expr,
    last: Expr,
    data: Expr,
}

impl Balance {
    /// Beats of a packet.
    fn beats(&self) -> u32 {
        PACKET as u32 / (self.bits / 8)
    }

    /// Cycles from a packet's last beat to its first one at the stream.
    pub const LATENCY: u32 = 4;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bits, ports, frames, beats) = (self.bits, self.ports, self.frames, self.beats());
        let name = format!("tern_balance_b{bits}_n{ports}_f{frames}");
        super::axi_read::require_port(&name, bits, ports as usize)?;
        require(&name, ports > 1, "ports", "at least 2", ports.into())?;
        let legal = frames.is_power_of_two() && (2..=16).contains(&frames);
        require(&name, legal, "packets of a stream", "2, 4, 8 or 16", frames.into())?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Shares packets out: stream i's packets come in its order, through whichever port is free.\n\n\
             Shapes   s<i>_cmd addr u40 (bytes), s<i>_data data u{bits}, last: what {ports} readers of packets ask for and get\n\
             \x20        p<j>_cmd, p<j>_data: clients of tern_axi_read, one on each port\n\
             \x20        frames [{ports}][{frames}][{beats}] u{bits} in Block RAM, even and odd ones apart\n\
             Why      ports that share a switch of the memory lag behind others; striping evenly would make all wait\n\
             Rate     one beat a cycle and stream; ports together as much as they give\n\
             Order    packets are handed out in the order stream 0, 1, .. {}, 0, ..: every stream must ask for as many\n\
             \x20        as the others do. A port has at most {ASKED} of them; one without any is served first, one with\n\
             \x20        p<j>_taken_i, which reads for somebody else, not at all: a packet there would hold up the others\n\
             Latency  a packet is delivered when it is complete, {} cycles after its last beat\n\
             Stalls   a packet is asked for when a frame waits for it, so ports are never held up but where two of them\n\
             \x20        write the same memory: then the lower one goes first\n\
             Oracle   the memory's bytes (sim::blocks::weights)",
            ports - 1,
            Self::LATENCY
        ));
        let fields = [("addr", uint(40)), ("beats", uint(24))];
        let word = [("data", uint(bits)), ("last", uint(1))];
        let asks: Vec<Sink> = (0..ports).map(|i| m.sink(&format!("s{i}_cmd"), &fields)).collect();
        let gives: Vec<Source> = (0..ports).map(|i| m.source(&format!("s{i}_data"), &word)).collect();
        let outs: Vec<Source> = (0..ports).map(|j| m.source(&format!("p{j}_cmd"), &fields)).collect();
        let ins: Vec<Sink> = (0..ports).map(|j| m.sink(&format!("p{j}_data"), &word)).collect();
        let taken: Vec<Expr> = (0..ports).map(|j| m.input(&format!("p{j}_taken_i"), uint(1))).collect();
        m.unused("beats", &asks.iter().map(|ask| ask.field("beats")).collect::<Vec<_>>());
        m.unused("lasts", &ins.iter().map(|data| data.field("last")).collect::<Vec<_>>());

        let released: Vec<Expr> = (0..ports).map(|i| m.net(&format!("released{i}"), uint(1))).collect();
        let heads = self.hand_out(&mut m, design, &asks, &released, &outs, &ins, &taken)?;
        for (i, give) in gives.iter().enumerate() {
            self.deliver(&mut m, i as u32, &heads, give, &released[i]);
        }
        design.add(m)
    }

    /// Gives each packet a frame and a port, and follows it through the port.
    #[allow(clippy::too_many_arguments)]
    fn hand_out(
        &self,
        m: &mut Module,
        design: &mut Design,
        asks: &[Sink],
        released: &[Expr],
        outs: &[Source],
        ins: &[Sink],
        taken_ports: &[Expr],
    ) -> Result<Vec<Head>, IrError> {
        let (ports, frames) = (self.ports, self.frames);
        let (stream_bits, frame_bits, beat_bits) =
            (index_width(ports.into()), index_width(frames.into()), self.beats().ilog2());
        let counts = count_width(frames.into());
        m.comment("The stream whose turn it is gives a packet away when it has a frame for it.");
        let turn_q = m.reg_reset("turn_q", &lit(0, stream_bits));
        let held_q = m.reg_reset("held_q", &lit(0, 1));
        let go = m.net("go", uint(1));
        let room = m.wire("room", &(&go | !&held_q));
        let (mut takes, mut addr, mut frame) = (Vec::new(), lit(0, 40), lit(0, frame_bits));
        for (i, ask) in asks.iter().enumerate() {
            let free_q = m.reg_reset(&format!("free{i}_q"), &lit(frames.into(), counts));
            let next_q = m.reg_reset(&format!("frame{i}_q"), &lit(0, frame_bits));
            let own = m.wire(&format!("own{i}"), &(turn_q.eq(&lit(i as u128, stream_bits)) & free_q.any()));
            m.drive(&ask.ready, &(&own & &room));
            let take = m.wire(&format!("take{i}"), &ask.fire());
            let (fewer, more) = (free_q.sub_wrap(&lit(1, counts)).as_unsigned(), free_q.add_wrap(&lit(1, counts)));
            m.next_when(&free_q, &(&take ^ &released[i]), &take.mux(&fewer, &more));
            m.next_when(&next_q, &take, &next_q.add_wrap(&lit(1, frame_bits)));
            addr = own.mux(&ask.field("addr"), &addr);
            frame = own.mux(&next_q, &frame);
            takes.push(take);
        }
        let take = m.wire("take", &cat(&takes).any());
        m.next_when(&turn_q, &take, &super::fifo::wrapping_next(&turn_q, ports.into()));
        m.next(&held_q, &(&take | &held_q & !&go));
        let held_addr_q = m.reg("held_addr_q", uint(40));
        let held_to_q = m.reg("held_to_q", uint(stream_bits + frame_bits));
        m.next_when(&held_addr_q, &take, &addr);
        m.next_when(&held_to_q, &take, &cat([&turn_q, &frame]));

        m.comment("A port with nothing to do gets it, else one that has one packet.");
        let asked = count_width(ASKED.into());
        let asked_q: Vec<Expr> = (0..ports).map(|j| m.reg_reset(&format!("asked{j}_q"), &lit(0, asked))).collect();
        let with = |n: u32| {
            let ports = asked_q.iter().zip(taken_ports);
            ports.map(|(q, taken)| q.eq(&lit(n.into(), asked)) & !taken).collect::<Vec<_>>()
        };
        let (mut taken, mut chosen) = (lit(0, 1), vec![lit(0, 1); ports as usize]);
        for n in 0..ASKED {
            for (j, has_room) in with(n).into_iter().enumerate() {
                chosen[j] = &chosen[j] | (!&taken & &has_room);
                taken = m.wire(&format!("taken{n}_{j}"), &(&taken | has_room));
            }
        }
        m.drive(&go, &(&held_q & &taken));
        let cmd_of = Fifo { width: 40, depth: ASKED }.build(design)?;
        let order_of = Fifo { width: stream_bits + frame_bits, depth: ASKED }.build(design)?;
        let mut heads: Vec<Head> = Vec::new();
        for j in 0..ports as usize {
            let push = m.wire(&format!("push{j}"), &(&held_q & &chosen[j]));
            let inputs = [("in_valid_i", &push), ("in_data_i", &held_addr_q), ("out_ready_i", &outs[j].ready)];
            let cmd = m.instance(&format!("cmd{j}"), &cmd_of, &inputs);
            m.drive(&outs[j].valid, &cmd.get("out_valid_o"));
            m.drive(&outs[j].field("addr"), &cmd.get("out_data_o"));
            m.drive(&outs[j].field("beats"), &lit(self.beats().into(), 24));
            let ends = m.net(&format!("ends{j}"), uint(1));
            let inputs = [("in_valid_i", &push), ("in_data_i", &held_to_q), ("out_ready_i", &ends)];
            let order = m.instance(&format!("order{j}"), &order_of, &inputs);
            self.unused_ready(m, j, &[&cmd, &order]);
            let (fewer, more) =
                (asked_q[j].sub_wrap(&lit(1, asked)).as_unsigned(), asked_q[j].add_wrap(&lit(1, asked)));
            m.next_when(&asked_q[j], &(&push ^ &ends), &push.mux(&more, &fewer));

            let beat_q = m.reg_reset(&format!("beat{j}_q"), &lit(0, beat_bits));
            let to = order.get("out_data_o");
            let target = m.wire(&format!("target{j}"), &cat([&to.slice(frame_bits, stream_bits), &to.bit(0)]));
            let place = match frame_bits {
                1 => beat_q.clone(),
                _ => cat([&to.slice(1, frame_bits - 1), &beat_q]),
            };
            let valid = m.wire(&format!("comes{j}"), &(&ins[j].valid & order.get("out_valid_o")));
            let blocked = heads.iter().fold(lit(0, 1), |any, h| any | (&h.valid & h.target.eq(&target)));
            let blocked = m.wire(&format!("blocked{j}"), &blocked);
            m.drive(&ins[j].ready, &(order.get("out_valid_o") & !&blocked));
            let fires = m.wire(&format!("fires{j}"), &(&valid & !&blocked));
            m.next_when(&beat_q, &fires, &beat_q.add_wrap(&lit(1, beat_bits)));
            let last = beat_q.all();
            m.drive(&ends, &(&fires & &last));
            // the multiplexers stand behind registers, so that each is a LUT a bit
            let place = m.delay(&format!("place{j}_q"), &place);
            let last = m.delay(&format!("last{j}_q"), &last);
            let data = m.delay(&format!("data{j}_q"), &ins[j].field("data"));
            heads.push(Head { valid, target, fires, place, last, data });
        }
        Ok(heads)
    }

    fn unused_ready(&self, m: &mut Module, port: usize, queues: &[&Outputs]) {
        let ready: Vec<Expr> = queues.iter().map(|q| q.get("in_ready_o")).collect();
        m.unused(&format!("ready{port}"), &ready);
    }

    /// Frames of a stream: written by any port, read in order when complete.
    fn deliver(&self, m: &mut Module, stream: u32, heads: &[Head], give: &Source, released: &Expr) {
        let (bits, frames, beats) = (self.bits, self.frames, self.beats());
        let (frame_bits, beat_bits) = (index_width(frames.into()), beats.ilog2());
        let place_bits = beat_bits + frame_bits - 1;
        let name = |what: &str| format!("s{stream}_{what}");
        m.comment(&format!("Stream {stream}: beats are written a cycle after they came, from any port."));
        let full_q = m.reg_reset(&name("full_q"), &lit(0, frames));
        let (mut memories, mut fills) = (Vec::new(), vec![lit(0, 1); frames as usize]);
        for odd in 0..2 {
            let target = lit(u128::from(2 * stream + odd), heads[0].target.width());
            let part = |what: &str| format!("s{stream}_{}_{what}", ["even", "odd"][odd as usize]);
            let hits: Vec<Expr> = heads
                .iter()
                .enumerate()
                .map(|(j, h)| m.wire(&part(&format!("hit{j}")), &(&h.fires & h.target.eq(&target))))
                .collect();
            let write_q = m.reg_reset(&part("write_q"), &lit(0, 1));
            m.next(&write_q, &cat(&hits).any());
            let select: Vec<Expr> =
                encode(&hits).iter().enumerate().map(|(bit, e)| m.delay(&part(&format!("select{bit}_q")), e)).collect();
            let mut chosen = |what: &str, of: &dyn Fn(&Head) -> Expr| {
                m.wire(&part(what), &choose(&select, &heads.iter().map(of).collect::<Vec<_>>()))
            };
            let place = chosen("place", &|h| h.place.clone());
            let last = chosen("last", &|h| h.last.clone());
            let data = chosen("data", &|h| h.data.clone());
            let memory = m.memory(&part("frames"), bits, u64::from(frames / 2 * beats), RamStyle::Block);
            m.write(&memory, &write_q, &place, &data);
            memories.push(memory);
            for pair in 0..frames / 2 {
                let here = match frame_bits {
                    1 => lit(1, 1),
                    _ => place.slice(beat_bits, frame_bits - 1).eq(&lit(pair.into(), frame_bits - 1)),
                };
                fills[(2 * pair + odd) as usize] = &write_q & &last & here;
            }
        }

        m.comment("Complete frames are read in order.");
        let read_q = m.reg_reset(&name("read_q"), &lit(0, frame_bits + beat_bits));
        let frame = read_q.slice(beat_bits, frame_bits);
        let valid: Vec<Expr> = (0..2).map(|s| m.reg_reset(&name(&format!("valid{s}_q")), &lit(0, 1))).collect();
        let move1 = m.wire(&name("move1"), &(!&valid[1] | &give.ready));
        let move0 = m.wire(&name("move0"), &(!&valid[0] | &move1));
        let here: Vec<Expr> = (0..frames).map(|f| &full_q.bit(f) & frame.eq(&lit(f.into(), frame_bits))).collect();
        let some = m.wire(&name("some"), &cat(&here).any());
        let step = m.wire(&name("step"), &(&some & &move0));
        let last = read_q.low(beat_bits).all();
        let end = m.wire(&name("end"), &(&step & &last));
        m.drive(released, &end);
        m.next_when(&read_q, &step, &read_q.add_wrap(&lit(1, frame_bits + beat_bits)));
        let keep: Vec<Expr> = (0..frames as usize).map(|f| !(&here[f] & &end)).collect();
        m.next(&full_q, &((&full_q & cat(keep.iter().rev())) | cat(fills.iter().rev())));
        let place = match frame_bits {
            1 => read_q.low(beat_bits),
            _ => cat([&read_q.slice(beat_bits + 1, frame_bits - 1), &read_q.low(beat_bits)]),
        };
        let place = m.wire(&name("read_place"), &place.extend(place_bits));
        let words: Vec<Expr> = memories
            .iter()
            .enumerate()
            .map(|(odd, memory)| {
                let stored = m.read(memory, &place);
                let q = m.reg(&name(&format!("word{odd}_q")), uint(bits));
                m.next_when(&q, &move0, &stored);
                q
            })
            .collect();
        let about_q = m.reg(&name("about_q"), uint(2));
        m.next_when(&about_q, &move0, &cat([&last, &frame.bit(0)]));
        m.next_when(&valid[0], &move0, &some);
        m.next_when(&valid[1], &move1, &valid[0]);
        let data_q = m.reg(&name("data_q"), uint(bits));
        let last_q = m.reg(&name("last_q"), uint(1));
        m.next_when(&data_q, &move1, &about_q.bit(0).mux(&words[1], &words[0]));
        m.next_when(&last_q, &move1, &about_q.bit(1));
        m.drive(&give.valid, &valid[1]);
        m.drive(&give.field("data"), &data_q);
        m.drive(&give.field("last"), &last_q);
    }
}

/// The index of the one that is high, lowest bit first.
fn encode(hits: &[Expr]) -> Vec<Expr> {
    (0..index_width(hits.len() as u64))
        .map(|bit| hits.iter().enumerate().filter(|(i, _)| i >> bit & 1 == 1).fold(lit(0, 1), |any, (_, h)| any | h))
        .collect()
}

/// The item with this index: a tree of multiplexers, so that four to one is a LUT a bit.
fn choose(index: &[Expr], items: &[Expr]) -> Expr {
    let mut row = items.to_vec();
    for bit in index {
        row = row
            .chunks(2)
            .map(|pair| if pair.len() == 2 { bit.mux(&pair[1], &pair[0]) } else { pair[0].clone() })
            .collect();
    }
    row[0].clone()
}
