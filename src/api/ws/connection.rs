//! The life of one socket, in one task: what comes, what is done, what is told, and when it ends.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures::{
    FutureExt as _,
    future::{BoxFuture, OptionFuture},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    WsSettings,
    close::Close,
    message::{ClientMessage, Hello, Invalid, Received, Told, acknowledged, hello_ack, parse, pong, refused},
    operations::{Answered, Done, Greeted, Opened, greet, open, perform},
    socket::{Happened, Socket},
    watches::{Turn, Watches},
};
use crate::{
    gateway::{Caller, Gateway, SessionRuns},
    model::{RunId, Secret, SessionId},
    runtime::shutdown::Awaited,
};

/// Messages in a row that cannot be acted on. One more closes the socket: nobody reads the errors.
const MOST_INVALID: u32 = 20;
/// How long the drain waits for the operation that is under way, so that its client gets the answer.
const LAST_OPERATION: Duration = Duration::from_secs(2);

/// A socket and all that belongs to it.
pub(super) struct Connection<S> {
    socket: Socket<S>,
    gateway: Gateway,
    settings: Arc<WsSettings>,
    caller: Caller,
    /// None before a good `hello`.
    session: Option<SessionId>,
    /// The runs of the session that begin from now on. None before a good `hello`.
    runs: Option<SessionRuns>,
    watches: Watches,
    /// What the last message asked for. Nothing more is read until it is done: messages take effect in their order.
    doing: Option<Doing>,
    invalid: u32,
    next_ping: Instant,
    /// When it was last so that nothing was read because of ourselves.
    deaf: Instant,
}

struct Doing {
    request_id: Option<String>,
    operation: BoxFuture<'static, Result<Done, Told>>,
}

/// Why a socket ends.
enum End {
    /// The gateway closes it.
    Closed(Close),
    /// The client has closed it, or is gone.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// A socket right after its upgrade.
    pub(super) async fn new(io: S, gateway: Gateway, settings: Arc<WsSettings>, caller: Caller) -> Self {
        let socket = Socket::new(io, settings.max_message, settings.send_queue).await;
        Self {
            socket,
            gateway,
            caller,
            session: None,
            runs: None,
            watches: Watches::default(),
            doing: None,
            invalid: 0,
            next_ping: Instant::now() + settings.ping_interval,
            deaf: Instant::now(),
            settings,
        }
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(mut self) {
        let mut draining = self.gateway.shutdown().draining.awaited();
        // A fault must not look like a cut: the client is told to come back.
        let served = AssertUnwindSafe(self.serve(&mut draining)).catch_unwind().await;
        let end = served.unwrap_or_else(|_| {
            tracing::error!("a socket panicked");
            End::Closed(Close::Fault)
        });
        let why = match end {
            End::Closed(Close::Draining) => {
                Box::pin(self.finish_operation()).await;
                Some(Close::Draining)
            }
            End::Closed(why) => Some(why),
            End::Gone => None,
        };
        // What the peer does not take is not kept; a peer that is gone takes nothing any more.
        if matches!(why, None | Some(Close::Slow | Close::Dead)) {
            self.socket.forget_queue();
        }
        tracing::debug!(?why, "a socket ends");
        Box::pin(self.socket.close(why)).await;
    }

    async fn serve(&mut self, draining: &mut Awaited) -> End {
        let mut timer = Box::pin(sleep_until(self.next_ping));
        loop {
            self.set(&mut timer);
            let has_room = self.socket.has_room();
            let idle = self.doing.is_none();
            let Self { socket, watches, doing, runs, .. } = self;
            let operation = OptionFuture::from(doing.as_mut().map(|it| it.operation.as_mut()));
            let begun = OptionFuture::from(runs.as_mut().map(SessionRuns::changed));
            tokio::select! {
                () = &mut *draining => return End::Closed(Close::Draining),
                happened = socket.next(idle && has_room) => {
                    if let Some(end) = self.happened(happened) {
                        return end;
                    }
                }
                // What is seldom under way is boxed, so that an idle socket does not hold room for it.
                Some(done) = operation => Box::pin(self.done(done)).await,
                turn = watches.next(), if has_room => self.tell(turn),
                // Runs that a message of this socket has begun are taken up with its answer.
                Some(changed) = begun, if idle && has_room => match changed {
                    Some(()) => Box::pin(self.watch_new_runs(None)).await,
                    None => return End::Closed(Close::Draining),
                },
                () = &mut timer => {
                    if let Some(why) = self.look_at_the_clock() {
                        return End::Closed(why);
                    }
                }
            }
        }
    }

    /// Sets the timer to the next time at which something is to be looked at.
    fn set(&mut self, timer: &mut Pin<Box<Sleep>>) {
        let now = Instant::now();
        let has_room = self.socket.has_room();
        if self.doing.is_some() || !has_room {
            self.deaf = now;
        }
        let mut next = self.next_ping.min(self.alive() + self.settings.dead_after);
        if !has_room {
            next = next.min(self.socket.blocked().unwrap_or(now) + self.settings.stall_timeout);
        }
        // Moved only when it must be earlier: an early look costs little, each move a lock.
        if timer.is_elapsed() || timer.deadline() > next {
            timer.as_mut().reset(next);
        }
    }

    /// When the peer last showed that it is there, or could not have.
    fn alive(&self) -> Instant {
        self.socket.heard().max(self.deaf)
    }

    fn look_at_the_clock(&mut self) -> Option<Close> {
        let now = Instant::now();
        let stalled = self.socket.blocked().is_some_and(|it| now >= it + self.settings.stall_timeout);
        if stalled && !self.socket.has_room() {
            return Some(Close::Slow);
        }
        if now >= self.alive() + self.settings.dead_after {
            return Some(Close::Dead);
        }
        if now >= self.next_ping {
            self.next_ping = now + self.settings.ping_interval;
            self.socket.ping();
        }
        None
    }

    fn happened(&mut self, happened: Happened) -> Option<End> {
        match happened {
            Happened::Room | Happened::Control => None,
            Happened::Text(text) => self.received(parse(&text)),
            Happened::Binary => {
                let message = "messages are texts; this one is binary".to_owned();
                self.received(Err(Invalid { request_id: None, field: None, message }))
            }
            Happened::Gone => Some(End::Gone),
            Happened::Broken(why) => Some(End::Closed(why)),
        }
    }

    fn received(&mut self, received: Result<Received, Invalid>) -> Option<End> {
        let Received { request_id, session_id, message } = match received {
            Ok(received) => received,
            Err(invalid) => {
                let request_id = invalid.request_id.clone();
                self.refuse(request_id.as_deref(), invalid.into());
                return self.count_invalid();
            }
        };
        let (message, session) = match (message, self.session.clone()) {
            (ClientMessage::Hello(hello), None) => return self.hello(request_id, hello),
            (message, Some(session)) => (message, session),
            (_, None) => {
                let told = Told::new("session_required", "SESSION_REQUIRED", "must send hello first");
                self.refuse(request_id.as_deref(), told);
                return None;
            }
        };
        self.invalid = 0;
        let named = session_id.trim();
        if !named.is_empty() && named != session.as_str() {
            let text = "session_id is not the session of this socket";
            self.refuse(request_id.as_deref(), Told::new("failed_precondition", "SESSION_DIFFERS", text));
            return None;
        }
        match message {
            ClientMessage::Hello(_) => {
                let text = "hello was said already; another session needs another socket";
                self.refuse(request_id.as_deref(), Told::new("failed_precondition", "HELLO_REPEATED", text));
            }
            ClientMessage::Ping => {
                self.socket.send(pong());
                self.acknowledge(request_id.as_deref(), Answered::default());
            }
            ClientMessage::Unwatch { run_id } => self.unwatch(request_id.as_deref(), &run_id),
            message => {
                let operation = perform(self.gateway.clone(), session, request_id.clone(), message);
                self.doing = Some(Doing { request_id, operation: Box::pin(operation) });
            }
        }
        None
    }

    fn hello(&mut self, request_id: Option<String>, hello: Hello) -> Option<End> {
        if !fits(&self.settings.api_key, &hello.api_key) {
            self.refuse(request_id.as_deref(), Told::new("unauthorized", "API_KEY_WRONG", "invalid api_key"));
            // Nobody may try keys without end.
            return self.count_invalid();
        }
        self.invalid = 0;
        let most = self.settings.most_watches;
        if hello.resume.len() > most {
            let message = format!("resume has more than {most} entries");
            let field = Some("resume".to_owned());
            self.refuse(request_id.as_deref(), Invalid { request_id: None, field, message }.into());
            return None;
        }
        let operation = greet(self.gateway.clone(), self.caller.clone(), hello);
        self.doing = Some(Doing { request_id, operation: Box::pin(operation) });
        None
    }

    fn unwatch(&mut self, request_id: Option<&str>, run_id: &str) {
        let watched = RunId::parse(run_id.trim()).is_ok_and(|run_id| self.watches.remove(run_id));
        let mut answered = Answered::default();
        answered.returned.insert("run_id".to_owned(), run_id.trim().into());
        answered.returned.insert("watched".to_owned(), watched.into());
        self.acknowledge(request_id, answered);
    }

    /// Takes up what an operation has led to.
    async fn done(&mut self, done: Result<Done, Told>) {
        let request_id = self.doing.take().and_then(|it| it.request_id);
        match done {
            Err(told) => self.refuse(request_id.as_deref(), told),
            Ok(Done::Greeted(greeted)) => self.greeted(request_id.as_deref(), *greeted),
            Ok(Done::Answered(answered)) => self.answered(request_id.as_deref(), *answered).await,
        }
    }

    fn greeted(&mut self, request_id: Option<&str>, greeted: Greeted) {
        self.socket.send(hello_ack(&greeted.session_id));
        self.session = Some(greeted.session_id);
        self.runs = Some(greeted.runs);
        self.acknowledge(request_id, Answered::default());
        for (run_id, opened) in greeted.resumed {
            match opened {
                Ok(Opened { watch, last_sequence }) => {
                    self.watches.resume(watch, last_sequence);
                }
                Err(told) => self.tell_of_run(&run_id, told),
            }
        }
    }

    /// The answer goes out before the first event of the run that it is about.
    async fn answered(&mut self, request_id: Option<&str>, mut answered: Answered) {
        if let Some(Opened { watch, .. }) = answered.opened.take() {
            // What the session's runs would tell later is taken up first: afterwards no run can be told twice.
            let invoked = watch.request_id.clone().map(|request_id| (watch.run_id, request_id));
            let is_new = invoked.is_some() && !self.watches.contains(watch.run_id);
            self.watch_new_runs(invoked).await;
            let watched_already = self.watches.contains(watch.run_id);
            if !watched_already && self.watches.len() >= self.settings.most_watches {
                if answered.only_watch {
                    return self.refuse(request_id, self.too_many_watches());
                }
                answered.returned.insert("watching".to_owned(), false.into());
            } else if !self.watches.add(watch) && !is_new {
                answered.returned.insert("already".to_owned(), true.into());
            }
        }
        self.acknowledge(request_id, answered);
    }

    /// Watches the runs of the session that have begun since the last time. A run that a message of this socket has begun
    /// is told with the `request_id` of that message.
    async fn watch_new_runs(&mut self, invoked: Option<(RunId, String)>) {
        loop {
            let begun = match &mut self.runs {
                Some(runs) => runs.ready().await,
                None => return,
            };
            if begun.is_empty() {
                return;
            }
            for run_id in begun.into_iter().filter(|it| !self.watches.contains(*it)).collect::<Vec<_>>() {
                let of_message = invoked.as_ref().filter(|(invoked, _)| *invoked == run_id);
                if self.watches.len() >= self.settings.most_watches {
                    if of_message.is_none() {
                        self.tell_of_run(&run_id.to_string(), self.too_many_watches());
                    }
                    continue;
                }
                match open(&self.gateway, &run_id.to_string(), String::new()).await {
                    Ok(Opened { mut watch, .. }) => {
                        watch.request_id = of_message.map(|(_, request_id)| request_id.clone());
                        self.watches.add(watch);
                    }
                    Err(told) => self.tell_of_run(&run_id.to_string(), told),
                }
            }
        }
    }

    fn tell(&mut self, turn: Turn) {
        for message in turn.messages {
            self.socket.send(message);
        }
        // The drain is told by the end of the socket.
        if let Some((run_id, end)) = turn.ended
            && let Some(cause) = end.cause()
        {
            self.tell_of_run(&run_id.to_string(), Told::of(cause));
        }
    }

    fn acknowledge(&mut self, request_id: Option<&str>, answered: Answered) {
        if let Some(request_id) = request_id {
            self.socket.send(acknowledged(request_id, self.session.as_ref(), answered.returned));
        }
    }

    fn refuse(&mut self, request_id: Option<&str>, told: Told) {
        self.socket.send(refused(request_id, self.session.as_ref(), None, told));
    }

    fn tell_of_run(&mut self, run_id: &str, told: Told) {
        self.socket.send(refused(None, self.session.as_ref(), Some(run_id), told));
    }

    fn too_many_watches(&self) -> Told {
        let text = format!("the socket watches {} runs already", self.settings.most_watches);
        Told { retryable: true, ..Told::new("resource_exhausted", "TOO_MANY_WATCHES", text) }
    }

    fn count_invalid(&mut self) -> Option<End> {
        self.invalid += 1;
        (self.invalid > MOST_INVALID).then_some(End::Closed(Close::TooManyInvalid))
    }

    /// Waits a little for what is under way, so that its client gets the answer.
    async fn finish_operation(&mut self) {
        let Some(doing) = &mut self.doing else { return };
        if let Ok(done) = timeout(LAST_OPERATION, &mut doing.operation).await {
            self.done(done).await;
        }
    }
}

/// Whether the key is the configured one, if one is.
fn fits(configured: &Secret, given: &Secret) -> bool {
    configured.is_empty() || configured.is(given.reveal())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So much of an idle socket lies in its task; buffers and the connection itself come to it.
    #[test]
    fn an_idle_socket_is_small() {
        fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Connection::<tokio::io::DuplexStream>::run);
        assert!(bytes <= 4 << 10, "{bytes} bytes");
    }

    #[test]
    fn without_a_configured_key_every_key_fits() {
        for (configured, given, fit) in
            [("", "", true), ("", "x", true), ("k", "k", true), ("k", "", false), ("k", "kk", false)]
        {
            assert_eq!(fits(&Secret::new(configured), &Secret::new(given)), fit, "{configured:?} {given:?}");
        }
    }
}
