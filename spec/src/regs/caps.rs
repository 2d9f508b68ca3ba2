//! What a machine says about itself.

use super::{ABI, MAGIC, offset};

macro_rules! capabilities {
    ($($(#[$doc:meta])* $field:ident $reg:literal,)*) => {
        /// Sizes of a machine; see docs/architecture/machine.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
        pub struct Capabilities {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl Capabilities {
            /// Register names with their contents.
            pub fn words(&self) -> Vec<(&'static str, u32)> {
                vec![$(($reg, self.$field)),*]
            }

            /// Reads them; `read` gives the word at an offset.
            pub fn read<E>(mut read: impl FnMut(u32) -> Result<u32, E>) -> Result<Capabilities, E> {
                Ok(Capabilities { $($field: read(offset($reg))?),* })
            }
        }
    };
}

capabilities! {
    /// T: tables of the matrix engine.
    tables "CAP_TABLES",
    /// Q: its rows.
    rows "CAP_ROWS",
    /// Token slots of all banks.
    slots "CAP_SLOTS",
    /// V: token slots of a vector word.
    lanes "CAP_LANES",
    /// L: columns of a vector word.
    columns "CAP_COLUMNS",
    /// N: memory ports.
    ports "CAP_PORTS",
    /// B: bits of a port.
    port_bits "CAP_PORT_BITS",
    /// R: queries resident in an attention unit.
    queries "CAP_QUERIES",
    /// U: attention units.
    units "CAP_UNITS",
    /// Most columns of a layer's input.
    max_cols "CAP_MAX_COLS",
    /// Most rows of a tile.
    tile_rows "CAP_TILE_ROWS",
    /// Column words of the vector memory.
    vm_words "CAP_VM_WORDS",
    /// Most positions of a sequence.
    max_context "CAP_MAX_CONTEXT",
    /// Clock in MHz.
    mhz "CAP_MHZ",
    /// H: banks of slots.
    banks "CAP_BANKS",
}

impl Capabilities {
    /// Token slots of a bank.
    pub fn bank_slots(&self) -> u32 {
        self.slots / self.banks.max(1)
    }
}

/// The constants of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Identity {
    /// Hash of the preset and the generator's version.
    pub config_hash: u64,
    /// Number of the build.
    pub build_id: u32,
    /// Sizes.
    pub caps: Capabilities,
}

impl Identity {
    /// Names of all constant registers with their contents.
    pub fn words(&self) -> Vec<(&'static str, u32)> {
        let mut words = vec![
            ("ID", MAGIC),
            ("ABI", ABI),
            ("CONFIG_HASH_LO", self.config_hash as u32),
            ("CONFIG_HASH_HI", (self.config_hash >> 32) as u32),
            ("BUILD_ID", self.build_id),
        ];
        words.extend(self.caps.words());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, REGS};
    use super::*;

    /// Every constant register has a content, nothing else has one.
    #[test]
    fn constants_are_complete() {
        let mut found: Vec<&str> = Identity::default().words().iter().map(|(name, _)| *name).collect();
        let mut expected: Vec<&str> = REGS.iter().filter(|r| r.access == Access::Const).map(|r| r.name).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let caps = Capabilities { tables: 32, rows: 4, slots: 8, mhz: 250, ..Capabilities::default() };
        let words = caps.words();
        let read = |at: u32| words.iter().find(|(name, _)| offset(name) == at).map(|(_, word)| *word).ok_or(at);
        assert_eq!(Capabilities::read(read), Ok(caps));
    }
}
