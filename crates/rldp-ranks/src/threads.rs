//! A group of threads in one process, for tests of what ranks do without MPI.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::{Group, RanksError};

/// Longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// What threads exchange: in each round every rank leaves its bytes, and takes what it needs when all have.
#[derive(Default)]
struct Board {
    round: u64,
    left: Vec<Option<Vec<u8>>>,
    taken: usize,
    shared: Arc<Vec<Vec<u8>>>,
    broken: bool,
}

/// One rank of several threads.
pub struct Threads {
    rank: usize,
    size: usize,
    board: Arc<(Mutex<Board>, Condvar)>,
}

impl Threads {
    /// A group of `size` ranks, one for each thread.
    pub fn group(size: usize) -> Vec<Self> {
        let board = Arc::new((Mutex::new(Board { left: vec![None; size], ..Board::default() }), Condvar::new()));
        (0..size).map(|rank| Self { rank, size, board: Arc::clone(&board) }).collect()
    }

    /// Leaves `mine` and takes everybody's, once all are there.
    fn exchange(&mut self, mine: Vec<u8>) -> Result<Arc<Vec<Vec<u8>>>, RanksError> {
        let (lock, bell) = &*self.board;
        let deadline = Instant::now() + PATIENCE;
        let silent = || RanksError::Silent { rank: self.rank, waited: PATIENCE, doing: "exchanging" };
        let mut board = lock.lock().map_err(|_| silent())?;
        let wait = |board, until: &dyn Fn(&Board) -> bool| {
            let mut board: std::sync::MutexGuard<'_, Board> = board;
            while !until(&board) && !board.broken && Instant::now() < deadline {
                board = bell.wait_timeout(board, Duration::from_millis(50)).map_err(|_| silent())?.0;
            }
            if until(&board) { Ok(board) } else { Err(silent()) }
        };
        // The round before is over once everybody has taken from it.
        board = wait(board, &|board| board.left[self.rank].is_none() && board.taken == 0)?;
        board.left[self.rank] = Some(mine);
        let round = board.round;
        if board.left.iter().all(Option::is_some) {
            let all = board.left.iter().map(|bytes| bytes.clone().unwrap_or_default()).collect();
            board.shared = Arc::new(all);
            board.round += 1;
            board.taken = self.size;
            bell.notify_all();
        }
        board = wait(board, &|board| board.round > round)?;
        let shared = Arc::clone(&board.shared);
        board.taken -= 1;
        if board.taken == 0 {
            board.left.fill(None);
            bell.notify_all();
        }
        Ok(shared)
    }
}

impl Group for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn describe(&self) -> String {
        "threads of one process".into()
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RanksError> {
        let mine = if self.leads() { bytes } else { Vec::new() };
        Ok(self.exchange(mine)?[0].clone())
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RanksError> {
        let all = self.exchange(bytes)?;
        Ok(if self.leads() { all.to_vec() } else { Vec::new() })
    }

    fn scatter(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<u8>, RanksError> {
        let mut framed = Vec::new();
        for part in if self.leads() { parts } else { Vec::new() } {
            framed.extend((part.len() as u64).to_le_bytes());
            framed.extend(part);
        }
        let all = self.exchange(framed)?;
        let mut rest = &all[0][..];
        for rank in 0..=self.rank {
            let Some((length, after)) = rest.split_first_chunk::<8>() else { break };
            let (part, next) = after.split_at(u64::from_le_bytes(*length) as usize);
            if rank == self.rank {
                return Ok(part.to_vec());
            }
            rest = next;
        }
        Err(RanksError::Garbled(format!("nothing was dealt to rank {}", self.rank)))
    }

    fn reduce(&mut self, values: &mut [u64]) -> Result<(), RanksError> {
        let all = self.exchange(values.iter().flat_map(|value| value.to_le_bytes()).collect())?;
        if self.leads() {
            values.fill(0);
            for bytes in all.iter() {
                for (total, value) in values.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *total = total.wrapping_add(u64::from_le_bytes(*value));
                }
            }
        }
        Ok(())
    }

    fn abort(&mut self, _: i32) -> ! {
        if let Ok(mut board) = self.board.0.lock() {
            board.broken = true;
        }
        self.board.1.notify_all();
        panic!("rank {} ended the group", self.rank)
    }
}
