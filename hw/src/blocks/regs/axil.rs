//! AXI4-Lite made simple: one strobe for a write, one for a read.

use crate::ir::{Design, Expr, Interface, IrError, Module, lit, uint};
use std::rc::Rc;

/// Bits of a byte address in the window.
pub(super) const ADDR_BITS: u32 = 16;
/// Bits of a word's number.
pub(super) const WORD_BITS: u32 = ADDR_BITS - 2;

/// Ports of the bus with their widths, in the order of the channels; `true` for those that come in.
pub const BUS: &[(&str, u32, bool)] = &[
    ("s_awaddr_i", ADDR_BITS, true),
    ("s_awprot_i", 3, true),
    ("s_awvalid_i", 1, true),
    ("s_awready_o", 1, false),
    ("s_wdata_i", 32, true),
    ("s_wstrb_i", 4, true),
    ("s_wvalid_i", 1, true),
    ("s_wready_o", 1, false),
    ("s_bresp_o", 2, false),
    ("s_bvalid_o", 1, false),
    ("s_bready_i", 1, true),
    ("s_araddr_i", ADDR_BITS, true),
    ("s_arprot_i", 3, true),
    ("s_arvalid_i", 1, true),
    ("s_arready_o", 1, false),
    ("s_rdata_o", 32, false),
    ("s_rresp_o", 2, false),
    ("s_rvalid_o", 1, false),
    ("s_rready_i", 1, true),
];

/// Adds the ports of the bus to a module.
pub(super) fn bus(m: &mut Module) -> impl Fn(&str) -> Expr + use<> {
    let port = |&(name, width, input): &(&'static str, u32, bool)| {
        (name, if input { m.input(name, uint(width)) } else { m.output(name, uint(width)) })
    };
    let ports: Vec<(&str, Expr)> = BUS.iter().map(port).collect();
    move |name| ports.iter().find(|(n, _)| *n == name).map_or_else(|| lit(0, 0), |(_, e)| e.clone())
}

/// A register that is set and cleared; clearing wins.
fn flag(m: &mut Module, name: &str, set: &Expr, clear: &Expr) -> Expr {
    let q = m.reg_reset(name, &lit(0, 1));
    m.next_when(&q, &(set | clear), &!clear);
    q
}

/// Adds `tern_axil`.
pub(super) fn build(design: &mut Design) -> Result<Rc<Interface>, IrError> {
    let mut m = Module::new("tern_axil");
    m.header(
        "AXI4-Lite slave: every access is answered with OKAY.\n\n\
         Write    address and data come in any order and wait for each other; wr_en_o is high for the one cycle in\n\
         \x20        which both are there and no answer is pending; at most every third cycle\n\
         Read     rd_en_o is high for one cycle, rd_word_o holds until the answer is taken; rd_data_i is taken\n\
         \x20        with rd_valid_i, which must follow\n\
         Borders  wr_odd_o and rd_odd_o come with the word: the address is none of a word\n\
         Order    a read accepted after a write's answer sees the write\n\
         Oracle   sim::blocks::regs",
    );
    let port = bus(&mut m);
    let rd_data = m.input("rd_data_i", uint(32));
    let rd_valid = m.input("rd_valid_i", uint(1));
    let wr_en = m.output("wr_en_o", uint(1));
    let wr_word = m.output("wr_word_o", uint(WORD_BITS));
    let wr_data = m.output("wr_data_o", uint(32));
    let wr_strb = m.output("wr_strb_o", uint(4));
    let rd_en = m.output("rd_en_o", uint(1));
    let rd_word = m.output("rd_word_o", uint(WORD_BITS));
    let [wr_odd, rd_odd] = ["wr_odd_o", "rd_odd_o"].map(|name| m.output(name, uint(1)));

    let write = m.net("write", uint(1));
    let take_aw = m.wire("take_aw", &(port("s_awvalid_i") & port("s_awready_o")));
    let take_w = m.wire("take_w", &(port("s_wvalid_i") & port("s_wready_o")));
    let aw_full_q = flag(&mut m, "aw_full_q", &take_aw, &write);
    let w_full_q = flag(&mut m, "w_full_q", &take_w, &write);
    let bvalid_q = m.reg_reset("bvalid_q", &lit(0, 1));
    m.next_when(&bvalid_q, &(&write | &port("s_bready_i")), &write);
    m.drive(&write, &(&aw_full_q & &w_full_q & !&bvalid_q));
    let word_of = |address: Expr| address.slice(2, WORD_BITS);
    let odd = |address: Expr| address.low(2).any();
    let aw_word_q = m.held("aw_word_q", &take_aw, &word_of(port("s_awaddr_i")));
    let aw_odd_q = m.held("aw_odd_q", &take_aw, &odd(port("s_awaddr_i")));
    let w_data_q = m.held("w_data_q", &take_w, &port("s_wdata_i"));
    let w_strb_q = m.held("w_strb_q", &take_w, &port("s_wstrb_i"));
    m.drive(&port("s_awready_o"), &!&aw_full_q);
    m.drive(&port("s_wready_o"), &!&w_full_q);
    m.drive(&port("s_bvalid_o"), &bvalid_q);
    m.drive(&port("s_bresp_o"), &lit(0, 2));
    m.drive(&wr_en, &write);
    m.drive(&wr_word, &aw_word_q);
    m.drive(&wr_data, &w_data_q);
    m.drive(&wr_strb, &w_strb_q);
    m.drive(&wr_odd, &aw_odd_q);

    let take_ar = m.wire("take_ar", &(port("s_arvalid_i") & port("s_arready_o")));
    let give_r = m.wire("give_r", &(port("s_rvalid_o") & port("s_rready_i")));
    let reading_q = flag(&mut m, "reading_q", &take_ar, &give_r);
    let rvalid_q = flag(&mut m, "rvalid_q", &rd_valid, &give_r);
    let rd_en_q = m.reg_reset("rd_en_q", &lit(0, 1));
    m.next(&rd_en_q, &take_ar);
    let ar_word_q = m.held("ar_word_q", &take_ar, &word_of(port("s_araddr_i")));
    let ar_odd_q = m.held("ar_odd_q", &take_ar, &odd(port("s_araddr_i")));
    m.drive(&rd_odd, &ar_odd_q);
    let rdata_q = m.reg("rdata_q", uint(32));
    m.next_when(&rdata_q, &rd_valid, &rd_data);
    m.drive(&port("s_arready_o"), &!&reading_q);
    m.drive(&port("s_rvalid_o"), &rvalid_q);
    m.drive(&port("s_rdata_o"), &rdata_q);
    m.drive(&port("s_rresp_o"), &lit(0, 2));
    m.drive(&rd_en, &rd_en_q);
    m.drive(&rd_word, &ar_word_q);
    m.unused("bus", &[port("s_awprot_i"), port("s_arprot_i")]);
    design.add(m)
}
