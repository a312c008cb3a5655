//! The producer: says texts at a steady pace, whatever becomes of them.

use std::{
    io::Write,
    ops::Range,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{payload, process};

/// With many pipes the producer wakes up so often and says all that is due.
const TICK: Duration = Duration::from_millis(1);

/// What is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Texts a second on each pipe; 0: as fast as they are taken.
    pub(crate) rate: usize,
    /// Texts on each pipe.
    pub(crate) count: usize,
    /// Of a text.
    pub(crate) bytes: usize,
    /// Texts at the beginning whose latency does not count.
    pub(crate) warm_up: usize,
}

impl Pace {
    /// Begins to say the texts on all pipes, the pipes taking turns. Gives how long it took.
    pub(crate) fn produce<W>(self, mut pipes: Vec<W>, cores: Range<usize>) -> JoinHandle<Duration>
    where
        W: Write + Send + 'static,
    {
        thread::spawn(move || {
            process::pin(cores);
            let begin = Instant::now();
            let all = self.count * pipes.len();
            let each_second = (self.rate * pipes.len()) as f64;
            let mut said = 0;
            while said < all {
                let due = match self.rate {
                    0 => all,
                    _ => ((begin.elapsed().as_secs_f64() * each_second) as usize + 1).min(all),
                };
                while said < due {
                    let (number, turn) = (said / pipes.len(), said % pipes.len());
                    let line = payload::line(number as u64, self.bytes);
                    pipes[turn].write_all(line.as_bytes()).unwrap();
                    said += 1;
                }
                if said < all {
                    let next = Duration::from_secs_f64(said as f64 / each_second);
                    thread::sleep(next.saturating_sub(begin.elapsed()).max(TICK));
                }
            }
            begin.elapsed()
        })
    }
}
