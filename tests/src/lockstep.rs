//! RTL against the reference device, command by command.
//!
//! Units run beside each other, so the RTL has no moment at which "command i is done". What is compared is the
//! history of every place of the vector memory: the values that a place takes, one after the other, must be those
//! that the commands of the program give it. The first other value names command, layer, place and cycle.

use host::device::{LogitsArea, PassRunner, ReferenceRunner, driver::Driver};
use sim::device::{SimDevice, VectorWrite};
use spec::device::{Done, Pass, PassResult};
use spec::program::DeviceShape;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A value that the program gives a place.
#[derive(Clone, Debug)]
struct Step {
    value: u32,
    index: usize,
    what: String,
}

/// A column and a slot.
type Place = (usize, usize);

/// What a pass does to the vector memory.
struct History {
    /// Content before it.
    before: HashMap<Place, u32>,
    /// The values that places take, in order.
    steps: HashMap<Place, Vec<Step>>,
    /// What it gives.
    result: PassResult,
}

/// The history of a pass on the reference device.
fn history(runner: &mut ReferenceRunner, pass: &Pass, area: LogitsArea) -> Result<History, String> {
    let shape = runner.shape().clone();
    let slots = pass.slots.len().min(shape.tokens);
    let mut before = HashMap::new();
    read_all(runner.device(), &shape, slots, &mut before);
    let seen = Arc::new(Mutex::new((HashMap::<Place, Vec<Step>>::new(), before.clone())));
    let shared = seen.clone();
    runner.set_tap(Some(Box::new(move |done: &Done<'_>| {
        let Ok(mut guard) = shared.lock() else { return };
        let (steps, last) = &mut *guard;
        let mut now = HashMap::new();
        read_all(done.device, done.device.shape(), slots, &mut now);
        for (place, value) in now {
            if last.insert(place, value) != Some(value) {
                let op = done.descriptor.op().map_or("?", |op| op.name());
                let what = format!("{op} of label {}", done.descriptor.label());
                steps.entry(place).or_default().push(Step { value, index: done.index, what });
            }
        }
    })));
    let result = runner.run(pass, area);
    runner.set_tap(None);
    let result = result.map_err(|e| e.to_string())?;
    let mut guard = seen.lock().map_err(|e| e.to_string())?;
    Ok(History { before, steps: std::mem::take(&mut guard.0), result })
}

fn read_all(device: &spec::device::Device, shape: &DeviceShape, slots: usize, into: &mut HashMap<Place, u32>) {
    for slot in 0..slots {
        let columns = device.vectors().get(slot, 0, shape.vm_words * shape.lanes()).unwrap_or_default();
        into.extend(columns.iter().enumerate().map(|(column, value)| ((column, slot), value.to_bits())));
    }
}

/// Compares the RTL's writes with a history.
fn compare(history: &History, writes: &[VectorWrite], shape: &DeviceShape, slots: usize) -> Result<(), String> {
    let (lanes, vtokens, groups) = (shape.lanes(), shape.vtokens, shape.groups());
    let mut at: HashMap<Place, usize> = HashMap::new();
    for write in writes {
        let (word, group) = (write.address as usize / groups, write.address as usize % groups);
        for v in (0..vtokens).filter(|v| write.mask >> v & 1 == 1) {
            let slot = group * vtokens + v;
            for lane in (0..lanes).filter(|_| slot < slots) {
                let place = (word * lanes + lane, slot);
                let value = write.data[v * lanes + lane];
                let steps = history.steps.get(&place).map_or(&[][..], Vec::as_slice);
                let next = at.entry(place).or_default();
                let same = |i: usize| steps.get(i).is_some_and(|s| s.value == value);
                // a value written again is no step
                if *next > 0 && same(*next - 1) {
                    continue;
                }
                if same(*next) {
                    *next += 1;
                    continue;
                }
                if *next == 0 && history.before.get(&place) == Some(&value) {
                    continue;
                }
                let expected = steps.get(*next).map_or("nothing more".to_string(), |s| {
                    format!("{:#010x} = {} from descriptor {} ({})", s.value, f32::from_bits(s.value), s.index, s.what)
                });
                return Err(format!(
                    "cycle {}: column {} of slot {slot} becomes {value:#010x} = {}, expected {expected}",
                    write.cycle,
                    place.0,
                    f32::from_bits(value)
                ));
            }
        }
    }
    let mut missing: Vec<_> =
        history.steps.iter().filter(|(place, steps)| at.get(place).copied().unwrap_or(0) < steps.len()).collect();
    missing.sort_by_key(|(place, steps)| (steps[at.get(place).copied().unwrap_or(0)].index, **place));
    match missing.first() {
        None => Ok(()),
        Some((place, steps)) => {
            let step = &steps[at.get(place).copied().unwrap_or(0)];
            Err(format!(
                "{} places were not written in the end, first column {} of slot {} by descriptor {} ({})",
                missing.len(),
                place.0,
                place.1,
                step.index,
                step.what
            ))
        }
    }
}

/// Compares best tokens and logits of the slots that want them.
fn results(pass: &Pass, wanted: &PassResult, found: &PassResult) -> Result<(), String> {
    for slot in 0..pass.slots.len() {
        let bits = |result: &PassResult| result.best[slot].map(|(token, logit)| (token, logit.to_bits()));
        let asked = (pass.want_logits | pass.want_best) >> slot & 1 == 1;
        if asked && bits(wanted) != bits(found) {
            return Err(format!("best of slot {slot} is {:?}, expected {:?}", found.best[slot], wanted.best[slot]));
        }
        let logits = wanted.logits[slot].iter().zip(&found.logits[slot]).position(|(a, b)| a.to_bits() != b.to_bits());
        if let Some(row) = logits {
            let (found, wanted) = (found.logits[slot][row], wanted.logits[slot][row]);
            return Err(format!("logit {row} of slot {slot} is {found}, expected {wanted}"));
        }
    }
    Ok(())
}

/// Runs a pass on both and reports the first difference.
pub fn run(
    reference: &mut ReferenceRunner,
    rtl: &mut Driver<SimDevice>,
    pass: &Pass,
    area: LogitsArea,
) -> Result<(), String> {
    let shape = rtl.shape().clone();
    let history = history(reference, pass, area)?;
    rtl.transport_mut().record_writes();
    let result = rtl.run(pass, area);
    let writes = rtl.transport_mut().take_writes();
    // banks share the slots of the vector memory
    let compared = compare(&history, &writes, &shape, pass.slots.len().min(shape.tokens));
    compared.map_err(|difference| match &result {
        Ok(_) => difference,
        Err(error) => format!("{error}; {difference}"),
    })?;
    results(pass, &history.result, &result.map_err(|e| e.to_string())?)?;
    let size = reference.memory_bytes().min(rtl.memory_bytes()) as usize;
    let wanted = reference.read(0, size).map_err(|e| e.to_string())?;
    let found = rtl.read(0, size).map_err(|e| e.to_string())?;
    // logits are not part of the reference's memory
    let logits = (area.line * 64) as usize..((area.line + shape.slots() as u64 * area.stride) * 64) as usize;
    match (0..size).find(|i| wanted[*i] != found[*i] && !logits.contains(i)) {
        None => Ok(()),
        Some(i) => Err(format!("memory byte {i:#x} is {:#04x}, expected {:#04x}", found[i], wanted[i])),
    }
}
