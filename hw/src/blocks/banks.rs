//! Slots and groups of banks.

use crate::ir::{Expr, cat};
use crate::width::index_width;

/// Bits of `{bank, number}` for numbers below `count`.
pub(crate) fn place_width(banks: u32, count: u32) -> u32 {
    index_width(count.into()) + u32::from(banks > 1)
}

/// `{bank, number}`; the number alone if there is one bank.
pub(crate) fn place(banks: u32, bank: &Expr, number: &Expr) -> Expr {
    if banks == 1 { number.clone() } else { cat([bank, number]) }
}

/// What `pick` takes of a bank's values, `width` bits for each of `slots` slots, bank after bank in `all`.
pub(crate) fn of_bank(bank: &Expr, all: &Expr, width: u32, slots: u32, pick: impl Fn(&[Expr]) -> Expr) -> Expr {
    let values: Vec<Expr> = (0..all.width() / width).map(|slot| all.lane(slot, width)).collect();
    let (first, others) = values.split_at(slots as usize);
    let others = others.chunks(slots as usize).map(&pick);
    others.fold(pick(first), |first, second| bank.mux(&second, &first))
}
