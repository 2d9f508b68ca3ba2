//! A loaded model. All unsafe code of the crate is here.
//!
//! The library was made by [`crate::compile`] from this crate's own C++ text, which fixes the
//! functions and checks the size of every port.
#![allow(unsafe_code)]

use crate::SimError;
use crate::shim::port_bytes;
use hw::ir::Port;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Arc;

type New = unsafe extern "C" fn(u32) -> *mut c_void;
type Act = unsafe extern "C" fn(*mut c_void);
type Open = unsafe extern "C" fn(*mut c_void, *const c_char, u64) -> u32;
type PortOf = unsafe extern "C" fn(*mut c_void, u32) -> *mut c_void;

/// A compiled model in memory, from which any number of independent copies can be started.
#[derive(Clone)]
pub struct Library {
    /// Keeps the functions below mapped.
    _code: Arc<libloading::Library>,
    new: New,
    free: Act,
    eval: Act,
    tick: Act,
    port: PortOf,
    /// Opens and closes a file of waves, in a traced model.
    waves: Option<(Open, Act)>,
    top: String,
    ports: Arc<Vec<Port>>,
}

/// Number of a port of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortId(usize);

/// One running copy of a model.
pub struct Model {
    /// Keeps the code mapped while the model lives.
    library: Library,
    state: *mut c_void,
    /// Address and width in bits of each port.
    ports: Vec<(*mut u8, u32)>,
}

// SAFETY: a model's state is its own: it has a context of its own and no other thread holds a pointer to it, so it
// may move to another thread; `&mut self` keeps two threads from using it at once.
unsafe impl Send for Model {}

impl Library {
    /// Loads a library that [`crate::compile`] has built for these ports.
    pub(crate) fn load(path: &Path, top: &str, ports: &[Port], traced: bool) -> Result<Library, SimError> {
        let load_error = |error| SimError::Load { path: path.to_path_buf(), error };
        // SAFETY: the library holds only the model and our shim; its initialisers touch nothing of ours.
        let code = unsafe { libloading::Library::new(path) }.map_err(load_error)?;
        // SAFETY: the shim declares these functions with exactly these types, and `code` is kept in the
        // value that holds the copied pointers.
        let (new, free, eval, tick, port) = unsafe {
            (
                *code.get::<New>(b"tercet_new").map_err(load_error)?,
                *code.get::<Act>(b"tercet_free").map_err(load_error)?,
                *code.get::<Act>(b"tercet_eval").map_err(load_error)?,
                *code.get::<Act>(b"tercet_tick").map_err(load_error)?,
                *code.get::<PortOf>(b"tercet_port").map_err(load_error)?,
            )
        };
        let mut waves = None;
        if traced {
            // SAFETY: the shim of a traced model declares these two functions as well; otherwise as above.
            waves = Some(unsafe {
                (
                    *code.get::<Open>(b"tercet_waves_open").map_err(load_error)?,
                    *code.get::<Act>(b"tercet_waves_close").map_err(load_error)?,
                )
            });
        }
        let ports = Arc::new(ports.to_vec());
        Ok(Library { _code: Arc::new(code), new, free, eval, tick, port, waves, top: top.to_string(), ports })
    }

    /// Starts a copy; `seed` fills its registers and memories with random bits.
    pub fn start(&self, seed: u32) -> Model {
        // SAFETY: `new` returns a state of its own, which only the `Model` below uses and frees.
        let state = unsafe { (self.new)(seed) };
        let address = |(index, port): (usize, &Port)| {
            // SAFETY: `index` is below the number of ports that the shim was written for.
            (unsafe { (self.port)(state, index as u32) }.cast::<u8>(), port.ty.width)
        };
        let ports = self.ports.iter().enumerate().map(address).collect();
        Model { library: self.clone(), state, ports }
    }

    /// The number of a port.
    pub fn port(&self, name: &str) -> Result<PortId, SimError> {
        let missing = || SimError::NoSuchPort { top: self.top.clone(), port: name.to_string() };
        self.ports.iter().position(|p| p.name == name).map(PortId).ok_or_else(missing)
    }
}

impl Library {
    /// Bits of a port.
    pub fn width(&self, port: PortId) -> u32 {
        self.ports[port.0].ty.width
    }
}

impl Model {
    /// Lets the combinational logic settle.
    pub fn eval(&mut self) {
        // SAFETY: `state` is alive until drop, and `&mut self` keeps others out.
        unsafe { (self.library.eval)(self.state) }
    }

    /// One rising edge of `clk_i`.
    pub fn tick(&mut self) {
        // SAFETY: as in `eval`.
        unsafe { (self.library.tick)(self.state) }
    }

    /// Writes waves of everything from now on to this file (VCD); `cycle` is the number of the next cycle.
    pub fn open_waves(&mut self, path: &Path, cycle: u64) -> Result<(), SimError> {
        let (open, _) = self.library.waves.ok_or_else(|| SimError::NoWaves { top: self.library.top.clone() })?;
        let fail = |error| SimError::File { path: path.to_path_buf(), error };
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|error| fail(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
        // a file that cannot be made is our error, not Verilator's
        std::fs::File::create(path).map_err(fail)?;
        // SAFETY: as in `eval`; `name` ends with a zero byte and outlives the call, which copies it.
        match unsafe { open(self.state, name.as_ptr(), cycle) } {
            0 => Err(fail(std::io::Error::other("Verilator cannot write it"))),
            _ => Ok(()),
        }
    }

    /// Ends the file of waves, if one is open.
    pub fn close_waves(&mut self) {
        if let Some((_, close)) = self.library.waves {
            // SAFETY: as in `eval`.
            unsafe { close(self.state) }
        }
    }

    /// Sets a port to the low bits of `words`, missing words are zero.
    pub fn set_words(&mut self, port: PortId, words: &[u32]) {
        let (address, width) = self.ports[port.0];
        if width > 64 {
            let count = width.div_ceil(32) as usize;
            for at in 0..count {
                let unused = if at + 1 == count { 32 * count as u32 - width } else { 0 }; // Verilator wants them zero
                let word = words.get(at).copied().unwrap_or(0) & (u32::MAX >> unused);
                // SAFETY: Verilator keeps ports beyond 64 bits as an array of `count` aligned 32-bit words;
                // the shim has checked its size at compile time.
                unsafe { address.cast::<u32>().add(at).write(word) };
            }
            return;
        }
        for at in 0..port_bytes(width) {
            let word = words.get(at / 4).copied().unwrap_or(0);
            let left = width.saturating_sub(8 * at as u32).min(8);
            let byte = (word >> (8 * (at % 4))) as u8 & ((1u16 << left) - 1) as u8;
            // SAFETY: the shim has checked at compile time that the port is `port_bytes(width)` long.
            unsafe { address.add(at).write(byte) };
        }
    }

    /// Sets a port of up to 64 bits.
    #[inline]
    pub fn set(&mut self, port: PortId, value: u64) {
        let (address, width) = self.ports[port.0];
        let value = if width < 64 { value & ((1 << width) - 1) } else { value };
        // SAFETY: the shim has checked at compile time that the port is `port_bytes(width)` long, and
        // Verilator aligns it to its size.
        unsafe {
            match port_bytes(width) {
                1 => address.write(value as u8),
                2 => address.cast::<u16>().write(value as u16),
                4 => address.cast::<u32>().write(value as u32),
                8 => address.cast::<u64>().write(value),
                _ => self.set_words(port, &[value as u32, (value >> 32) as u32]),
            }
        }
    }

    /// Sets the low bytes of a port, byte 0 in the low bits; the others keep their value.
    #[inline]
    ///
    /// # Panics
    /// If the port has fewer bits.
    pub fn set_bytes(&mut self, port: PortId, bytes: &[u8]) {
        let (address, width) = self.ports[port.0];
        assert!(8 * bytes.len() as u64 <= u64::from(width), "{} bytes for a port of {width} bits", bytes.len());
        // SAFETY: the port is at least as long (checked above and, for the model, by the shim), and words of
        // a little-endian machine hold their bytes in this order.
        unsafe { address.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Reads the low bytes of a port, byte 0 from the low bits.
    ///
    /// # Panics
    /// If the port has fewer bits.
    pub fn get_bytes(&self, port: PortId, bytes: &mut [u8]) {
        let (address, width) = self.ports[port.0];
        assert!(8 * bytes.len() as u64 <= u64::from(width), "{} bytes of a port of {width} bits", bytes.len());
        // SAFETY: as in `set_bytes`.
        unsafe { address.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Reads a port.
    pub fn words(&self, port: PortId) -> Vec<u32> {
        let (address, width) = self.ports[port.0];
        let mut words = vec![0u32; (width as usize).div_ceil(32)];
        for at in 0..port_bytes(width).min(4 * words.len()) {
            // SAFETY: as in `set_words`.
            let byte = unsafe { address.add(at).read() };
            words[at / 4] |= u32::from(byte) << (8 * (at % 4));
        }
        words
    }

    /// Reads the low 64 bits of a port.
    #[inline]
    pub fn get(&self, port: PortId) -> u64 {
        let (address, width) = self.ports[port.0];
        // SAFETY: as in `set`; wider ports are arrays of at least three 32-bit words.
        unsafe {
            match port_bytes(width) {
                1 => u64::from(address.read()),
                2 => u64::from(address.cast::<u16>().read()),
                4 => u64::from(address.cast::<u32>().read()),
                8 => address.cast::<u64>().read(),
                _ => {
                    let words = address.cast::<u32>();
                    u64::from(words.read()) | u64::from(words.add(1).read()) << 32
                }
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: `state` came from `new` and is freed once.
        unsafe { (self.library.free)(self.state) }
    }
}
