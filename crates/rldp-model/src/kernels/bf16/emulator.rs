//! Tile instructions for processors that have none, so that the tile kernel is checked wherever tests run.
//!
//! The processor refuses each of them with SIGILL. The handler does what the instruction would have done, to tiles that it
//! keeps for the thread, and goes on behind it. Only the instructions and shapes that the kernel uses are known.

use std::{cell::RefCell, ffi::c_int, sync::OnceLock};

use super::SIDE;

/// 16 rows of 64 bytes.
type Register = [[u32; SIDE]; SIDE];

thread_local! {
    static TILES: RefCell<[Register; 8]> = const { RefCell::new([[[0; SIDE]; SIDE]; 8]) };
}

static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Installs the handler for this process. Returns whether it could.
pub(super) fn install() -> bool {
    *INSTALLED.get_or_init(|| {
        // SAFETY: all zeros are a valid set of flags and an empty mask; the handler has the signature that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()) == 0
        }
    })
}

/// Whether the handler is installed.
pub(super) fn installed() -> bool {
    INSTALLED.get() == Some(&true)
}

extern "C" fn handle(_: c_int, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the system passes the interrupted thread's context, which nobody else uses while the handler runs.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    match run(&Registers(registers)) {
        Some(length) => registers[libc::REG_RIP as usize] += length as i64,
        // Not ours: let the instruction fail as it would have.
        // SAFETY: the default action is always valid.
        None => unsafe {
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        },
    }
}

/// General registers of the interrupted thread.
struct Registers<'a>(&'a [i64; 23]);

impl Registers<'_> {
    /// By the number that instructions use.
    fn value(&self, number: u8) -> usize {
        use libc::{REG_R8, REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP};
        const LOW: [c_int; 8] = [REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI];
        let place = LOW.get(usize::from(number)).copied().unwrap_or(REG_R8 + c_int::from(number) - 8);
        self.0[place as usize] as usize
    }

    fn code(&self) -> *const u8 {
        self.0[libc::REG_RIP as usize] as *const u8
    }
}

/// An instruction with a three-byte VEX prefix.
struct Instruction {
    /// 0 for none, 2 for F3, 3 for F2.
    prefix: u8,
    opcode: u8,
    in_registers: bool,
    /// The three operands.
    register: u8,
    other: u8,
    third: u8,
    /// Where memory operands begin, and the distance of their rows.
    address: usize,
    stride: usize,
    length: usize,
}

/// Decodes what stands at the thread's next instruction; `None` for what is no instruction of tiles.
fn decode(registers: &Registers) -> Option<Instruction> {
    // SAFETY: the processor has just read an instruction there, and stops at one of at least five bytes if it begins like this.
    let byte = |at: usize| unsafe { registers.code().add(at).read() };
    // VEX in three bytes, opcodes of the map 0F38, 128 bits, W0.
    if byte(0) != 0xc4 || byte(1) & 0x1f != 2 || byte(2) & 0x84 != 0 {
        return None;
    }
    let high = |bit: u8| if byte(1) & bit == 0 { 8 } else { 0 };
    let (mode, register, other) = (byte(4) >> 6, byte(4) >> 3 & 7, byte(4) & 7);
    let mut found = Instruction {
        prefix: byte(2) & 3,
        opcode: byte(3),
        in_registers: mode == 3,
        register: register + high(0x80),
        other: other + high(0x20),
        third: !(byte(2) >> 3) & 15,
        address: 0,
        stride: 0,
        length: 5,
    };
    if found.in_registers {
        return Some(found);
    }
    let mut base = found.other;
    if other == 4 {
        let (scale, index) = (byte(5) >> 6, (byte(5) >> 3 & 7) + high(0x40));
        base = (byte(5) & 7) + high(0x20);
        found.stride = if index == 4 { 0 } else { registers.value(index) << scale };
        found.length = 6;
    }
    let offset = match mode {
        // Relative to the code, or without a base.
        0 if base & 7 == 5 => return None,
        0 => 0,
        1 => isize::from(byte(found.length).cast_signed()),
        _ => i32::from_le_bytes(std::array::from_fn(|i| byte(found.length + i))) as isize,
    };
    found.length += [0, 1, 4][usize::from(mode)];
    found.address = registers.value(base).wrapping_add_signed(offset);
    Some(found)
}

/// Does what the next instruction says; returns its length, `None` for one that is not known.
fn run(registers: &Registers) -> Option<usize> {
    let instruction = decode(registers)?;
    let Instruction { prefix, opcode, in_registers, register, other, third, address, stride, length } = instruction;
    let row = |at: usize| (address + at * stride) as *mut [u32; SIDE];
    TILES.with_borrow_mut(|tiles| {
        let place = usize::from(register);
        match (opcode, prefix, in_registers) {
            (0x49, 0, true) => tiles.iter_mut().for_each(|tile| *tile = [[0; SIDE]; SIDE]),
            (0x49, 0, false) => {
                // SAFETY: as for the instruction itself, the address is the caller's promise.
                let configuration = unsafe { &*(address as *const [u8; 64]) };
                return whole_tiles(configuration).then_some(());
            }
            (0x49, 3, true) => *tiles.get_mut(place)? = [[0; SIDE]; SIDE],
            (0x4b, 3, false) => {
                for (at, to) in tiles.get_mut(place)?.iter_mut().enumerate() {
                    // SAFETY: as above, of every row.
                    *to = unsafe { row(at).read_unaligned() };
                }
            }
            (0x4b, 2, false) => {
                for (at, from) in tiles.get(place)?.iter().enumerate() {
                    // SAFETY: as above, of every row.
                    unsafe { row(at).write_unaligned(*from) };
                }
            }
            (0x5c, 2, true) => {
                let (a, b) = (*tiles.get(usize::from(other))?, *tiles.get(usize::from(third))?);
                add_products(tiles.get_mut(place)?, &a, &b);
            }
            _ => return None,
        }
        Some(())
    })?;
    Some(length)
}

/// Whether a configuration says that all eight tiles have 16 rows of 64 bytes.
fn whole_tiles(configuration: &[u8; 64]) -> bool {
    let (widths, rows) = (&configuration[16..32], &configuration[48..56]);
    configuration[0] == 1 && widths.chunks(2).all(|width| width == [64, 0]) && rows.iter().all(|rows| *rows == 16)
}

/// sums += a · b over pairs of bf16, in the order of TDPBF16PS; that one rounds once where this rounds twice.
fn add_products(sums: &mut Register, a: &Register, b: &Register) {
    let [low, high] = [|pair: u32| f32::from_bits(pair << 16), |pair: u32| f32::from_bits(pair & 0xffff_0000)];
    for (sums, a) in sums.iter_mut().zip(a) {
        for (column, sum) in sums.iter_mut().enumerate() {
            let (mut even, mut odd) = (0.0_f32, 0.0_f32);
            for (a, b) in a.iter().zip(b) {
                even += low(*a) * low(b[column]);
                odd += high(*a) * high(b[column]);
            }
            *sum = (f32::from_bits(*sum) + (even + odd)).to_bits();
        }
    }
}
