//! Growing arrays of plain values, aligned to cache lines: a vector or a tile row never straddles two.

use super::{acts::Line, layout::ROWS, store::Store};
use std::{
    alloc::{Layout, handle_alloc_error},
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

/// Values for which any bytes will do.
///
/// # Safety
/// Every bit pattern is a value, there is no padding, and the alignment is at most 64.
pub unsafe trait Plain: Copy {}

// SAFETY: arrays of 32-bit numbers.
unsafe impl Plain for [f32; ROWS] {}
// SAFETY: as above.
unsafe impl Plain for [i32; ROWS] {}
// SAFETY: 64 bytes, aligned to 64.
unsafe impl Plain for Line {}
// SAFETY: plain numbers.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}

/// An array aligned to 64 bytes.
pub struct Buffer<T> {
    store: Option<Store>,
    len: usize,
    items: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { store: None, len: 0, items: PhantomData }
    }
}

impl<T: Plain> Buffer<T> {
    /// Makes it `len` values long; their contents are unspecified.
    pub fn resize(&mut self, len: usize) {
        let layout = Layout::array::<T>(len).unwrap_or_else(|_| panic!("{len} values do not fit memory"));
        if self.store.as_ref().is_none_or(|store| store.len() < layout.size()) {
            self.store = None; // its memory first
            let Ok(store) = Store::new(layout.size()) else { handle_alloc_error(layout) };
            self.store = Some(store);
        }
        self.len = len;
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.store {
            // SAFETY: the store holds `len` values, is aligned to 64 and initialised, and any bytes are
            // a value.
            Some(store) => unsafe { std::slice::from_raw_parts(store.as_ptr().cast(), self.len) },
            None => &[],
        }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.store {
            // SAFETY: as in `deref`; `&mut self` makes the slice unique.
            Some(store) => unsafe { std::slice::from_raw_parts_mut(store.as_mut_ptr().cast(), self.len) },
            None => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_aligned() {
        let mut buffer = Buffer::<[f32; ROWS]>::default();
        assert!(buffer.is_empty() && buffer.iter_mut().next().is_none());
        for len in [1, 70, 3, 100_000, 5] {
            buffer.resize(len);
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % 64), (len, 0));
            buffer.fill([1.5; ROWS]);
            assert!(buffer.iter().all(|tile| *tile == [1.5; ROWS]));
        }
    }
}
