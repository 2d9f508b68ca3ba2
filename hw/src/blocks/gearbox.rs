//! Changes how many elements a beat carries.

use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, repeat, uint};
use crate::width::{count_width, gcd};
use std::rc::Rc;

/// `inputs` elements a beat in, `outputs` elements a beat out.
pub struct Gearbox {
    /// Bits of an element.
    pub element: u32,
    /// Elements of a beat that comes in.
    pub inputs: u32,
    /// Elements of a beat that goes out.
    pub outputs: u32,
    /// What fills the last beat of a packet.
    pub fill: u128,
}

impl Gearbox {
    /// Cycles from the beat that completes an output to that output.
    pub const LATENCY: u32 = 1;

    /// Slots of as many elements as always move together: less than an output plus one input.
    pub fn slots(&self) -> u32 {
        (self.inputs + self.outputs) / gcd(self.inputs, self.outputs) - 1
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (element, inputs, outputs) = (self.element, self.inputs, self.outputs);
        // elements always move in groups of the greatest common divisor
        let group = gcd(inputs, outputs);
        let (n, out, width) = (inputs / group, outputs / group, element * group);
        let slots = self.slots();
        let mut m = Module::new(format!("tern_gearbox_e{element}_n{inputs}_m{outputs}_f{:x}", self.fill));
        m.header(&format!(
            "Gearbox: the same sequence of elements, {inputs} a beat in, {outputs} a beat out.\n\n\
             Shapes   in [{inputs}] u{element} | out [{outputs}] u{element}, element 0 in the low bits\n\
             Width    {slots} slots of {group} elements hold less than an output plus one input\n\
             Latency  1 cycle; full rate on the wider side\n\
             Packets  the beat after in_last_i is filled up with {:#x}, out_last_o marks it\n\
             Stalls   in_ready_o depends on out_ready_i: put a skid behind it\n\
             Oracle   sim::blocks::gearbox",
            self.fill
        ));
        let input = m.sink("in", &[("data", uint(element * inputs)), ("last", uint(1))]);
        let output = m.source("out", &[("data", uint(element * outputs)), ("last", uint(1))]);
        let count = count_width(u64::from(slots.max(2 * out)));
        let num = |value: u32| lit(u128::from(value), count);
        let held_q = m.reg_reset("held_q", &num(0));
        let flush_q = m.reg_reset("flush_q", &lit(0, 1));
        let slot_q: Vec<Expr> = (0..slots).map(|j| m.reg(&format!("slot{j}_q"), uint(width))).collect();

        m.comment("An output leaves when it is complete, or when the packet has no more for it.");
        let complete = m.wire("complete", &held_q.ge(&num(out)));
        let final_beat = m.wire("final_beat", &(&flush_q & held_q.le(&num(out))));
        m.drive(&output.valid, &(&complete | &flush_q));
        m.drive(&output.field("last"), &final_beat);
        let give = m.wire("give", &output.fire());

        m.comment("A beat is taken when it fits after this cycle's output.");
        let fits_after = &output.ready & held_q.lt(&num(2 * out));
        let ready = flush_q.mux(&(&final_beat & &output.ready), &(!&complete | fits_after));
        m.drive(&input.ready, &ready);
        let take = m.wire("take", &input.fire());
        let left = m.wire("left", &give.mux(&final_beat.mux(&num(0), &held_q.sub_wrap(&num(out))), &held_q));
        m.next(&held_q, &take.mux(&left.add_wrap(&num(n)), &left));
        m.next(&flush_q, &take.mux(&input.field("last"), &(&flush_q & !(&give & &final_beat))));

        m.comment("Each slot keeps its group, moves down by one output, or takes one of the new beat.");
        let at: Vec<Expr> = (0..out).map(|k| m.wire(&format!("at{k}"), &(&take & left.eq(&num(k))))).collect();
        let moves = m.wire("moves", &(&give | &take));
        for j in 0..slots {
            let stay = &slot_q[j as usize];
            let moved = slot_q.get((j + out) as usize).map_or(stay.clone(), |from| give.mux(from, stay));
            let value = (j.saturating_sub(n - 1)..=j.min(out - 1))
                .rev()
                .fold(moved, |other, k| at[k as usize].mux(&input.field("data").lane(j - k, width), &other));
            m.next_when(stay, &moves, &value);
        }
        let fill = repeat(group, &lit(self.fill, element));
        let beat: Vec<Expr> = (0..out)
            .map(|j| match j {
                0 => slot_q[0].clone(),
                _ => (&flush_q & held_q.le(&num(j))).mux(&fill, &slot_q[j as usize]),
            })
            .collect();
        m.drive(&output.field("data"), &cat(beat.iter().rev()));
        design.add(m)
    }
}
