//! A cheaply cloned view of bytes that somebody else keeps alive: a `Vec<u8>` or a mapped file.

use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// A shared, immutable range of bytes. Cloning copies a pointer, not the bytes.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`, for example a mapped model file.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Bytes { owner: Arc::new(owner), range }
    }

    /// The part `range` of this view, or `None` if it does not lie inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start + range.start;
        let end = self.range.start + range.end;
        Some(Bytes { owner: Arc::clone(&self.owner), range: start..end })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from_owner(bytes)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_inside() {
        let all = Bytes::from((0..10).collect::<Vec<u8>>());
        let part = all.slice(2..6).unwrap();
        assert_eq!(&*part, &[2, 3, 4, 5]);
        assert_eq!(&*part.slice(1..2).unwrap(), &[3]);
        assert!(part.slice(0..5).is_none());
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = part.slice(3..2);
        assert!(reversed.is_none());
    }
}
