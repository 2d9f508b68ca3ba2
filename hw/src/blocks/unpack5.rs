//! Five trits a byte to 5-bit codes.

use super::{gearbox::Gearbox, skid::Skid};
use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use spec::format::{code3, trit5};
use std::rc::Rc;

/// `bytes` a beat in, `codes` a beat out.
pub struct Unpack5 {
    /// Bytes of a beat that comes in.
    pub bytes: u32,
    /// 5-bit codes of a beat that goes out.
    pub codes: u32,
}

/// One byte: five digits `u = trit + 1` of two bits, lowest first, and whether it is illegal.
fn build_digits(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_trit5");
    m.header(
        "Digits of a trit5 byte: byte = u0 + 3 u1 + 9 u2 + 27 u3 + 81 u4.\n\n\
         Shapes   byte u8 | digits [5] u2, u0 in the low bits, u = trit + 1 | illegal u1\n\
         Latency  0; bytes from 243 on are illegal and read as five zeros (u = 1)\n\
         Oracle   spec::format::trit5::DECODE",
    );
    let byte = m.input("byte_i", uint(8));
    let digits = m.output("digits_o", uint(10));
    let illegal = m.output("illegal_o", uint(1));
    let entry = |trits: &[i8; 5]| trits.iter().rev().fold(0, |word, t| word << 2 | (t + 1) as u128);
    let values: Vec<u128> = trit5::DECODE.iter().map(entry).collect();
    let rom = m.rom("digits", &byte, uint(10), &values);
    m.drive(&digits, &rom);
    m.drive(&illegal, &byte.ge(&lit(u128::from(trit5::CODES), 8)));
    design.add(m)
}

/// Three digits to a code.
fn build_code(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_code3");
    m.header(
        "Code of three digits: code = u0 + 3 u1 + 9 u2.\n\n\
         Shapes   digits [3] u2, u0 in the low bits | code u5; a digit of 3 never comes and gives 0\n\
         Latency  0; each bit is a function of six\n\
         Oracle   spec::format::code3::encode3",
    );
    let digits = m.input("digits_i", uint(6));
    let code = m.output("code_o", uint(5));
    let entry = |word: u8| {
        let u = [word & 3, word >> 2 & 3, word >> 4];
        if u.contains(&3) { 0 } else { u128::from(code3::encode3(u.map(|u| u as i8 - 1))) }
    };
    let values: Vec<u128> = (0..64).map(entry).collect();
    let rom = m.rom("code", &digits, uint(5), &values);
    m.drive(&code, &rom);
    design.add(m)
}

impl Unpack5 {
    /// Cycles from the beat that completes an output to that output: digits, gearbox, skid.
    pub const LATENCY: u32 = 1 + Gearbox::LATENCY + Skid::LATENCY;

    /// Slots of the gearbox.
    pub fn slots(&self) -> u32 {
        self.gearbox().slots()
    }

    fn gearbox(&self) -> Gearbox {
        Gearbox { element: 2, inputs: 5 * self.bytes, outputs: 3 * self.codes, fill: 1 }
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bytes, codes) = (self.bytes, self.codes);
        let digits_of = build_digits(design)?;
        let code_of = build_code(design)?;
        let gearbox_of = self.gearbox().build(design)?;
        let skid_of = Skid { width: 5 * codes + 1 }.build(design)?;
        let mut m = Module::new(format!("tern_unpack5_b{bytes}_c{codes}"));
        m.header(&format!(
            "Unpacks weights: bytes of five trits -> codes of three trits, in order.\n\n\
             Shapes   byte [{bytes}] trit5 | code [{codes}] code3\n\
             Rate     one beat a cycle on the wider side ({} trits in, {} out)\n\
             Latency  {} cycles: digits, gearbox, skid\n\
             Packets  the beat after byte_last_i is filled up with trit 0, code_last_o marks it\n\
             Faults   illegal_o: a byte of 243..255 was taken since reset; it reads as five zeros\n\
             Stalls   both stages hold; the skid cuts the ready path\n\
             Oracle   spec::format::{{trit5, code3}}",
            5 * bytes,
            3 * codes,
            Self::LATENCY
        ));
        let input = m.sink("byte", &[("data", uint(8 * bytes)), ("last", uint(1))]);
        let output = m.source("code", &[("data", uint(5 * codes)), ("last", uint(1))]);
        let illegal = m.output("illegal_o", uint(1));

        m.comment("Stage 1: digits of every byte.");
        let gear_ready = m.net("gear_ready", uint(1));
        let valid_q = m.reg_reset("valid_q", &lit(0, 1));
        let illegal_q = m.reg_reset("illegal_q", &lit(0, 1));
        let ready = m.wire("ready", &(&gear_ready | !&valid_q));
        let parts: Vec<_> = (0..bytes)
            .map(|b| m.instance(&format!("digits{b}"), &digits_of, &[("byte_i", &input.field("data").lane(b, 8))]))
            .collect();
        let digits = cat(parts.iter().rev().map(|p| p.get("digits_o")));
        let any_illegal = cat(parts.iter().rev().map(|p| p.get("illegal_o"))).any();
        m.drive(&input.ready, &ready);
        m.next_when(&valid_q, &ready, &input.valid);
        m.next(&illegal_q, &(&illegal_q | (input.fire() & any_illegal)));
        m.drive(&illegal, &illegal_q);
        let digits_q = m.reg("digits_q", uint(10 * bytes));
        let last_q = m.reg("last_q", uint(1));
        m.next_when(&digits_q, &ready, &digits);
        m.next_when(&last_q, &ready, &input.field("last"));

        m.comment("Stage 2: regroup the digits of a beat into threes.");
        let skid_ready = m.net("skid_ready", uint(1));
        let gear = m.instance(
            "gearbox",
            &gearbox_of,
            &[("in_valid_i", &valid_q), ("in_data_i", &digits_q), ("in_last_i", &last_q), ("out_ready_i", &skid_ready)],
        );
        m.drive(&gear_ready, &gear.get("in_ready_o"));

        m.comment("Stage 3: codes.");
        let words: Vec<Expr> = (0..codes)
            .map(|c| {
                let digits = gear.get("out_data_o").lane(c, 6);
                m.instance(&format!("code{c}"), &code_of, &[("digits_i", &digits)]).get("code_o")
            })
            .collect();
        let beat = cat([gear.get("out_last_o")].iter().chain(words.iter().rev()));
        let skid = m.instance(
            "skid",
            &skid_of,
            &[("in_valid_i", &gear.get("out_valid_o")), ("in_data_i", &beat), ("out_ready_i", &output.ready)],
        );
        m.drive(&skid_ready, &skid.get("in_ready_o"));
        m.drive(&output.valid, &skid.get("out_valid_o"));
        m.drive(&output.field("data"), &skid.get("out_data_o").low(5 * codes));
        m.drive(&output.field("last"), &skid.get("out_data_o").bit(5 * codes));
        design.add(m)
    }
}
