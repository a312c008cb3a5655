//! One load: producers that say texts, watchers that hear them, and what the server takes for it.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    client::{Followed, Protocol, Watcher},
    options::Options,
    pace::Pace,
    process::Server,
    samples::{Samples, milliseconds},
};

/// How long the server is left alone before it is measured.
const SETTLE: Duration = Duration::from_millis(500);

/// What a load has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Of the server, from the first event to the last delivery.
    pub(crate) cpu: Duration,
    /// From the producer's word to the watcher's ear.
    pub(crate) latencies: Samples,
    /// Texts that came to a watcher.
    pub(crate) deliveries: usize,
    /// Of the wire, all layers above TCP included.
    pub(crate) bytes: u64,
    /// How often a watcher found something to read.
    pub(crate) reads: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// What the server's memory grew by at most, in bytes.
    pub(crate) grown: u64,
}

impl Found {
    /// Takes up what the same load has found another time.
    pub(crate) fn add(&mut self, more: Self) {
        self.cpu += more.cpu;
        self.latencies.add(more.latencies);
        self.deliveries += more.deliveries;
        self.bytes += more.bytes;
        self.reads += more.reads;
        self.took += more.took;
        self.grown = self.grown.max(more.grown);
    }

    /// Seconds of the processor for a million deliveries, less what the run takes `alone`.
    pub(crate) fn per_million(&self, alone: Duration) -> f64 {
        self.cpu.saturating_sub(alone).as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    /// Deliveries a second.
    pub(crate) fn rate(&self) -> f64 {
        self.deliveries as f64 / self.took.as_secs_f64()
    }

    /// Bytes of a delivery.
    pub(crate) fn bytes_each(&self) -> usize {
        self.bytes as usize / self.deliveries.max(1)
    }

    /// What a watcher found at a read: more than one when it, or the server, was behind.
    pub(crate) fn events_a_read(&self) -> f64 {
        self.deliveries as f64 / self.reads.max(1) as f64
    }

    /// Latencies, and how busy the server was.
    pub(crate) fn text(&mut self) -> String {
        format!(
            "p50 {}, p99 {}, {:.2} events a read, {:.0} % of a core over {:.1} s",
            milliseconds(self.latencies.quantile(0.5)),
            milliseconds(self.latencies.quantile(0.99)),
            self.events_a_read(),
            self.cpu.as_secs_f64() * 100.0 / self.took.as_secs_f64(),
            self.took.as_secs_f64()
        )
    }
}

/// `number` watchers of a run that are answered before the first event.
pub(crate) async fn connect(
    address: SocketAddr,
    protocol: Protocol,
    run_id: &str,
    number: usize,
) -> Vec<Watcher> {
    let mut connected = Vec::with_capacity(number);
    for _ in 0..number {
        connected.push(Watcher::connect(address, protocol, run_id).await.unwrap());
    }
    connected
}

/// Says texts on all `pipes` and measures `server` until all watchers have heard all.
pub(crate) async fn measure<W: Write + Send + 'static>(
    options: &Options,
    server: &Server,
    watchers: Vec<Watcher>,
    pipes: Vec<W>,
    pace: Pace,
) -> Found {
    if pace.rate > 0 {
        tokio::time::sleep(SETTLE).await;
    }
    let begin = Begin::now(server);
    let producer = pace.produce(pipes, options.load_core());
    let following = watchers.into_iter().map(|mut watcher| async move {
        let followed = watcher.follow(pace.count).await.unwrap();
        // Kept: a watcher that goes away is work for the server.
        (followed, Some(watcher))
    });
    let mut found = begin.all(server, following, pace.warm_up).await;
    // Joined where it cannot keep the watchers' thread, which has nothing left to do.
    tokio::task::spawn_blocking(move || producer.join()).await.unwrap().unwrap();
    begin.end(server, &mut found);
    found
}

/// Watchers that come all at once when the whole run of `count` texts is in the log.
pub(crate) async fn replay(
    server: &Server,
    protocol: Protocol,
    run_id: &str,
    watchers: usize,
    count: usize,
) -> Found {
    tokio::time::sleep(SETTLE).await;
    let begin = Begin::now(server);
    let address = server.address();
    let following = (0..watchers).map(|_| {
        let run_id = run_id.to_owned();
        async move {
            let mut watcher = Watcher::connect(address, protocol, &run_id).await.unwrap();
            (watcher.follow(count).await.unwrap(), Some(watcher))
        }
    });
    let mut found = begin.all(server, following, 0).await;
    begin.end(server, &mut found);
    found
}

/// What was known of the server at the beginning.
struct Begin {
    cpu: Duration,
    resident: u64,
    at: Instant,
}

impl Begin {
    fn now(server: &Server) -> Self {
        Self { cpu: server.cpu(), resident: server.resident_bytes(), at: Instant::now() }
    }

    /// Follows with all watchers, and looks at the server's memory meanwhile. The first latencies of each do not count.
    async fn all<F>(&self, server: &Server, following: impl Iterator<Item = F>, warm_up: usize) -> Found
    where
        F: Future<Output = (Followed, Option<Watcher>)> + Send + 'static,
    {
        let mut tasks: JoinSet<_> = following.collect();
        let mut found = Found::default();
        let mut open = Vec::new();
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                followed = tasks.join_next() => {
                    let Some(followed) = followed else { return found };
                    let (Followed { latencies, bytes, reads }, watcher) = followed.unwrap();
                    found.deliveries += latencies.len();
                    found.latencies.extend(&latencies[warm_up.min(latencies.len())..]);
                    found.bytes += bytes;
                    found.reads += reads;
                    open.push(watcher);
                }
                _ = look.tick() => self.look(server, &mut found),
            }
        }
    }

    fn look(&self, server: &Server, found: &mut Found) {
        found.grown = found.grown.max(server.resident_bytes().saturating_sub(self.resident));
    }

    fn end(&self, server: &Server, found: &mut Found) {
        found.took = self.at.elapsed();
        found.cpu = server.cpu().saturating_sub(self.cpu);
        self.look(server, found);
    }
}
