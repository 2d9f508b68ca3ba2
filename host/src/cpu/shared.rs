//! A slice that the threads of a job write disjoint parts of.

use std::{marker::PhantomData, ops::Range};

/// A mutable slice, shared between threads; who writes what is up to the job.
pub struct Shared<'a, T> {
    base: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `part`, whose callers promise that no two threads share an element.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above; the value is a borrowed slice.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares a slice for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { base: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements `range`.
    ///
    /// # Safety
    /// While the result lives, no other part that overlaps it exists.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: inside the slice by the assertion, unique by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(range.start), range.len()) }
    }

    /// One element, for a thread that has it to itself.
    ///
    /// # Safety
    /// As [`Shared::part`].
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn one(&self, index: usize) -> &mut T {
        // SAFETY: passed on to the caller.
        unsafe { &mut self.part(index..index + 1)[0] }
    }

    /// The first of `count` elements that are `step` apart, for code that writes them by address.
    pub fn pointer(&self, first: usize, step: usize, count: usize) -> *mut T {
        let last = count.saturating_sub(1).checked_mul(step).and_then(|n| n.checked_add(first));
        assert!(last.is_some_and(|last| last < self.len), "elements from {first} on of {}", self.len);
        self.base.wrapping_add(first)
    }

    /// Writes elements that are `stride` apart.
    ///
    /// # Safety
    /// As [`Shared::set`], for all of them.
    #[inline(always)]
    pub unsafe fn scatter(&self, start: usize, stride: usize, values: impl ExactSizeIterator<Item = T>)
    where
        T: Copy,
    {
        let last = values.len().saturating_sub(1).checked_mul(stride).and_then(|n| n.checked_add(start));
        assert!(last.is_some_and(|last| last < self.len), "elements from {start} on of {}", self.len);
        for (i, value) in values.enumerate() {
            // SAFETY: inside the slice by the assertion, untouched by others by the caller's promise.
            unsafe { self.base.add(start + i * stride).write(value) };
        }
    }

    /// Writes one element.
    ///
    /// # Safety
    /// No part that contains it exists, and no other thread touches it.
    #[inline(always)]
    pub unsafe fn set(&self, index: usize, value: T)
    where
        T: Copy,
    {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: inside the slice by the assertion, untouched by others by the caller's promise.
        unsafe { self.base.add(index).write(value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_checked() {
        let mut data = [1, 2, 3];
        let shared = Shared::new(&mut data);
        // SAFETY: the only part at this time.
        let part = unsafe { shared.part(1..3) };
        part[1] = 9;
        // SAFETY: as above; panics before there is a part.
        let outside = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { shared.part(2..4).len() }));
        assert!(outside.is_err());
        assert_eq!(data, [1, 2, 9]);
    }
}
