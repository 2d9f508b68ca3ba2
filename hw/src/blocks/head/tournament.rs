//! The largest logit of every slot.

use super::list::Candidate;
use super::{HeadOut, KEY, ROW};
use crate::ir::{Expr, Module, cat, lit, repeat, uint};

/// An unsigned number that orders binary32: `-0 = 0`, infinity counts as the largest number; minus infinity
/// and NaN give zero, which beats nothing.
fn key(x: &Expr) -> Expr {
    let (sign, rest) = (x.bit(31), x.low(31));
    let special = x.slice(23, 8).all();
    let nothing = &sign | x.low(23).any();
    let largest = lit(0xff7f_ffff, KEY);
    let number = (&sign & rest.any()).mux(&cat([lit(0, 1), !&rest]), &cat([lit(1, 1), rest.clone()]));
    special.mux(&nothing.mux(&lit(0, KEY), &largest), &number)
}

/// The number of a key: zero is positive, the zero key gives minus infinity.
fn number(key: &Expr) -> Expr {
    let finite = key.bit(31).mux(&cat([lit(0, 1), key.low(31)]), &cat([lit(1, 1), !key.low(31)]));
    key.any().mux(&finite, &lit(0xff80_0000, KEY))
}

/// A candidate of a tournament: its key and the offset of its row.
struct Rival {
    key: Expr,
    offset: Option<Expr>,
}

/// A beat whose keys enter the tournament.
pub(super) struct Entry<'a> {
    pub(super) fresh: &'a Expr,
    pub(super) data: &'a Expr,
    pub(super) group: &'a Expr,
    pub(super) row: &'a Expr,
    pub(super) mask: &'a Expr,
    /// Scales of its rows.
    pub(super) scale: &'a Expr,
    /// It is one for the list.
    pub(super) rank: &'a Expr,
    /// The last beat of the head.
    pub(super) end: &'a Expr,
    /// The slot that the list is for.
    pub(super) listed: &'a Expr,
}

impl HeadOut {
    /// Best of the lanes by halves, then against the slot's best or to the list. All stages move with `go`.
    /// Returns whether any beat is on its way, and what comes to the list.
    pub(super) fn tournament(
        &self,
        m: &mut Module,
        (start, go): (&Expr, &Expr),
        entry: &Entry<'_>,
        best: [&Expr; 2],
    ) -> (Expr, Candidate) {
        let Entry { data, mask, .. } = *entry;
        let l = self.lanes;
        m.comment("Keys, then the best of each slot's lanes by halves; the lower row wins a tie.");
        let (mut valid, mut group, mut row) = (entry.fresh.clone(), entry.group.clone(), entry.row.clone());
        // mask and scales are only for the list
        let mut with = cat([entry.end, entry.rank, entry.mask, entry.scale]);
        let mut alive = vec![];
        let mut travel = |m: &mut Module, stage: u32| {
            let valid_q = m.reg_reset(&format!("valid{stage}_q"), &lit(0, 1));
            m.next_when(&valid_q, go, &valid);
            alive.push(valid_q.clone());
            let before = m.wire(&format!("enter{stage}"), &(&valid & go));
            let group_q = m.reg(&format!("group{stage}_q"), group.ty());
            m.next_when(&group_q, &before, &group);
            let row_q = m.reg(&format!("row{stage}_q"), row.ty());
            m.next_when(&row_q, &before, &row);
            let with_q = m.reg(&format!("with{stage}_q"), with.ty());
            m.next_when(&with_q, &before, &with);
            (valid, group, row, with) = (valid_q.clone(), group_q.clone(), row_q.clone(), with_q.clone());
            (before, valid_q, group_q, row_q, with_q)
        };
        let (enable, mut last_valid, mut last_group, mut last_row, mut last_with) = travel(m, 0);
        let mut rivals: Vec<Vec<Rival>> = Vec::new();
        for slot in 0..self.vtokens {
            let lane = |m: &mut Module, lane: u32| {
                let q = m.reg(&format!("key{slot}_{lane}_q"), uint(KEY));
                let number = key(&data.lane(slot * l + lane, 32));
                m.next_when(&q, &enable, &(number & repeat(KEY, &mask.bit(lane))));
                Rival { key: q, offset: None }
            };
            rivals.push((0..l).map(|at| lane(m, at)).collect());
        }
        for stage in 1..=l.ilog2() {
            let (enable, valid_q, group_q, row_q, with_q) = travel(m, stage);
            (last_valid, last_group, last_row, last_with) = (valid_q, group_q, row_q, with_q);
            for (slot, lanes) in rivals.iter_mut().enumerate() {
                let meet = |(at, pair): (usize, &[Rival])| {
                    let [low, high] = pair else { return Rival { key: lit(0, KEY), offset: None } };
                    let name = format!("s{stage}v{slot}n{at}");
                    let wins = m.wire(&format!("{name}_high"), &high.key.gt(&low.key));
                    let key_q = m.reg(&format!("{name}_key_q"), uint(KEY));
                    m.next_when(&key_q, &enable, &wins.mux(&high.key, &low.key));
                    let offset = match (&low.offset, &high.offset) {
                        (Some(low), Some(high)) => cat([&wins, &wins.mux(high, low)]),
                        _ => wins.clone(),
                    };
                    let offset_q = m.reg(&format!("{name}_offset_q"), offset.ty());
                    m.next_when(&offset_q, &enable, &offset);
                    Rival { key: key_q, offset: Some(offset_q) }
                };
                *lanes = lanes.chunks(2).enumerate().map(meet).collect();
            }
        }
        let scales = last_with.low(32 * l);
        let (mask, rank) = (last_with.slice(32 * l, l), last_with.bit(33 * l));
        let counts = m.wire("counts", &(&last_valid & !&rank));
        let mine = self.holds(&last_group, entry.listed);
        let v = self.vtokens;
        let of_lane =
            |at: u32| (1..self.groups()).fold(entry.listed.bit(at), |any, g| any | entry.listed.bit(g * v + at));
        let listed_key =
            (1..v).fold(rivals[0][0].key.clone(), |other, at| of_lane(at).mux(&rivals[at as usize][0].key, &other));
        let candidate = Candidate {
            valid: m.wire("ranked", &(&last_valid & &rank & mine)),
            key: m.wire("listed_key", &listed_key),
            mask,
            scales,
            end: last_with.bit(33 * l + 1),
        };
        m.comment("The best so far. Picked rows come in any order, so the lower row wins a tie.");
        let (mut tokens, mut logits) = (Vec::new(), Vec::new());
        for p in 0..self.tokens {
            let rival = &rivals[(p % self.vtokens) as usize][0];
            let (key_q, row_q) =
                (m.reg(&format!("best{p}_key_q"), uint(KEY)), m.reg(&format!("best{p}_row_q"), uint(ROW)));
            let mine = last_group.eq(&lit((p / self.vtokens).into(), last_group.width()));
            let larger = rival.key.gt(&key_q);
            let lower = rival.key.eq(&key_q) & last_row.lt(&row_q);
            let wins = m.wire(&format!("best{p}_wins"), &(&counts & mine & (larger | lower)));
            let offset = rival.offset.clone().unwrap_or(lit(0, 1));
            let winner = last_row.add_wrap(&offset.extend(ROW));
            let change = start | &wins;
            m.next_when(&key_q, &change, &start.mux(&lit(0, KEY), &rival.key));
            m.next_when(&row_q, &change, &start.mux(&lit(0, ROW), &winner));
            tokens.push(row_q.extend(32));
            logits.push(number(&key_q));
        }
        m.drive(best[0], &cat(tokens.iter().rev()));
        m.drive(best[1], &cat(logits.iter().rev()));
        (cat(&alive).any(), candidate)
    }
}
