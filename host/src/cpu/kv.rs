//! Keys and values of a sequence: int8 codes with one scale per token and head, in pages.
//!
//! ```text
//! keys    [16 positions] blocks of [dim / 4][16 positions][4 dims], code + 128 as u8
//! values  [4 positions] blocks of [dim][4 positions], codes as i8
//! ```
//!
//! So a vector of keys is four dimensions of 16 positions, to be multiplied by four broadcast codes of
//! a query, and a vector of values is four positions of 16 dimensions, to be multiplied by four
//! broadcast weights: no sum across lanes, and both stream in order. Dimensions are padded to 16.

use super::{shared::Shared, store::Store};
use std::io;

/// Positions in a page.
pub const PAGE: usize = 256;

/// Sizes that every page of a model shares.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Blocks of the model.
    pub layers: usize,
    /// Key/value heads.
    pub heads: usize,
    /// Width of a head.
    pub dim: usize,
}

impl Geometry {
    /// Width of a head in memory.
    pub fn padded(&self) -> usize {
        self.dim.next_multiple_of(16)
    }

    /// Bytes of the keys, and of the values, of a head in a page.
    pub fn head_bytes(&self) -> usize {
        PAGE * self.padded()
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> usize {
        self.layers * self.heads * (2 * self.head_bytes() + 2 * PAGE * size_of::<f32>())
    }
}

struct Page {
    codes: Store,
    scales: Vec<f32>,
}

/// The cache of one sequence.
pub struct Cache {
    geometry: Geometry,
    pages: Vec<Page>,
    /// Positions that hold a token.
    pub len: usize,
}

/// One head of one layer in one page.
pub struct Head<'a> {
    /// Keys and then values.
    pub codes: &'a [u8],
    /// Keys.
    pub keys: &'a [u8],
    /// Values.
    pub values: &'a [u8],
    /// Scales of the keys, `[PAGE]`.
    pub key_scales: &'a [f32],
    /// Scales of the values, `[PAGE]`.
    pub value_scales: &'a [f32],
}

impl Cache {
    /// An empty cache.
    pub fn new(geometry: Geometry) -> Self {
        Cache { geometry, pages: Vec::new(), len: 0 }
    }

    /// Makes room for `len` positions.
    pub fn reserve(&mut self, len: usize) -> io::Result<()> {
        while self.pages.len() * PAGE < len {
            let g = self.geometry;
            let codes = Store::new(g.layers * g.heads * 2 * g.head_bytes())?;
            self.pages.push(Page { codes, scales: vec![0.0; g.layers * g.heads * 2 * PAGE] });
        }
        Ok(())
    }

    /// Forgets positions from `len` on; their memory stays for the positions to come.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The head `head` of layer `layer` in page `page`.
    pub fn head(&self, layer: usize, head: usize, page: usize) -> Head<'_> {
        let index = layer * self.geometry.heads + head;
        let bytes = self.geometry.head_bytes();
        let codes = &self.pages[page].codes[index * 2 * bytes..(index + 1) * 2 * bytes];
        let scales = &self.pages[page].scales[index * 2 * PAGE..(index + 1) * 2 * PAGE];
        let (keys, values) = codes.split_at(bytes);
        let (key_scales, value_scales) = scales.split_at(PAGE);
        Head { codes, keys, values, key_scales, value_scales }
    }

    /// Writes positions, several at the same time.
    pub fn writer(&mut self) -> Writer<'_> {
        let pages = self.pages.iter_mut().map(|p| (Shared::new(&mut p.codes[..]), Shared::new(&mut p.scales[..])));
        Writer { geometry: self.geometry, pages: pages.collect() }
    }
}

/// Fills a [`Cache`] from any thread.
pub struct Writer<'a> {
    geometry: Geometry,
    pages: Vec<(Shared<'a, u8>, Shared<'a, f32>)>,
}

impl Writer<'_> {
    /// Stores the key codes of a head at a reserved position.
    ///
    /// # Safety
    /// No two threads write the same position, layer and head.
    pub unsafe fn push_key(&self, (layer, head, position): (usize, usize, usize), key: &[i8], scale: f32) {
        let g = self.geometry;
        let (codes, scales) = &self.pages[position / PAGE];
        let at = position % PAGE;
        let index = layer * g.heads + head;
        let keys = index * 2 * g.head_bytes() + at / 16 * 16 * g.padded() + at % 16 * 4;
        let last = keys + (key.len().div_ceil(4) - 1) * 64;
        // one check for all of them
        let base = codes.pointer(keys, 1, last + 4 - keys);
        let (fours, rest) = key.as_chunks::<4>();
        for (i, four) in fours.iter().enumerate() {
            // SAFETY: four bytes of this position and head, which the caller keeps to itself.
            unsafe { base.add(i * 64).cast::<[u8; 4]>().write(four.map(|code| code as u8 ^ 0x80)) };
        }
        for (i, &code) in rest.iter().enumerate() {
            // SAFETY: as above.
            unsafe { base.add(fours.len() * 64 + i).write(code as u8 ^ 0x80) };
        }
        // SAFETY: as above.
        unsafe { scales.set(index * 2 * PAGE + at, scale) };
    }

    /// Stores the value codes of a head at a reserved position.
    ///
    /// # Safety
    /// As [`Writer::push_key`].
    pub unsafe fn push_value(&self, (layer, head, position): (usize, usize, usize), value: &[i8], scale: f32) {
        let g = self.geometry;
        let (codes, scales) = &self.pages[position / PAGE];
        let at = position % PAGE;
        let index = layer * g.heads + head;
        let values = (index * 2 + 1) * g.head_bytes() + at / 4 * 4 * g.padded() + at % 4;
        // SAFETY: bytes of this position and head, which the caller keeps to itself.
        unsafe {
            codes.scatter(values, 4, value.iter().map(|&code| code as u8));
            scales.set((index * 2 + 1) * PAGE + at, scale);
        }
    }
}
