//! Pipelines whose stages move only with a value, and wires that are computed where they are used.

use hw::ir::{Design, Expr, Module, lit, uint};

/// `y = (a + b) ^ (a + b >> 1)`, two stages, with `b` from stage `late` by mistake.
fn module(late: bool) -> Result<String, hw::ir::IrError> {
    let mut m = Module::new("tern_x");
    let [valid, a, b] = [("valid_i", 1), ("a_i", 8), ("b_i", 8)].map(|(name, width)| m.input(name, uint(width)));
    let y = m.output("y_o", uint(8));
    let b = if late { m.delay("b_q", &b) } else { b };
    let sum_q = m.delay("sum_q", &a.add_wrap(&b));
    let half = m.wire("half", &sum_q.slice(1, 7).extend(8));
    let shown = m.wire("shown", &(&sum_q ^ &half));
    let spare: Vec<Expr> = vec![shown.bit(0)];
    m.unused("shown", &spare);
    let y_q = m.delay("y_q", &(&shown | &half));
    m.drive(&y, &y_q);
    m.pipeline(&valid, &[]);
    let mut design = Design::default();
    design.add(m)?;
    Ok(design.verilog("tern_x")?.to_string())
}

#[test]
fn a_stage_moves_with_its_value_and_holds_its_wires() {
    let text = module(false).unwrap();
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("`{part}` is missing in\n{text}"));
    assert!(place("if (valid_i) begin") < place("sum_q <= a_i + b_i;"));
    assert!(place("moves1_q <= valid_i;") < place("if (moves1_q) begin : on_y_q"));
    // the wires of the second stage are variables of its block
    assert!(place("if (moves1_q) begin : on_y_q") < place("reg [7:0] half;"));
    assert!(place("half = {1'b0, sum_q[7:1]};") < place("shown = sum_q ^ half;"));
    assert!(place("shown = sum_q ^ half;") < place("y_q <= shown | half;"));
    assert!(!text.contains("wire [7:0] half"), "{text}");
}

#[test]
fn a_value_of_two_stages_is_refused() {
    let said = module(true).unwrap_err().to_string();
    assert_eq!(said, "module tern_x: `sum_q` is not a value of one stage of this module");
}

#[test]
fn a_wire_with_other_readers_stays_outside() {
    let mut m = Module::new("tern_x");
    let (on, a) = (m.input("on_i", uint(1)), m.input("a_i", uint(4)));
    let y = m.output("y_o", uint(4));
    let both = m.wire("both", &a.add_wrap(&lit(3, 4)));
    let own = m.wire("own", &both.add_wrap(&both));
    let q = m.reg("q", uint(4));
    m.next_when(&q, &on, &(&own ^ &own.shl(&lit(1, 1))));
    m.drive(&y, &(&q & &both));
    let mut design = Design::default();
    design.add(m).unwrap();
    let text = design.verilog("tern_x").unwrap();
    assert!(text.contains("wire [3:0] both = "), "{text}");
    assert!(text.contains("reg [3:0] own;"), "{text}");
}
