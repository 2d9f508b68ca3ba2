//! The weights of one port: bytes to codes, in both formats.

use super::bundle;
use super::gearbox::Gearbox;
use super::skid::Skid;
use super::unpack5::Unpack5;
use crate::ir::{Design, Expr, Interface, IrError, Module, Sink, Source, lit, uint};
use crate::width::gcd;
use spec::program::WordLayout;
use std::rc::Rc;

/// Payload beats to words of codes.
pub struct WeightPort {
    /// Bytes of a beat.
    pub bytes: u32,
    /// Codes of a word.
    pub codes: u32,
}

/// Ports of the module.
pub(super) struct Ports {
    /// Reset, or all that is under way is forgotten.
    pub(super) fresh: Expr,
    pub(super) sherry: Expr,
    pub(super) input: Sink,
    pub(super) output: Source,
    pub(super) illegal: Expr,
}

impl WeightPort {
    /// Most cycles from the beat that completes a word to that word, in both orders.
    pub const LATENCY: u32 = if bundle::LATENCY > Unpack5::LATENCY { bundle::LATENCY } else { Unpack5::LATENCY };

    /// Whether words come in bundles.
    pub fn bundles(&self) -> bool {
        WordLayout { beat: self.bytes as usize, codes: self.codes as usize, sherry: false }.bundle().is_some()
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (bytes, codes) = (self.bytes, self.codes);
        let (bits, word) = (8 * bytes, 5 * codes);
        let mut m = Module::new(format!("tern_weight_port_b{bytes}_c{codes}"));
        let (order, stalls) = match self.bundles() {
            true => ("of bundles", "all stages hold; the queue cuts the ready path"),
            false => ("in the tight order", "all stages hold; skids cut the ready path"),
        };
        m.header(&format!(
            "Weights of a port: {bytes} bytes a beat -> {codes} codes a word, {order}.\n\n\
             Shapes   in data u{bits} | out [{codes}] u5; sherry_i: Sherry codes, else trit5 bytes\n\
             Rate     one beat or one word a cycle, whichever is less data\n\
             Latency  at most {} cycles from the beat that completes a word to the word\n\
             Runs     sherry_i holds while words are taken; clear_i forgets all that is under way\n\
             Faults   illegal_o: a pulse for the first byte of 243..255 since clear_i\n\
             Stalls   {stalls}\n\
             Oracle   spec::program::WordReader (sim::blocks::weight_port)",
            Self::LATENCY
        ));
        let rst = m.input("rst_i", uint(1));
        let clear = m.input("clear_i", uint(1));
        let sherry = m.input("sherry_i", uint(1));
        let input = m.sink("in", &[("data", uint(bits))]);
        let output = m.source("out", &[("data", uint(word))]);
        let illegal = m.output("illegal_o", uint(1));
        let fresh = m.wire("fresh", &(&rst | &clear));
        let ports = Ports { fresh, sherry, input, output, illegal };
        match self.bundles() {
            true => bundle::build(&mut m, design, bytes, &ports)?,
            false => self.build_tight(&mut m, design, &ports)?,
        }
        design.add(m)
    }

    /// The body for the tight order.
    fn build_tight(&self, m: &mut Module, design: &mut Design, ports: &Ports) -> Result<(), IrError> {
        let (bytes, codes) = (self.bytes, self.codes);
        let (bits, word) = (8 * bytes, 5 * codes);
        let element = gcd(bits, word);
        let dense_of = Unpack5 { bytes, codes }.build(design)?;
        let gear_of = Gearbox { element, inputs: bits / element, outputs: word / element, fill: 0 }.build(design)?;
        let skid_of = Skid { width: word }.build(design)?;
        let Ports { fresh, sherry, input, output, illegal } = ports;
        let (none, data) = (lit(0, 1), input.field("data"));
        let dense = m.instance(
            "dense",
            &dense_of,
            &[
                ("rst_i", fresh),
                ("byte_valid_i", &(&input.valid & !sherry)),
                ("byte_data_i", &data),
                ("byte_last_i", &none),
                ("code_ready_i", &(&output.ready & !sherry)),
            ],
        );
        let skid_ready = m.net("skid_ready", uint(1));
        let gear = m.instance(
            "gearbox",
            &gear_of,
            &[
                ("rst_i", fresh),
                ("in_valid_i", &(&input.valid & sherry)),
                ("in_data_i", &data),
                ("in_last_i", &none),
                ("out_ready_i", &skid_ready),
            ],
        );
        let skid = m.instance(
            "skid",
            &skid_of,
            &[
                ("rst_i", fresh),
                ("in_valid_i", &gear.get("out_valid_o")),
                ("in_data_i", &gear.get("out_data_o")),
                ("out_ready_i", &(&output.ready & sherry)),
            ],
        );
        m.drive(&skid_ready, &skid.get("in_ready_o"));
        m.unused("last", &[gear.get("out_last_o"), dense.get("code_last_o")]);
        m.drive(&input.ready, &sherry.mux(&gear.get("in_ready_o"), &dense.get("byte_ready_o")));
        m.drive(&output.valid, &sherry.mux(&skid.get("out_valid_o"), &dense.get("code_valid_o")));
        m.drive(&output.field("data"), &sherry.mux(&skid.get("out_data_o"), &dense.get("code_data_o")));
        let illegal_q = m.delay("illegal_q", &dense.get("illegal_o"));
        m.drive(illegal, &(dense.get("illegal_o") & !&illegal_q));
        Ok(())
    }
}
