//! Weights of a port whose words come in bundles.

use super::fifo::Fifo;
use super::weight_port::Ports;
use crate::ir::{Design, Interface, IrError, Module, cat, lit, uint};
use spec::format::code3;
use spec::program::WordLayout;
use std::rc::Rc;

/// Most words of a bundle: five dense ones.
const WORDS: u32 = 5;

/// Cycles from a word's beat to the word: queue, byte, codes.
pub(super) const LATENCY: u32 = Fifo::LATENCY + 2;

/// How often 27 goes into a byte.
fn build_quotient(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_bundle_quotient");
    m.header(
        "What is left of a trit5 byte above its first code: byte / 27.\n\nShapes   byte u8 | quotient u4\nLatency  0",
    );
    let byte = m.input("byte_i", uint(8));
    let quotient = m.output("quotient_o", uint(4));
    let values: Vec<u128> = (0..256).map(|byte| byte / u128::from(code3::CODES)).collect();
    let rom = m.rom("quotient", &byte, uint(4), &values);
    m.drive(&quotient, &rom);
    design.add(m)
}

/// A shared byte's tops.
fn build_tops(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_bundle_tops");
    m.header(
        "Tops in a shared byte, in two bits each: digits to the base 3 (dense) or 4 (Sherry).\n\n\
         Shapes   low u5, high u4: the byte as tern_bundle_lane has it | tops [5] u2\n\
         Latency  0",
    );
    let sherry = m.input("sherry_i", uint(1));
    let low = m.input("low_i", uint(5));
    let high = m.input("high_i", uint(4));
    let tops = m.output("tops_o", uint(2 * WORDS));
    let digits = |count: u32, value: u128| (0..count).map(|i| (value / 3u128.pow(i) % 3) << (2 * i)).sum();
    let of_low = m.rom("of_low", &low, uint(6), &(0..32).map(|low| digits(3, low)).collect::<Vec<_>>());
    let of_high = m.rom("of_high", &high, uint(4), &(0..16).map(|high| digits(2, high)).collect::<Vec<_>>());
    let bits = cat([&high.low(3), &low]).extend(2 * WORDS);
    m.drive(&tops, &sherry.mux(&bits, &cat([&of_high, &of_low])));
    design.add(m)
}

/// The code that has a top.
fn build_code(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_bundle_code");
    m.header(
        "Code of a top and what the byte has of it: high + 9 top (dense), high + 8 top (Sherry).\n\n\
         Shapes   high u4, below 8 if Sherry; top u2 | code u5\n\
         Latency  0",
    );
    let sherry = m.input("sherry_i", uint(1));
    let high = m.input("high_i", uint(4));
    let top = m.input("top_i", uint(2));
    let code = m.output("code_o", uint(5));
    let value = |at: u128| {
        let (high, top, sherry) = (at & 15, at >> 4 & 3, at >> 6);
        (high + (9 - sherry) * top) & 31
    };
    let rom = m.rom("code", &cat([&sherry, &top, &high]), uint(5), &(0..128).map(value).collect::<Vec<_>>());
    m.drive(&code, &rom);
    design.add(m)
}

/// A byte of the beats: two codes.
fn build_lane(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let (quotient_of, tops_of, code_of) = (build_quotient(design)?, build_tops(design)?, build_code(design)?);
    let mut m = Module::new("tern_bundle_lane");
    m.header(
        "Two codes of a byte of a word's beat and of a top, a digit of the same byte of the bundle's shared beat.\n\n\
         Shapes   byte u8 | codes [2] u5; word_i: which top, one of five bits\n\
         \x20        dense   byte + 243 top = code 0 + 27 code 1      top in 0..2, five in a shared byte\n\
         \x20        Sherry  byte + 256 top = code 0 + 32 code 1      top in 0..3, four in a shared byte\n\
         Latency  2 cycles: take_i takes the byte, form_i makes codes of it, share_i keeps its tops\n\
         Faults   illegal_o: the byte that was taken is one of 243..255; its codes mean nothing\n\
         Oracle   spec::program::WordReader",
    );
    let sherry = m.input("sherry_i", uint(1));
    let [take, share, form] = ["take_i", "share_i", "form_i"].map(|name| m.input(name, uint(1)));
    let word = m.input("word_i", uint(WORDS));
    let byte = m.input("byte_i", uint(8));
    let codes = m.output("codes_o", uint(10));
    let illegal = m.output("illegal_o", uint(1));

    m.comment("Code 0 and what is left for code 1: byte = low + 27 high or low + 32 high. As 27 = 32 - 5, low = byte + 5 high.");
    let quotient = m.instance("quotient", &quotient_of, &[("byte_i", &byte)]).get("quotient_o");
    let fives: Vec<u128> = (0..32).map(|at| if at < 16 { at * 5 % 32 } else { 0 }).collect();
    let five = m.rom("five", &cat([&sherry, &quotient]), uint(5), &fives);
    let low_q = m.reg("low_q", uint(5));
    let high_q = m.reg("high_q", uint(4));
    m.next_when(&low_q, &take, &byte.low(5).add_wrap(&five));
    m.next_when(&high_q, &take, &sherry.mux(&byte.slice(5, 3).extend(4), &quotient));
    m.drive(&illegal, &(high_q.bit(3) & high_q.bit(0)));

    m.comment("The bundle's tops, and the word's.");
    let held = [("sherry_i", &sherry), ("low_i", &low_q), ("high_i", &high_q)];
    let tops = m.instance("tops", &tops_of, &held).get("tops_o");
    let tops_q = m.reg("tops_q", tops.ty());
    m.next_when(&tops_q, &share, &tops);
    let bit = |bit: u32| cat((0..WORDS).rev().map(|w| word.bit(w) & tops_q.bit(2 * w + bit))).any();
    let top = m.wire("top", &cat([bit(1), bit(0)]));

    m.comment("The codes.");
    let parts = [("sherry_i", &sherry), ("high_i", &high_q), ("top_i", &top)];
    let code = m.instance("code", &code_of, &parts).get("code_o");
    let codes_q = m.reg("codes_q", uint(10));
    m.next_when(&codes_q, &form, &cat([&code, &low_q]));
    m.drive(&codes, &codes_q);
    design.add(m)
}

/// The body of a port.
pub(super) fn build(m: &mut Module, design: &mut Design, beat: u32, ports: &Ports) -> Result<(), IrError> {
    let lane_of = build_lane(design)?;
    let queue_of = Fifo { width: 8 * beat, depth: 2 }.build(design)?;
    let Ports { fresh, sherry, input, output, illegal } = ports;

    m.comment("Beats wait here, and here the ready path ends.");
    let next = m.net("next", uint(1));
    let data = input.field("data");
    let given = [("rst_i", fresh), ("in_valid_i", &input.valid), ("in_data_i", &data), ("out_ready_i", &next)];
    let queue = m.instance("queue", &queue_of, &given);
    m.drive(&input.ready, &queue.get("in_ready_o"));

    m.comment("A bundle's shared beat makes room at once, the beats behind it become its words.");
    let [beat_q, shared_q, valid_q, found_q] =
        ["beat_q", "shared_q", "valid_q", "found_q"].map(|name| m.reg(name, uint(1)));
    let word_q = m.reg("word_q", uint(WORDS));
    let room = m.wire("room", &(!&valid_q | &output.ready));
    let share = m.wire("share", &(&beat_q & &shared_q));
    let form = m.wire("form", &(&beat_q & !&shared_q & &room));
    m.drive(&next, &(!&beat_q | &shared_q | &room));
    let take = m.wire("take", &(&next & queue.get("out_valid_o")));
    m.next(&beat_q, &(!fresh & (&take | &beat_q & !&next)));
    m.next(&valid_q, &(!fresh & (&form | &valid_q & !&output.ready)));
    let last = |sherry| {
        let layout = WordLayout { beat: beat as usize, codes: 2 * beat as usize, sherry };
        word_q.bit(layout.bundle().map_or(0, |words| words as u32 - 1))
    };
    m.next_when(&shared_q, &(fresh | &share | &form), &(fresh | &form & sherry.mux(&last(true), &last(false))));
    let following = cat([&word_q.low(WORDS - 1), &lit(0, 1)]);
    m.next_when(&word_q, &(&share | &form), &share.mux(&lit(1, WORDS), &following));

    let lanes: Vec<_> = (0..beat)
        .map(|b| {
            let byte = queue.get("out_data_o").lane(b, 8);
            let inputs = [
                ("sherry_i", sherry),
                ("take_i", &take),
                ("share_i", &share),
                ("form_i", &form),
                ("word_i", &word_q),
                ("byte_i", &byte),
            ];
            m.instance(&format!("lane{b}"), &lane_of, &inputs)
        })
        .collect();
    m.drive(&output.valid, &valid_q);
    m.drive(&output.field("data"), &cat(lanes.iter().rev().map(|lane| lane.get("codes_o"))));
    let any = cat(lanes.iter().rev().map(|lane| lane.get("illegal_o"))).any();
    m.next(&found_q, &(!fresh & (&found_q | &beat_q & any)));
    let told_q = m.delay("told_q", &found_q);
    m.drive(illegal, &(&found_q & !&told_q));
    Ok(())
}
