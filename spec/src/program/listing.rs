//! Programs for people.

use super::{Descriptor, LABEL_NONE, Op, epilogue, fields_of, quant, stream, wait};
use std::fmt;

const WAITS: [(u32, &str); 6] = [
    (wait::GATHER, "gather"),
    (wait::QUANT, "quant"),
    (wait::ENGINE, "engine"),
    (wait::EPILOGUE, "epilogue"),
    (wait::ATTEND, "attend"),
    (wait::KV, "kv"),
];

/// Names of the values of a field that is a choice.
fn choice(op: Op, field: &str, value: u32) -> Option<&'static str> {
    Some(match (op, field, value) {
        (Op::Stream, "stream", stream::WEIGHT) => "weight",
        (Op::Stream, "stream", stream::ROW) => "row",
        (Op::Stream, "stream", stream::NORM) => "norm",
        (Op::Stream, "stream", stream::MULT) => "mult",
        (Op::Quant, "mode", quant::ACT) => "act",
        (Op::Quant, "mode", quant::QUERY) => "query",
        (Op::Quant, "mode", quant::KEY) => "key",
        (Op::Quant, "mode", quant::VALUE) => "value",
        (Op::Quant, "mode", quant::NORM) => "norm",
        (Op::Linear, "mode", epilogue::STORE) => "store",
        (Op::Linear, "mode", epilogue::RESIDUAL) => "residual",
        (Op::Linear, "mode", epilogue::SILU) => "silu",
        (Op::Linear, "mode", epilogue::RELU2) => "relu2",
        (Op::Linear, "mode", epilogue::ROPE) => "rope",
        (Op::Linear, "mode", epilogue::LOGITS) => "logits",
        (Op::Linear, "mode", epilogue::RANK) => "rank",
        (Op::Linear, "mode", epilogue::PICK) => "pick",
        _ => return None,
    })
}

fn is_float(op: Op, field: &str) -> bool {
    matches!((op, field), (Op::Quant, "count" | "eps" | "factor") | (Op::Linear, "scale_a" | "scale_b"))
}

impl fmt::Display for Descriptor {
    /// Operation, label, waits (`epilogue-2`: but for its latest two commands), then every field that is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(op) = self.op() else { return write!(f, "unknown operation {}", self.words[0] & 0xff) };
        write!(f, "{:<7}", op.name())?;
        if self.label() != LABEL_NONE {
            write!(f, " @{}", self.label())?;
        }
        if self.wait() == wait::ALL {
            write!(f, " wait all")?;
        } else if self.wait() != 0 {
            let name = |(bit, name): &(u32, &str)| match self.lag(*bit) {
                0 => name.to_string(),
                lag => format!("{name}-{lag}"),
            };
            let names: Vec<String> = WAITS.iter().filter(|(bit, _)| self.wait() & bit != 0).map(name).collect();
            write!(f, " wait {}", names.join("+"))?;
        }
        for field in fields_of(op) {
            let value = self.get(field.name);
            match choice(op, field.name, value) {
                Some(name) => write!(f, " {}={name}", field.name)?,
                None if value == 0 => {}
                None if is_float(op, field.name) => write!(f, " {}={:e}", field.name, f32::from_bits(value))?,
                None => write!(f, " {}={value}", field.name)?,
            }
        }
        Ok(())
    }
}

/// A program, one descriptor a line with its number.
pub fn listing(program: &[Descriptor]) -> String {
    program.iter().enumerate().map(|(index, d)| format!("{index:5} {d}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_floats_are_readable() {
        let mut d = Descriptor::new(Op::Linear, wait::QUANT | wait::KV, 3);
        d.set("mode", u64::from(epilogue::ROPE)).unwrap();
        d.set("words", 12).unwrap();
        d.set("scale_a", u64::from(0.25f32.to_bits())).unwrap();
        d.set_lag(wait::QUANT, 2);
        assert_eq!(d.to_string(), "linear  @3 wait quant-2+kv words=12 mode=rope scale_a=2.5e-1");
        let end = Descriptor::new(Op::End, wait::ALL, LABEL_NONE);
        assert_eq!(listing(&[end]), "    0 end     wait all\n");
    }
}
