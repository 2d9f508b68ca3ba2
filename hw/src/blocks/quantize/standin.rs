//! Division and root until `fp` has them.

use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, slit, uint};
use std::rc::Rc;

pub(crate) struct Div;
pub(crate) struct Sqrt;

const STEPS: u32 = 26;

fn pack(sign: &Expr, exp: &Expr, sig: &Expr, up: &Expr, nan: &Expr, inf: &Expr, zero: &Expr) -> Expr {
    let exp_zero = exp.eq(&slit(0, 10));
    let reaches = &exp_zero & &sig.all();
    let under = (exp.bit(9) | &exp_zero) & !&reaches;
    let over = !exp.bit(9) & (exp.bit(8) | exp.low(8).all());
    let number = cat([&exp.low(8), &sig.low(23)]).add_wrap(&(up | &reaches).extend(31));
    let infinity = cat([&lit(255, 8), &lit(0, 23)]);
    let number = (zero | &under).mux(&lit(0, 31), &(inf | &over).mux(&infinity, &number));
    nan.mux(&lit(0x7fc0_0000, 32), &cat([sign, &number]))
}

impl Div {
    pub(crate) const LATENCY: u32 = STEPS + 2;

    pub(crate) fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fdiv");
        let a = m.input("a_i", uint(32));
        let b = m.input("b_i", uint(32));
        let y = m.output("y_o", uint(32));
        let sig = |e: &Expr| cat([&lit(1, 1), &e.low(23)]);
        let (ea, eb) = (a.slice(23, 8), b.slice(23, 8));
        let (za, zb) = (!ea.any(), !eb.any());
        let nan_of = |e: &Expr| &e.slice(23, 8).all() & e.low(23).any();
        let inf_of = |e: &Expr| &e.slice(23, 8).all() & !e.low(23).any();
        let nan = (nan_of(&a) | nan_of(&b)) | ((&za & &zb) | (inf_of(&a) & inf_of(&b)));
        let inf = inf_of(&a) | &zb;
        let zero = &za | inf_of(&b);
        let exp = ea.extend(10).as_signed().sub_wrap(&eb.extend(10).as_signed()).add_wrap(&slit(127, 10));
        let mut about = m.delay("about_0", &cat([&(a.bit(31) ^ b.bit(31)), &nan, &inf, &zero, &exp.as_unsigned()]));
        let mut rem = m.delay("rem_0", &sig(&a).extend(25));
        let mut div = m.delay("div_0", &sig(&b));
        let mut quot = lit(0, 1);
        for s in 1..=STEPS {
            let diff = m.wire(&format!("diff_{s}"), &rem.extend(26).sub_wrap(&div.extend(26)));
            let bit = !diff.bit(25);
            let kept = bit.mux(&diff.low(25), &rem);
            rem = m.delay(&format!("rem_{s}"), &cat([&kept.low(24), &lit(0, 1)]));
            m.unused(&format!("rem_{s}"), &[kept.bit(24)]);
            let next = if s == 1 { bit } else { cat([&quot, &bit]) };
            quot = m.delay(&format!("quot_{s}"), &next);
            div = m.delay(&format!("div_{s}"), &div);
            about = m.delay(&format!("about_{s}"), &about);
        }
        let one = quot.bit(STEPS - 1);
        let some = rem.any();
        let sig = m.wire("sig", &one.mux(&quot.slice(2, 24), &quot.slice(1, 24)));
        m.unused("sig", &[sig.bit(23)]);
        let round = one.mux(&quot.bit(1), &quot.bit(0));
        let sticky = &some | &(&one & &quot.bit(0));
        let exp = about.low(10).as_signed().add_wrap(&one.mux(&slit(0, 10), &slit(-1, 10)));
        let up = &round & &(sticky | sig.bit(0));
        let packed = pack(&about.bit(13), &exp, &sig, &up, &about.bit(12), &about.bit(11), &about.bit(10));
        let out = m.delay("out_q", &packed);
        m.drive(&y, &out);
        m.unused("div", &[div]);
        design.add(m)
    }
}

impl Sqrt {
    pub(crate) fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fsqrt");
        let input = m.sink("in", &[("a", uint(32))]);
        let output = m.source("out", &[("y", uint(32))]);
        let busy_q = m.reg_reset("busy_q", &lit(0, 1));
        let left_q = m.reg_reset("left_q", &lit(0, 5));
        let start = m.wire("start", &input.fire());
        let run = m.wire("run", &(&busy_q & left_q.any()));
        m.drive(&input.ready, &!&busy_q);
        m.drive(&output.valid, &(&busy_q & !left_q.any()));
        m.next(&busy_q, &(&start | &(&busy_q & !output.fire())));
        m.next_when(&left_q, &(&start | &run), &start.mux(&lit(25, 5), &left_q.sub_wrap(&lit(1, 5))));
        let a = input.field("a");
        let a_q = m.reg("a_q", uint(32));
        m.next_when(&a_q, &start, &a);
        let rad_q = m.reg("rad_q", uint(50));
        let rem_q = m.reg("rem_q", uint(28));
        let root_q = m.reg("root_q", uint(25));
        let sig = cat([&lit(1, 1), &a.low(23)]);
        let even = cat([&lit(0, 1), &sig, &lit(0, 25)]);
        let odd = cat([&sig, &lit(0, 26)]);
        let rad = a.bit(23).mux(&even, &odd);
        m.next_when(&rad_q, &(&start | &run), &start.mux(&rad, &cat([&rad_q.low(48), &lit(0, 2)])));
        let rem = m.wire("rem", &cat([&rem_q.low(26), &rad_q.slice(48, 2)]));
        let try_ = m.wire("trial", &cat([&lit(0, 1), &root_q, &lit(1, 2)]));
        let diff = m.wire("diff", &rem.extend(29).sub_wrap(&try_.extend(29)));
        let bit = !diff.bit(28);
        m.next_when(&rem_q, &(&start | &run), &start.mux(&lit(0, 28), &bit.mux(&diff.low(28), &rem)));
        m.next_when(&root_q, &(&start | &run), &start.mux(&lit(0, 25), &cat([&root_q.low(24), &bit])));
        let exp = a_q.slice(23, 8);
        let zero = !exp.any();
        let special = exp.all();
        let nan = (&special & &a_q.low(23).any()) | (&a_q.bit(31) & &!&zero);
        let sum = m.wire("sum", &(&exp + &lit(127, 8)));
        m.unused("sum", &[sum.bit(0)]);
        let e = sum.slice(1, 8).extend(10).as_signed();
        let up = &root_q.bit(0) & &(rem_q.any() | root_q.bit(1));
        let y = pack(&a_q.bit(31), &e, &root_q.slice(1, 24), &up, &nan, &special, &zero);
        m.drive(&output.field("y"), &y);
        design.add(m)
    }
}
