//! How words of weight codes lie in the region of a port.
//!
//! Codes and bytes are numbers of a few digits, lowest first: a dense code has three trits and a byte five, a Sherry
//! code five bits and a byte eight. Where a port's word has two codes for each byte of a beat, words lie in **bundles**,
//! one beat for each word behind a beat that they share:
//!
//! ```text
//! beat 0        byte b = top(0, b) + r top(1, b) + r^2 top(2, b) + ...     of the bundle's words 0, 1, 2, ...
//! beat 1 + w    byte b = the lowest digits of code 2b and code 2b + 1 of word w; what they have more is top(w, b)
//!
//! digits        code 2b       code 2b + 1
//! dense         t0 t1 t2      t3 t4 [t5]            top = t5              r = 3    5 words in 6 beats
//! Sherry        b0 .. b4      b5 b6 b7 [b8 b9]      top = b8 + 2 b9       r = 4    4 words in 5 beats
//! ```
//!
//! So byte `b` of two beats makes two codes, and nothing is shifted from byte to byte. The last bundle of a run has only
//! as many beats as words, and tops of zeros for those that are not there. All other ports have the **tight** order:
//! digit after digit, codes across bytes and words across beats; the last byte is filled up with zeros.

use crate::format::trit5;

/// The weights of a port in one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordLayout {
    /// Bytes of a beat.
    pub beat: usize,
    /// Codes of a word.
    pub codes: usize,
    /// Sherry codes instead of dense ones.
    pub sherry: bool,
}

impl WordLayout {
    /// Base of the digits; digits of a code and of a byte.
    const fn digits(&self) -> (u32, u32, u32) {
        if self.sherry { (2, 5, 8) } else { (3, 3, 5) }
    }

    /// Values of a code, of a byte and of the top of two codes.
    const fn values(&self) -> [u32; 3] {
        let (base, code, byte) = self.digits();
        [base.pow(code), base.pow(byte), base.pow(2 * code - byte)]
    }

    /// The byte of zeros.
    pub const fn filler(&self) -> u8 {
        if self.sherry { 0 } else { trit5::ZERO }
    }

    /// Words of a bundle; none if words lie in the tight order.
    pub const fn bundle(&self) -> Option<usize> {
        let (_, code, byte) = self.digits();
        if self.codes == 2 * self.beat { Some((byte / (2 * code - byte)) as usize) } else { None }
    }

    /// Bytes of a run of `words` words.
    pub const fn bytes(&self, words: u64) -> u64 {
        let (_, code, byte) = self.digits();
        match self.bundle() {
            Some(bundle) => (words + words.div_ceil(bundle as u64)) * self.beat as u64,
            None => (words * self.codes as u64 * code as u64).div_ceil(byte as u64),
        }
    }
}

/// Makes bytes of the words of a run.
#[derive(Clone, Debug)]
pub struct WordPacker {
    layout: WordLayout,
    /// Tight: digits that fill no byte yet.
    value: u32,
    held: u32,
    /// Beats of a bundle that is not full, and its words.
    bundle: Vec<u8>,
    words: u32,
}

impl WordPacker {
    /// A run without words.
    pub fn new(layout: WordLayout) -> WordPacker {
        WordPacker { layout, value: 0, held: 0, bundle: Vec::new(), words: 0 }
    }

    /// Appends a word and puts the bytes that are complete.
    pub fn push(&mut self, codes: &[u8], mut put: impl FnMut(u8)) {
        let (base, code_digits, byte_digits) = self.layout.digits();
        let [of_code, of_byte, of_top] = self.layout.values();
        let Some(words) = self.layout.bundle() else {
            for &code in codes {
                self.value += u32::from(code) * base.pow(self.held);
                self.held += code_digits;
                while self.held >= byte_digits {
                    put((self.value % of_byte) as u8);
                    self.value /= of_byte;
                    self.held -= byte_digits;
                }
            }
            return;
        };
        self.bundle.resize(self.bundle.len().max(self.layout.beat), 0);
        let place = of_top.pow(self.words);
        for (b, pair) in codes.chunks_exact(2).enumerate() {
            let value = u32::from(pair[0]) + of_code * u32::from(pair[1]);
            self.bundle[b] += (value / of_byte * place) as u8;
            self.bundle.push((value % of_byte) as u8);
        }
        self.words += 1;
        if self.words as usize == words {
            self.bundle.drain(..).for_each(put);
            self.words = 0;
        }
    }

    /// Ends the run and puts what is left of it.
    pub fn finish(&mut self, mut put: impl FnMut(u8)) {
        let filled = |low: u32, places: u32| (low + u32::from(self.layout.filler()) / places * places) as u8;
        if self.held > 0 {
            put(filled(self.value, self.layout.digits().0.pow(self.held)));
        }
        let (shared, beats) = self.bundle.split_at(self.bundle.len().min(self.layout.beat));
        let places = self.layout.values()[2].pow(self.words);
        shared.iter().for_each(|&tops| put(filled(tops.into(), places)));
        beats.iter().for_each(|&byte| put(byte));
        *self = WordPacker::new(self.layout);
    }
}

/// Makes words of the bytes of a run.
#[derive(Clone, Debug)]
pub struct WordReader {
    layout: WordLayout,
    value: u32,
    held: u32,
    /// Tops of the words that the bundle still has.
    tops: Vec<u8>,
    words: usize,
}

impl WordReader {
    /// A run of which nothing was read.
    pub fn new(layout: WordLayout) -> WordReader {
        WordReader { layout, value: 0, held: 0, tops: Vec::new(), words: 0 }
    }

    /// The next word, of as many bytes as it needs. Illegal bytes make codes that mean nothing.
    pub fn next<E>(&mut self, mut byte: impl FnMut() -> Result<u8, E>) -> Result<Vec<u8>, E> {
        let (base, code_digits, byte_digits) = self.layout.digits();
        let [of_code, of_byte, of_top] = self.layout.values();
        let mut codes = Vec::with_capacity(self.layout.codes);
        let Some(words) = self.layout.bundle() else {
            while codes.len() < self.layout.codes {
                while self.held < code_digits {
                    self.value += u32::from(byte()?) * base.pow(self.held);
                    self.held += byte_digits;
                }
                codes.push((self.value % of_code) as u8);
                self.value /= of_code;
                self.held -= code_digits;
            }
            return Ok(codes);
        };
        if self.words == 0 {
            self.tops = (0..self.layout.beat).map(|_| byte()).collect::<Result<_, E>>()?;
            self.words = words;
        }
        self.words -= 1;
        for tops in &mut self.tops {
            let value = u32::from(byte()?) + of_byte * (u32::from(*tops) % of_top);
            *tops /= of_top as u8;
            codes.extend([(value % of_code) as u8, (value / of_code) as u8]);
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::code3;
    use std::convert::Infallible;

    fn packed(layout: WordLayout, words: &[Vec<u8>]) -> Vec<u8> {
        let (mut packer, mut out) = (WordPacker::new(layout), Vec::new());
        words.iter().for_each(|codes| packer.push(codes, |byte| out.push(byte)));
        packer.finish(|byte| out.push(byte));
        out
    }

    #[test]
    fn words_round_trip_in_both_orders() {
        for (beat, codes) in [(4, 8), (16, 32), (8, 7), (4, 2), (2, 3)] {
            for sherry in [false, true] {
                let layout = WordLayout { beat, codes, sherry };
                let of_code = layout.values()[0] as usize;
                for count in 0..13 {
                    let code = |at: usize| (at * at * 11 + at / 5 + count) % of_code;
                    let word = |n: usize| (0..codes).map(|c| code(n * codes + c) as u8).collect();
                    let words: Vec<Vec<u8>> = (0..count).map(word).collect();
                    let bytes = packed(layout, &words);
                    assert_eq!(bytes.len() as u64, layout.bytes(count as u64), "{layout:?}, {count} words");
                    assert!(sherry || bytes.iter().all(|&byte| byte < trit5::CODES));
                    let (mut reader, mut bytes) = (WordReader::new(layout), bytes.into_iter());
                    let mut next = || Ok::<u8, Infallible>(bytes.next().unwrap());
                    for word in &words {
                        assert_eq!(reader.next(&mut next).unwrap(), *word, "{layout:?}, {count} words");
                    }
                    assert_eq!(bytes.next(), None, "{layout:?}, {count} words");
                }
            }
        }
    }

    #[test]
    fn a_bundle_of_two_words() {
        let dense = WordLayout { beat: 1, codes: 2, sherry: false };
        assert_eq!((dense.bundle(), WordLayout { sherry: true, ..dense }.bundle()), (Some(5), Some(4)));
        let code = code3::encode3;
        let words = [vec![code([1, 0, -1]), code([0, 0, 1])], vec![code([0; 3]), code([0, 0, -1])]];
        // tops 1, -1, and zeros for three words that are not there
        let tops = trit5::pack5([1, -1, 0, 0, 0]);
        assert_eq!(packed(dense, &words), [tops, trit5::pack5([1, 0, -1, 0, 0]), trit5::ZERO]);
        let sherry = WordLayout { sherry: true, ..dense };
        assert_eq!(packed(sherry, &[vec![0b10011, 0b01110], vec![0, 0b11000]]), [0b1101, 0b110_10011, 0]);
    }

    #[test]
    fn the_tight_order_has_digit_after_digit() {
        let dense = WordLayout { beat: 4, codes: 1, sherry: false };
        assert_eq!(dense.bundle(), None);
        let code = code3::encode3;
        let (words, bytes) = ([vec![code([1, 0, -1])], vec![code([0, 1, 1])]], [[1, 0, -1, 0, 1], [1, 0, 0, 0, 0]]);
        assert_eq!(packed(dense, &words), bytes.map(trit5::pack5));
        let sherry = WordLayout { sherry: true, ..dense };
        assert_eq!(packed(sherry, &[vec![0b10011], vec![0b01110]]), [0b110_10011, 0b01]);
    }
}
